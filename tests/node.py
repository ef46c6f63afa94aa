"""A node to run the components' scripts with, and no browser."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "snapvit" / "browser" / "scripts"
# The file types of modules and `--test` on a single file are as here from this version on.
OLDEST = 20


def node(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run node with these arguments at the root of the project; skips the test where there is none."""
    program = _program()
    if program is None:
        pytest.skip(f"no node {OLDEST} or newer: neither playwright's own (requirements-dev.txt) nor one on PATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
    return subprocess.run(
        [program, *arguments], cwd=ROOT, env=environment, input=given, capture_output=True, text=True, timeout=120
    )


def _program() -> str | None:
    """Playwright brings a node along; else the one on PATH."""
    try:
        import playwright
    except ImportError:
        pass
    else:
        own = Path(playwright.__file__).parent / "driver" / ("node.exe" if os.name == "nt" else "node")
        if own.is_file():
            return str(own)
    found = shutil.which("node")
    if found is None:
        return None
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout  # v20.19.4
    return found if int(version.removeprefix("v").partition(".")[0] or 0) >= OLDEST else None
