"""Imports point downwards through the rooms of the house, never up or in a circle (design section 1)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Low to high; a room may import lower rooms and itself. Rooms of one floor do not see each other.
FLOORS = (
    ("errors", "environment", "formats", "machine", "paths", "pickle_bounds"),
    ("devices", "extras", "outputs", "streams", "torch_files"),
    ("ranks",),
    ("artifacts",),
    ("tables", "image_artifacts"),
    ("models", "published"),
    ("data",),
    ("elastic",),
    ("method",),
    ("evaluation",),
    ("export",),
    ("store",),
    ("pipeline",),
    ("jobs",),
    ("browser", "figures", "launching"),
    ("private_names", "report"),
    ("notebook",),
    ("commands", "ui", "server"),
    ("cli",),
    ("__main__", "pages", "app"),
)
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}
NUMBERS = {"models", "data", "elastic", "method", "evaluation", "export"}
# Where the table allows less than everything below: the rooms that are out of reach, and packages that are.
CLOSED_ROOMS = {
    "data": {"published"},
    "elastic": {"published"},
    "method": {"published"},
    "evaluation": {"method", "published"},
    "export": {"method", "published"},
    "store": NUMBERS | {"published"},
    "jobs": NUMBERS | {"published"},
    "figures": NUMBERS | {"published", "store", "pipeline", "jobs"},
    "browser": {"store", "jobs"},
    "launching": NUMBERS | {"published", "jobs"},
    "notebook": {"store", "jobs", "launching"},
    "report": {"jobs"},
    "commands": {"browser", "figures", "notebook"},
    "cli": {"browser", "figures", "notebook", "ui", "server"},
    "ui": {"notebook", "commands", "launching"},
    "pages": NUMBERS | {"published", "store", "pipeline", "jobs", "notebook", "commands", "cli"},
    "app": NUMBERS | {"published", "store", "pipeline", "jobs", "notebook", "commands", "cli"},
}
CLOSED_PACKAGES = {
    "machine": {"torch"},
    "artifacts": {"torch", "torchvision", "timm"},
    "tables": {"torch", "torchvision", "timm"},
    "image_artifacts": {"torch", "torchvision", "timm"},
    "store": {"torch", "torchvision", "timm"},
    "jobs": {"torch", "torchvision", "timm"},
    "figures": {"torch", "torchvision", "timm"},
    "pages": {"torch"},
    "app": {"torch"},
}
STREAMLIT_ROOMS = {"app", "pages", "ui", "server", "private_names"}
SLOW = ("torch", "torchvision", "timm", "sklearn", "faiss")
HEAVY = ("umap", "faiss", "torchvision.datasets", "onnx", "onnxscript", "onnxruntime")  # imported where they are used


@dataclass(frozen=True)
class Import:
    """One imported name: `what` is the module, or module.name where the name may be a module itself."""

    by: str  # dotted name of the importing module
    what: str
    line: int
    at_load: bool  # runs when the module is imported: in no function and not for type checkers alone

    def __str__(self) -> str:
        return f"{self.by}:{self.line} imports {self.what}"


def room_of(module: str) -> str | None:
    """`snapvit.models.loading` is in `models`, `pages.1_CKA` in `pages`; other packages and `snapvit` are in none."""
    parts = module.split(".")
    if parts[0] in ("pages", "app"):
        return parts[0]
    return parts[1] if parts[0] == "snapvit" and len(parts) > 1 else None


def python_files(root: Path) -> dict[str, Path]:
    """Dotted module name to file, of app.py, pages/ and snapvit/."""
    files = [*root.glob("app.py"), *root.glob("pages/**/*.py"), *root.glob("snapvit/**/*.py")]
    names = {}
    for path in files:
        parts = path.relative_to(root).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(module: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]

    def visit(node: ast.AST, at_load: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno, at_load)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(module, f"{base}.{alias.name}", node.lineno, at_load)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for part in node.body:
                yield from visit(part, False)
            for part in node.orelse:
                yield from visit(part, at_load)
        else:
            in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for part in ast.iter_child_nodes(node):
                yield from visit(part, at_load and not in_function)

    yield from visit(tree, True)


def all_imports(root: Path) -> list[Import]:
    return [i for module, path in python_files(root).items() for i in imports_of(module, path)]


def belongs_to(what: str, packages: set[str] | tuple[str, ...]) -> bool:
    return any(what == p or what.startswith(f"{p}.") for p in packages)


def upward_imports(root: Path) -> list[str]:
    """Imports of a room that is higher, beside, or closed to the importing one."""
    found = []
    for i in all_imports(root):
        own, other = room_of(i.by), room_of(i.what)
        if i.what.split(".")[0] not in ("snapvit", "pages", "app") or own == other:
            continue
        if own is None:
            if i.at_load:
                found.append(f"{i}: snapvit itself loads no room")
        elif own not in HEIGHT or (
            other is not None and other not in HEIGHT and not belongs_to(other, ("__version__",))
        ):
            found.append(f"{i}: a room that the design's table does not have")
        elif other in HEIGHT and (HEIGHT[other] >= HEIGHT[own] or other in CLOSED_ROOMS.get(own, set())):
            found.append(f"{i}: {own} may not see {other}")
    return found


def foreign_imports(root: Path) -> list[str]:
    """Streamlit outside the user interface, torch where no numbers are made, heavy packages at load."""
    found = []
    for i in all_imports(root):
        room = room_of(i.by)
        if belongs_to(i.what, ("streamlit",)) and room not in STREAMLIT_ROOMS:
            found.append(f"{i}: only app.py, pages and snapvit.ui may")
        if belongs_to(i.what, CLOSED_PACKAGES.get(room, set())):
            found.append(f"{i}: {room} may not")
        if i.at_load and belongs_to(i.what, HEAVY):
            found.append(f"{i}: import it where it is used")
    return found


def load_graph(root: Path) -> dict[str, set[str]]:
    """Which of our modules each one needs before it can be loaded."""
    modules = python_files(root)
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for i in all_imports(root):
        if i.at_load:
            target = i.what if i.what in modules else i.what.rpartition(".")[0]
            if target in modules:
                graph[i.by].add(target)
    return graph


def circles(root: Path) -> list[str]:
    graph, found = load_graph(root), []
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            found.append(" -> ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for target in sorted(graph[module]):
                walk(target, [*path, module])
            done.add(module)

    for module in sorted(graph):
        walk(module, [])
    return found


def reached_at_load(root: Path, start: str) -> set[str]:
    """Our modules that are loaded with `start`, their packages included."""
    graph, seen, waiting = load_graph(root), set(), [start]
    while waiting:
        module = waiting.pop()
        if module in graph and module not in seen:
            seen.add(module)
            waiting += [*graph[module], module.rpartition(".")[0]]
    return seen


def test_imports_point_downwards():
    assert upward_imports(ROOT) == []


def test_streamlit_torch_and_heavy_packages_stay_where_they_belong():
    assert foreign_imports(ROOT) == []


def test_no_module_imports_itself_in_a_circle():
    assert circles(ROOT) == []


def test_figures_score_files_and_the_vocabulary_load_without_torch():
    modules = python_files(ROOT)
    figures = [m for m in modules if room_of(m) == "figures"]
    for start in ["snapvit.artifacts", "snapvit.published.scores", "snapvit.torch_files", *figures]:
        for module in reached_at_load(ROOT, start):
            for i in imports_of(module, modules[module]):
                assert not (i.at_load and belongs_to(i.what, ("torch", "timm"))), f"{start} loads {i}"


def test_the_check_sees_the_real_house():
    modules = python_files(ROOT)
    assert {"snapvit", "snapvit.artifacts", "snapvit.models.anatomy", "snapvit.method.xnes"} <= set(modules)
    assert load_graph(ROOT)["snapvit.models.loading"] >= {"snapvit.models.anatomy", "snapvit.models.spec"}
    assert load_graph(ROOT)["snapvit.method.fitness"] >= {
        "snapvit.elastic.vit",
        "snapvit.models.embedding",
        "snapvit.artifacts",
    }
    at_use = [i for i in all_imports(ROOT) if i.what == "faiss"]
    assert at_use
    assert not any(i.at_load for i in at_use)


PLANTED = {
    "up": (upward_imports, {"snapvit/models/a.py": "from snapvit.elastic import ElasticViT"}),
    "up, inside a function": (upward_imports, {"snapvit/data/a.py": "def f():\n    import snapvit.method.cka"}),
    "up, relative": (upward_imports, {"snapvit/models/a.py": "from ..elastic.vit import ElasticViT"}),
    "up, package first": (upward_imports, {"snapvit/models/a.py": "from snapvit import elastic"}),
    "up to a page": (upward_imports, {"snapvit/ui/a.py": "import pages.run"}),
    "beside": (upward_imports, {"snapvit/ui/a.py": "from snapvit.cli import main"}),
    "the lowest floor sees the vocabulary": (
        upward_imports,
        {"snapvit/machine.py": "from snapvit.artifacts import Cut"},
    ),
    "beside, low": (upward_imports, {"snapvit/published/a.py": "from snapvit.models.spec import ModelSpec"}),
    "the store knows a stage": (upward_imports, {"snapvit/store/a.py": "from snapvit.method.search import x"}),
    "the store sees a run": (upward_imports, {"snapvit/store/a.py": "from snapvit.pipeline import x"}),
    "the pipeline sees jobs": (upward_imports, {"snapvit/pipeline/a.py": "from snapvit.jobs import x"}),
    "a job computes": (upward_imports, {"snapvit/jobs/a.py": "def f():\n    from snapvit.elastic import x"}),
    "figures see jobs": (upward_imports, {"snapvit/figures/a.py": "from snapvit.jobs import x"}),
    "a page reads the store": (upward_imports, {"pages/a.py": "from snapvit.store.store import Store"}),
    "numbers see published ones": (upward_imports, {"snapvit/elastic/a.py": "from snapvit.published import x"}),
    "evaluation sees method": (upward_imports, {"snapvit/evaluation/a.py": "from snapvit.method.cka import x"}),
    "an export sees the pipeline": (upward_imports, {"snapvit/export/a.py": "from snapvit.pipeline import x"}),
    "figures see the pipeline": (upward_imports, {"snapvit/figures/a.py": "from snapvit.pipeline import x"}),
    "a page computes": (upward_imports, {"pages/a.py": "from snapvit.elastic import rank"}),
    "the package imports a room": (upward_imports, {"snapvit/__init__.py": "from snapvit.models import embed"}),
    "an unknown room": (upward_imports, {"snapvit/utils/a.py": "from snapvit.errors import InputError"}),
    "streamlit below": (foreign_imports, {"snapvit/figures/a.py": "import streamlit as st"}),
    "streamlit in a function": (foreign_imports, {"snapvit/pipeline/a.py": "def f():\n    from streamlit import x"}),
    "torch on a page": (foreign_imports, {"pages/a.py": "import torch.nn.functional as F"}),
    "torch in figures": (foreign_imports, {"snapvit/figures/a.py": "def f():\n    from torch import Tensor"}),
    "torch in the store": (foreign_imports, {"snapvit/store/a.py": "def f():\n    import torch"}),
    "torch in the vocabulary": (foreign_imports, {"snapvit/artifacts.py": "from torch import Tensor"}),
    "onnxruntime at load": (foreign_imports, {"snapvit/export/a.py": "import onnxruntime"}),
    "umap at load": (foreign_imports, {"snapvit/evaluation/a.py": "from umap import UMAP"}),
    "datasets at load": (foreign_imports, {"snapvit/data/a.py": "from torchvision import datasets"}),
    "faiss at load of a class": (foreign_imports, {"snapvit/evaluation/a.py": "class A:\n    import faiss"}),
    "a circle of two": (
        circles,
        {"snapvit/data/a.py": "from snapvit.data.b import x", "snapvit/data/b.py": "from snapvit.data import a"},
    ),
    "a circle through the package": (
        circles,
        {"snapvit/data/__init__.py": "from snapvit.data.a import x", "snapvit/data/a.py": "from snapvit.data import y"},
    ),
    "a circle of three": (
        circles,
        {
            "snapvit/data/a.py": "import snapvit.data.b",
            "snapvit/data/b.py": "from . import c",
            "snapvit/data/c.py": "try:\n    from .a import x\nexcept ImportError:\n    pass",
        },
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(tmp_path, fault):
    check, files = PLANTED[fault]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert len(check(tmp_path)) == 1


def test_what_is_allowed_is_not_reported(tmp_path):
    allowed = {
        "app.py": "import streamlit as st\nfrom snapvit.ui import setup\nfrom snapvit.figures import curve",
        "pages/cka.py": "import streamlit\nfrom snapvit import ui\nfrom snapvit.errors import InputError",
        "snapvit/__init__.py": '__version__ = "0.1.0"\ndef f():\n    from snapvit.export.reading import x',
        "snapvit/export/a.py": "from snapvit.elastic.vit import x\nfrom snapvit.evaluation.knn import y",
        "snapvit/export/reading.py": "import torch",
        "snapvit/__main__.py": "from snapvit.cli import main",
        "snapvit/cli.py": "from snapvit import __version__\nfrom snapvit.store import Store",
        "snapvit/notebook.py": "from snapvit.figures import curve\nfrom snapvit.pipeline import run",
        "snapvit/ui/a.py": "import streamlit\nfrom snapvit.figures import curve\nfrom snapvit.jobs import manager",
        "snapvit/jobs/a.py": "from snapvit.pipeline import run\nfrom snapvit.store import Store",
        "snapvit/pipeline/a.py": "from snapvit.store import Store\nfrom snapvit.published import read_scores",
        "snapvit/store/a.py": "from snapvit.artifacts import RunFacts",
        "snapvit/published/a.py": "from snapvit.artifacts import Scores\nfrom snapvit.torch_files import read",
        "snapvit/models/a.py": "import torch\nfrom snapvit.torch_files import read",
        "snapvit/torch_files.py": "from snapvit.errors import InputError\ndef f():\n    import torch",
        "snapvit/artifacts.py": "from snapvit.machine import Machine",
        "snapvit/figures/a.py": "import plotly\nfrom snapvit.artifacts import CkaMap\nfrom .b import line",
        "snapvit/evaluation/a.py": "def f():\n    import faiss\n    from torchvision import datasets",
        "snapvit/data/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from snapvit.data.b import B",
        "snapvit/data/b.py": "import torchvision.io\nfrom snapvit.data.a import A\nfrom snapvit.models import embed",
    }
    for name, text in allowed.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert upward_imports(tmp_path) == foreign_imports(tmp_path) == circles(tmp_path) == []


def test_pages_start_without_torch():
    """The first page paints fast because only a job needs torch; one import in the wrong place would undo that."""
    files = (ROOT / "snapvit" / "ui").rglob("*.py")
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if path.stem != "__init__"]
    code = f"import sys, {', '.join(modules)}, snapvit.cli\nprint([m for m in {SLOW} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
