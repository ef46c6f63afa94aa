"""Builds the wheel, installs it into an empty environment, and uses it far from the checkout.

That is the tour's first cells, and the dashboard, which opens on the run that the wheel carries.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from scripts.browser import Server, chromium, free_port

ROOT = Path(__file__).parents[1]
CELLS = 6  # of code
FIRST_PAGE_MS = 120_000
CHECK = """
import snapvit, sys
from importlib.util import find_spec
assert find_spec("streamlit") is None and find_spec("umap") is None, "the library is to work without them"
print("snapvit is", snapvit.__file__)
"""


def first_cells(count: int = CELLS) -> str:
    """The code of the tour's first cells; what a cell ends with is shown."""
    notebook = json.loads((ROOT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return "\n\n".join(cells[:count])


def build(folder: Path) -> Path:
    """The wheel of this checkout, without what an earlier build left behind."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


def open_dashboard(command: Path, folder: Path, env: dict[str, str]) -> None:
    """Start the installed dashboard and see that its first page shows the run that came with it."""
    port = free_port()
    server = Server(folder / "log.txt", [str(command), "app", "--port", str(port)], port, env, cwd=folder)
    try:
        server.wait_healthy()
        print(f"The dashboard answers at {server.url}.", flush=True)
        with chromium() as browser:
            page = browser.new_page()
            page.goto(server.url)
            page.locator('[data-testid="live-curve"] .path').wait_for(timeout=FIRST_PAGE_MS)
            print("Its first page shows", page.get_by_test_id("live-words").inner_text(), flush=True)
    finally:
        server.stop()


def main() -> int:
    """Exit code 0 where all of it worked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
        environment = folder / "environment"
        venv.create(environment, with_pip=True)
        python = environment / "bin" / "python"
        _run(python, "-m", "pip", "install", "--quiet", f"{wheel}[notebook]")
        (folder / "tour.py").write_text(CHECK + first_cells(), encoding="utf-8")
        own = ("SNAPVIT_", "PYTHON", "STREAMLIT_")
        elsewhere = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        elsewhere |= {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_DATA_HOME": str(folder / "data")}
        _run(python, "tour.py", cwd=folder, env=elsewhere)
        shutil.rmtree(folder / "data")
        _run(python, "-m", "pip", "install", "--quiet", f"{wheel}[app]")
        open_dashboard(environment / "bin" / "snapvit", folder, elsewhere)
        _run(environment / "bin" / "snapvit", "runs", cwd=folder, env=elsewhere)
    print("The wheel works by itself.")
    return 0


def _run(*command: object, **given: object) -> None:
    subprocess.run([str(part) for part in command], check=True, **given)


if __name__ == "__main__":
    sys.exit(main())
