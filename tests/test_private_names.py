"""Names of Streamlit's and plotly's that are not public: in one place, and checked with what is installed."""

from __future__ import annotations

import ast
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from node import SCRIPTS
from packaging.requirements import Requirement
from test_imports import ROOT, python_files

from snapvit import private_names

ALLOWED = ("snapvit.private_names", "private_names.js")
PUBLIC = {"streamlit", "streamlit.delta_generator", "streamlit.starlette"}  # modules that its documentation names
# What Streamlit and plotly call the parts of a page.
PARTS = re.compile(r"""\bst[A-Z][a-z]+[A-Za-z]*["'\]]|modebar-|js-plotly|main-svg|nsewdrag|stcore""")


@pytest.mark.parametrize("package", private_names.CHECKED_WITH)
def test_the_installed_version_is_one_that_the_names_were_checked_with(package: str) -> None:
    checked, found = private_names.CHECKED_WITH[package], version(package)
    assert found == checked, (
        f"{package} {found} is installed, but the private names in snapvit/private_names.py and private_names.js were "
        f"checked with {checked}: run tests/browser and tests/test_server.py with it, then write {found} there and as "
        "the upper end in requirements-app.txt or requirements-notebook.txt"
    )


@pytest.mark.parametrize("package", private_names.CHECKED_WITH)
def test_no_newer_version_is_installed_than_was_checked(package: str) -> None:
    files = [ROOT / "requirements-app.txt", ROOT / "requirements-notebook.txt"]
    lines = [line for file in files for line in file.read_text().splitlines()]
    (found,) = [Requirement(line) for line in lines if re.match(rf"{package}\b", line)]
    upper = [end.version for end in found.specifier if end.operator == "<="]
    assert upper == [private_names.CHECKED_WITH[package]]


def test_python_uses_them_nowhere_else() -> None:
    used = []
    for module, path in python_files(ROOT).items():
        if module in ALLOWED:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        imported += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
        used += [(module, name) for name in imported if name.split(".")[0] == "streamlit" and name not in PUBLIC]
        used += [
            (module, node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and PARTS.search(node.value)
        ]
    assert not used


def test_scripts_and_styles_use_them_nowhere_else() -> None:
    files = [path for path in (ROOT / "snapvit").rglob("*") if path.suffix in (".js", ".css", ".html")]
    assert len(files) > len(list(SCRIPTS.rglob("*.js")))
    used = [
        (path.name, found[0])
        for path in files
        if path.name not in ALLOWED and (found := PARTS.search(path.read_text(encoding="utf-8")))
    ]
    assert not used


def test_streamlit_still_has_what_python_asks_it_for(tmp_path: Path) -> None:
    from streamlit.components.v2.component_manager import BidiComponentManager
    from streamlit.runtime.memory_session_storage import MemorySessionStorage
    from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext
    from streamlit.runtime.websocket_session_manager import WebsocketSessionManager

    assert hasattr(BidiComponentManager, "register_from_manifest")
    assert "is_history_navigation" in ScriptRunContext.__dataclass_fields__
    storage = MemorySessionStorage()
    storage._cache.expire()
    assert "_session_storage" in WebsocketSessionManager.__init__.__code__.co_names
