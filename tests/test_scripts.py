"""The components' scripts without a browser: node's own test runner on tests/scripts, and that each has its tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from node import SCRIPTS, node

FILES = sorted((Path(__file__).parent / "scripts").glob("*.test.js"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_scripts_do_what_their_tests_say(file: Path) -> None:
    run = node("--test", "--test-reporter=tap", str(file))
    assert run.returncode == 0, run.stdout + run.stderr
    told = {name: int(count) for name, count in re.findall(r"^# (tests|pass|skipped) (\d+)$", run.stdout, re.M)}
    assert told["tests"] == told["pass"] > 0
    assert told["skipped"] == 0


@pytest.mark.parametrize("script", sorted(SCRIPTS.rglob("*.js")), ids=lambda script: script.name)
def test_every_script_is_a_module_that_loads_by_itself(script: Path) -> None:
    run = node("--input-type=module", "-e", f"await import({script.as_uri()!r});")
    assert run.returncode == 0, run.stderr


def test_components_share_functions_by_importing_them() -> None:
    defined: dict[str, list[str]] = {}
    for script in SCRIPTS.rglob("*.js"):
        for name in re.findall(r"^(?:export )?function (\w+)", script.read_text(encoding="utf-8"), re.M):
            defined.setdefault(name, []).append(script.name)
    twice = {name: where for name, where in defined.items() if len(where) > 1}
    assert not twice
