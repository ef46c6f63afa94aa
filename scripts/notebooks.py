"""Executes the notebooks in docs/ as a reader would, each in a folder and with a cache of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
NOTEBOOKS = tuple(ROOT / "docs" / name for name in ("tour.ipynb", "lesson.ipynb"))
SECONDS = 600  # that a cell may take, on a machine that does much else
# Without plotly's own script, of which a page of JupyterLab, VS Code or Colab has one: 5 MB a notebook.
RENDERER = "plotly_mimetype"


def main() -> None:
    """Execute all and write them back."""
    for path in NOTEBOOKS:
        print(path.name, flush=True)
        nbformat.write(executed(path), path)


def executed(path: Path) -> NotebookNode:
    """The notebook with what its cells show now. Raises CellExecutionError where a cell fails that is not to."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder, _environment(Path(folder)):
        client = NotebookClient(
            notebook, timeout=SECONDS, resources={"metadata": {"path": folder}}, record_timing=False
        )
        client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # progress bars are of the moment
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
            for one in cell.outputs:
                if "text" in one:
                    one["text"] = one["text"].replace(f"{folder}/", "")
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """What the kernel, a process of its own, takes over."""
    mine = {
        "SNAPVIT_CACHE": str(folder / "cache"),
        "PLOTLY_RENDERER": RENDERER,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    before = {name: os.environ.get(name) for name in mine}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


if __name__ == "__main__":
    main()
