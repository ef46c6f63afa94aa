"""The notebooks run from top to bottom as they are stored, and what is stored is what they show."""

from __future__ import annotations

import json

import nbformat
import pytest

from scripts.notebooks import NOTEBOOKS, RENDERER, executed
from scripts.wheel_check import first_cells

BYTES = 1_500_000
FIGURE = "application/vnd.plotly.v1+json"


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: nbformat.NotebookNode) -> list[object]:
    """What a cell shows, without its numbers."""
    return [(one.output_type, sorted(one.get("data", {}))) for one in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_what_is_stored(path):
    stored, fresh = nbformat.read(path, as_version=4), executed(path)  # a cell that fails would raise here
    for before, now in zip(code_cells(stored), code_cells(fresh), strict=True):
        assert before.execution_count == now.execution_count, "stored as run once from top to bottom"
        assert kinds(before) == kinds(now), before.source
        for old, new in zip(before.outputs, now.outputs, strict=True):
            if old.output_type == "error":
                assert old.ename == new.ename == "InputError"
                assert old.traceback == new.traceback == [old.evalue], "one sentence"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_is_small_and_of_no_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < BYTES
    assert not any(place in text for place in ("/tmp/", "/home/", "/root/", "/work/", "site-packages"))
    nbformat.validate(json.loads(text))
    assert RENDERER == "plotly_mimetype" and FIGURE in text


def test_the_wheel_is_tried_with_the_tour_up_to_a_figure_and_a_table():
    cells = first_cells()
    assert "snapvit.open" in cells and "run.figures.path" in cells and "run.accuracy" in cells
    compile(cells, "tour", "exec")
