"""The Export page: which cut it names, what it refuses, and what is handed over."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch
from page_checks import charts, metric, opened, words
from streamlit.testing.v1 import AppTest
from waiting import ended

import snapvit
from snapvit.elastic.ranking import cut_at
from snapvit.export import extras
from snapvit.formats import amount
from snapvit.jobs.manager import JobState
from snapvit.jobs.tasks import ExportTask, Workbench
from snapvit.models.embedding import embed
from snapvit.pipeline.results import load_results
from snapvit.pipeline.running import correction_of, open_workspace
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.ui.export import hand_over
from snapvit.ui.resources import jobs


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """Where the server was started."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def page(**query: str) -> AppTest:
    return opened("pages/export.py", **query)


def export(app: AppTest) -> AppTest:
    app.button(key="export").click().run()
    (job,) = [job for job in jobs().snapshots() if isinstance(job.task, ExportTask)]
    done = ended(jobs(), job.id)
    assert done.state is JobState.FINISHED, done.error
    assert done.progress.overall_total > 0, "its steps were planned"
    assert 0.9 < done.progress.share <= 1
    app.run()
    assert not app.exception
    return app


@pytest.mark.parametrize("correct", ["0", "1"])
def test_the_chosen_cut_is_handed_over_with_its_proof(shown, small_request, here, correct):
    app = export(page(s="0.65", correct=correct))
    name = f"{small_request.run}-0.65-0.5" + ("-corrected" if correct == "1" else "")
    folder = here / "exports" / name
    assert {p.name for p in folder.iterdir()} == {"README.md", "config.json", "load.py", "model.safetensors"}
    text = words(app)
    assert "A fresh process loaded it" in text
    assert "one step of an optimiser had finite gradients" in text
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert ("were solved again" in card) is (correct == "1")
    results, workspace = load_results(shown, small_request.run), open_workspace(shown, small_request.run)
    ranking = results.stored.need(RANKING)
    correction = correction_of(workspace, shown, ranking, Workbench(shown).reporter) if correct == "1" else None
    images = next(workspace.batches(workspace.table("queries")))
    with workspace.elastic(ranking, correction) as elastic, torch.inference_mode():
        elastic.keep(cut_at(ranking, 0.65, 0.5))
        want = embed(elastic.model, images)
        torch.testing.assert_close(embed(snapvit.load_exported(folder), images), want, rtol=0, atol=1e-4)
    with zipfile.ZipFile(io.BytesIO(hand_over._zipped(folder))) as archive:
        assert set(archive.namelist()) == {f"{name}/{p.name}" for p in folder.iterdir()}


def test_the_costs_and_the_figure_are_those_of_the_cut(shipped, here):
    app = page(mode="ratios", s="0.35", heads="60")
    from scripts.bundled_run import REQUEST

    results = load_results(shipped, REQUEST.run)
    cut, costs = cut_at(results.ranking, 0.35, 0.6), results.facts.costs
    assert metric(app, "Parameters") == amount(costs.params(cut))
    figure = next(spec for title, spec in charts(app).items() if "Every block" in title)
    kept = [trace for trace in figure["data"] if trace["name"] != "removed"]
    assert len(kept) == 4
    assert "35 % of neurons and 60 % of heads, as it is cut" in words(app)


@pytest.mark.parametrize("what", ["full folder", "file", "link"])
def test_a_folder_that_cannot_be_is_named_before_anything_is_done(shipped, here, what):
    app, target = page(), here / "taken"
    if what == "full folder":
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    elif what == "file":
        target.write_text("mine")
    else:
        target.symlink_to(here)
    (box,) = app.text_input
    box.set_value("taken").run()
    assert not app.exception
    assert str(target) in app.error[0].value
    assert "export" not in [button.key for button in app.button]


def test_without_the_extra_packages_onnx_is_off_and_why(shipped, here, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    app = page()
    assert app.checkbox(key="export_onnx").disabled
    assert "requirements-export.txt" in words(app)
