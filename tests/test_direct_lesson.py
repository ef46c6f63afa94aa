"""The Method page of a ranking without a search: its own steps, whose numbers are those of the artifacts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from page_checks import array, charts, metric, opened, words
from scipy.stats import spearmanr
from streamlit.testing.v1 import AppTest

from snapvit.evaluation.paired import answers_of
from snapvit.formats import decimal, score
from snapvit.jobs.tasks import StageTask, Workbench
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import RunResults, list_runs, load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.interactions import DISPLACEMENT, GAUSS_NEWTON
from snapvit.store.store import Store

PAGE = "pages/method.py"
COMMON = ["ranking", "cut", "correction", "easy", "random", "block", "wrong"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small_settings: tuple[str, ...]) -> Path:
    """A cache with a small run of each of two methods; only to be read."""
    root = tmp_path_factory.mktemp("direct")
    config = with_settings(PRESETS["direct"], list(small_settings))
    for method in ("gauss-newton", "lamp"):
        request = RunRequest(config=with_settings(config, [f"ranking.method={method}"]))
        run_pipeline(request, Store(root), Reporter())
    run = next(summary.run for summary in list_runs(Store(root)) if "gauss-newton" in summary.run)
    StageTask(run, (Want(DISPLACEMENT),)).perform(Workbench(Store(root)))
    return root


@pytest.fixture
def results(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_resources: None) -> RunResults:
    """The run by Gauss-Newton, in a copy that the pages show."""
    return shown(made, tmp_path, monkeypatch, "gauss-newton")


def shown(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> RunResults:
    store = Store(shutil.copytree(made, tmp_path / "cache"))
    monkeypatch.setenv("SNAPVIT_CACHE", str(store.root))
    return load_results(store, next(one.run for one in list_runs(store) if method in one.run))


def at(results: RunResults, step: str, **query: str) -> AppTest:
    return opened(PAGE, run=results.summary.run, step=step, **query)


def walked(results: RunResults) -> list[str]:
    """Names of all steps, by the button."""
    app, names = at(results, "start"), []
    while not app.button(key="step_next").disabled:
        app.button(key="step_next").click().run()
        assert not app.exception
        names.append(app.query_params["step"])
    return names


def test_gauss_newton_has_steps_of_its_own(results: RunResults) -> None:
    assert walked(results) == ["slope", "guess", *COMMON]
    text = words(at(results, "start"))
    assert "Gauss-Newton decides once, without labels or retraining" in text
    assert "curvature" not in text


def test_any_other_ranking_has_those_that_are_left(made, tmp_path, monkeypatch, fresh_resources) -> None:
    results = shown(made, tmp_path, monkeypatch, "lamp")
    assert walked(results) == COMMON
    assert "A head's" in (text := words(at(results, "ranking")))
    assert "what LAMP gives it: layer-adaptive magnitude of weights" in text
    text = words(at(results, "block"))
    assert "- **score** of a head" in text
    assert "**curvature**" not in text


def test_the_slope_of_the_head_is_its_score(results: RunResults) -> None:
    found = results.stored.load(GAUSS_NEWTON)
    text = words(at(results, "slope", at="3-2"))
    mine = float(found.head[2, 1])
    assert f"For **block 3, head 2** it is {score(mine)}; {(found.head < mine).sum()} of 72 heads have less." in text
    assert "each of 6 images costs one pass forward and 2 back" in text


def test_the_guess_is_half_the_squared_slope_beside_what_was_measured(results: RunResults) -> None:
    found, moved = results.stored.load(GAUSS_NEWTON), results.stored.load(DISPLACEMENT)
    app = at(results, "guess", at="3-2")
    guess = np.diag(found.interactions) / 2
    assert metric(app, "The slope's guess") == score(float(found.head[2, 1]) / 2)
    assert metric(app, "Measured") == score(float(moved.singles[12 + 2 * 6 + 1]))
    assert metric(app, "Rank correlation") == decimal(spearmanr(guess, moved.singles).statistic, 2)
    worst = int((moved.singles / guess).argmax())
    name = results.facts.topology.structure_name(worst)
    assert f"{name} costs {decimal(float(moved.singles[worst] / guess[worst]), 1)} times" in words(app)
    drawn = charts(app)["What taking one out costs"]["data"]
    heads = next(trace for trace in drawn if trace["name"] == "head")
    np.testing.assert_allclose(array(heads["x"]), guess[12:], rtol=1e-6)
    np.testing.assert_allclose(array(heads["y"]), moved.singles[12:], rtol=1e-6)


def test_what_is_not_measured_is_offered(results: RunResults) -> None:
    results.stored.store.forget(results.summary.run, [DISPLACEMENT.name])
    app = at(results, "guess")
    assert app.button(key="compute_displacement").disabled is False
    assert "84 structures" in words(app)


def test_the_correction_s_curves_are_the_two_tables(results: RunResults) -> None:
    app = at(results, "correction", s="0.95")
    drawn = {trace["name"]: trace for trace in charts(app)["What stays takes over"]["data"]}
    last = {name: answers_of(table.find(0.95, 0.8)) for name, table in tables_of(results).items()}
    for name, answers in last.items():
        assert array(drawn[name]["y"])[-1] == pytest.approx(100 * answers.mean())
    worse, better = (int((last[a] & ~last[b]).sum()) for a, b in (("as cut", "corrected"), ("corrected", "as cut")))
    cosines = [table.find(0.95, 0.8).cosine for table in tables_of(results).values()]
    text = words(app)
    assert f"{worse} queries got worse, {better} better" in text or f"{worse} query got worse, {better} better" in text
    assert f"goes from {decimal(cosines[0], 3)} to {decimal(cosines[1], 3)}" in text


def tables_of(results: RunResults) -> dict[str, object]:
    return {"as cut": results.as_cut, "corrected": results.corrected}


def test_a_run_without_its_scores_or_its_corrected_cuts_says_so(results: RunResults) -> None:
    store, run = results.stored.store, results.summary.run
    store.forget(run, [f"{EVALUATION.name}-corrected"])
    assert "has no cut that is measured both ways yet" in words(at(results, "correction"))
    store.forget(run, [GAUSS_NEWTON.name])
    app = at(results, "slope")
    assert "This run has none" in words(app)
    assert not app.get("plotly_chart")


def test_the_searched_lesson_tells_of_the_correction_too(shipped: Store) -> None:
    run = list_runs(shipped)[0].run
    text = words(opened(PAGE, step="correction", s="0.95"))
    both = [replace(load_results(shipped, run), correct=correct).measurements for correct in (False, True)]
    before, after = (decimal(table.find(0.95, 0.8).cosine, 3) for table in both)
    assert f"from {before} to {after}" in text


@pytest.mark.parametrize("page", ["sparsity", "compare", "correlation", "embedding", "export"])
def test_a_page_of_an_unfinished_run_says_what_is_to_come_not_that_it_never_will(
    results: RunResults, page: str
) -> None:
    results.stored.store.forget(results.summary.run, ["ranking"])
    text = words(opened(f"pages/{page}.py", run=results.summary.run))
    assert " yet" in text
    assert "no part of it" not in text
