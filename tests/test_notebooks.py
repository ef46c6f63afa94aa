"""The notebooks run from top to bottom as they are stored, and what is stored is what they show."""

from __future__ import annotations

import json
from itertools import groupby

import nbformat
import pytest

from scripts.notebooks import NOTEBOOKS, RENDERER, executed
from scripts.wheel_check import first_cells
from snapvit.notebook.watching import STOPPED

BYTES = 1_500_000
FIGURE = "application/vnd.plotly.v1+json"


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: nbformat.NotebookNode) -> list[object]:
    """What a cell shows, without its numbers. Printed text comes in as many pieces as the kernel has time for."""
    shown = [(one.output_type, one.get("name"), sorted(one.get("data", {}))) for one in cell.outputs]
    return [kind for kind, _ in groupby(shown)]


def errors(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """What a cell says that cannot be done."""
    return [one for one in cell.outputs if one.output_type == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_what_is_stored(path):
    stored, fresh = nbformat.read(path, as_version=4), executed(path)  # a cell that fails would raise here
    for before, now in zip(code_cells(stored), code_cells(fresh), strict=True):
        assert before.execution_count == now.execution_count, "stored as run once from top to bottom"
        assert kinds(before) == kinds(now), before.source
        for old, new in zip(errors(before), errors(now), strict=True):
            assert old.ename == new.ename == "InputError"
            assert old.traceback == new.traceback == [old.evalue], "one sentence"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_is_small_and_of_no_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < BYTES
    assert not any(place in text for place in ("/tmp/", "/home/", "/root/", "/work/", "site-packages"))
    nbformat.validate(json.loads(text))
    assert RENDERER == "plotly_mimetype" and FIGURE in text


def test_the_wheel_is_tried_with_the_tour_up_to_a_figure_a_table_and_the_slider():
    cells = first_cells()
    assert all(part in cells for part in ("snapvit.open", "run.figures.path", "run.accuracy", "run.slider"))
    compile(cells, "tour", "exec")


STOPPED_RUN = """
import os, signal
import snapvit
from snapvit.notebook.watching import Bar

plain = Bar.event

def stopped(self, kind, text, **values):
    plain(self, kind, text, **values)
    if kind == "generation":  # what a notebook's stop button does
        os.kill(os.getpid(), signal.SIGINT)

Bar.event = stopped
settings = {settings}
run = snapvit.run(settings=settings)
"""


def test_the_stop_button_stops_a_run_in_a_kernel_and_the_same_call_goes_on(tmp_path, small_settings):
    cell = nbformat.v4.new_code_cell
    cells = [
        cell(STOPPED_RUN.format(settings=list(small_settings)), metadata={"tags": ["raises-exception"]}),
        cell('Bar.event = plain\nprint("run" in globals(), len(snapvit.runs()))'),
        cell("print(snapvit.run(settings=settings).search.generations)"),
    ]
    path = tmp_path / "stopped.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    stopped, between, gone_on = code_cells(executed(path))
    (error,) = [one for one in stopped.outputs if one.output_type == "error"]
    assert error.ename == "Cancelled" and error.traceback == [STOPPED]
    assert between.outputs[0].text == "False 1\n", "no run to work with, but one to go on with"
    generations = next(s for s in small_settings if s.startswith("search.generations=")).partition("=")[2]
    said = "".join(one.text for one in gone_on.outputs)
    assert said == f"search goes on after generation 1\n{generations}\n"
