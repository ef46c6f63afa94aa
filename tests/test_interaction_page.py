"""The Correlation page's maps that are no search's, and the agreement of each with another, without a browser."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from page_checks import charts, filled, opened, words
from scipy.stats import spearmanr
from stage_samples import put
from streamlit.testing.v1 import AppTest

from snapvit import figures
from snapvit.artifacts import Displacement, GaussNewton, MeasuredInteractions, Topology
from snapvit.figures.interactions import SHOWN_PAIRS
from snapvit.jobs.tasks import StageTask
from snapvit.method.structure_maps import depth_order
from snapvit.pipeline.config import with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.interactions import DISPLACEMENT, GAUSS_NEWTON, MEASURED
from snapvit.pipeline.stages.search import SEARCH
from snapvit.ui import resources

CORRELATION = "pages/correlation.py"
SIZE = 84
FIRST, SECOND = np.triu_indices(SIZE, 1)


def symmetric(seed: int) -> np.ndarray:
    half = np.random.default_rng(seed).normal(size=(SIZE, 12))
    return half @ half.T / 1000


@pytest.fixture
def truth() -> np.ndarray:
    """(S, S) measured interactions."""
    return symmetric(0)


@pytest.fixture
def with_maps(shown, small_request, truth):
    """The small run with made-up maps: displacement close to what was measured, Gauss-Newton unrelated to it."""
    singles = np.full(SIZE, 0.3)
    pairs = truth + singles[:, None] + singles
    np.fill_diagonal(pairs, np.nan)
    nodes = dict(shown.manifest(small_request.run).nodes) | {"images.first-6": "made-up"}
    manifest = shown.manifest(small_request.run)
    shown.create(small_request.run, manifest.request, manifest.facts, nodes)
    put(shown, small_request.run, MEASURED, MeasuredInteractions(singles, pairs, 6), 6, 3486)
    near = truth + 0.1 * symmetric(1)
    put(shown, small_request.run, DISPLACEMENT, Displacement(near, np.diag(near) / 2, 6))
    scores = np.ones((12, 576)), np.ones((12, 6))
    put(shown, small_request.run, GAUSS_NEWTON, GaussNewton(*scores, symmetric(2), 6, 2))
    return shown


def verdict_of(app: AppTest, title: str) -> str:
    """The sentence on a figure."""
    notes = [note["text"] for note in charts(app)[title]["layout"]["annotations"]]
    return max(notes, key=len).replace("<br>", " ")


def test_without_anything_measured_the_page_offers_to_measure(shown, small_request, monkeypatch):
    submitted: list[object] = []
    monkeypatch.setattr(resources.jobs(), "submit", submitted.append)
    app = opened(CORRELATION)
    assert "Not checked yet" in verdict_of(app, "Factors that move together")
    app.number_input(key="measure_pairs").set_value(70).run()
    app.number_input(key="measure_images").set_value(9).run()
    assert "70 pairs on 9 images" in words(app)
    app.button(key="offer_measured").click().run()
    assert submitted == [StageTask(small_request.run, (Want(MEASURED, (9, 70)),))]


@pytest.mark.parametrize(
    ("name", "button", "want"),
    [("displacement", "offer_displacement", DISPLACEMENT), ("gauss-newton", "offer_gauss_newton", GAUSS_NEWTON)],
)
def test_an_estimate_that_is_missing_is_offered(name, button, want, shown, small_request, monkeypatch):
    submitted: list[object] = []
    monkeypatch.setattr(resources.jobs(), "submit", submitted.append)
    app = opened(CORRELATION, map_g=name, against="cka")
    app.button(key=button).click().run()
    assert submitted == [StageTask(small_request.run, (Want(want),))]


def test_the_verdict_stands_on_every_map(with_maps, truth, small_request):
    stored = StoredRun.open(with_maps, small_request.run)
    near = stored.need(DISPLACEMENT).inner
    rho = spearmanr(near[FIRST, SECOND], truth[FIRST, SECOND]).statistic
    assert rho > 0.9
    said = f"Displacement orders pairs well: rank correlation {rho:.2f} with 3,486 pairs measured on 6 images, Mantel"
    assert said in verdict_of(opened(CORRELATION, map_g="displacement"), "Removals that act alike")
    assert said in verdict_of(opened(CORRELATION, map_g="measured"), "What two cost together")
    assert "Gauss-Newton is no better than chance" in verdict_of(
        opened(CORRELATION, map_g="gauss-newton"), "Slopes that point alike"
    )
    assert "with 3,486 pairs by displacement" in verdict_of(
        opened(CORRELATION, map_g="gauss-newton", against="displacement"), "Slopes that point alike"
    )


@pytest.mark.parametrize("scale", ["loss", "correlation"])
def test_the_map_holds_what_was_measured(with_maps, truth, scale, small_request):
    app = opened(CORRELATION, map_g="measured", scale_g=scale)
    order = depth_order(StoredRun.open(with_maps, small_request.run).manifest.facts.topology)
    want = (truth / 0.6 if scale == "correlation" else truth)[np.ix_(order, order)]
    (found,) = filled(app, "map_measured")
    off = ~np.eye(SIZE, dtype=bool)
    np.testing.assert_allclose(found[off], want[off], atol=1e-4 * np.abs(want).max())
    assert app.dataframe[0].value["Measured"].abs().iloc[0] == pytest.approx(np.abs(want[off]).max(), rel=1e-6)


def test_the_searchs_agreement_is_drawn_for_every_generation(with_maps, truth, small_request):
    app = opened(CORRELATION, g="2")
    figure = charts(app)["Factors that move together"]
    history = StoredRun.open(with_maps, small_request.run).need(SEARCH).history
    want = [
        spearmanr(history.correlation(g)[FIRST, SECOND], truth[FIRST, SECOND]).statistic if g else None
        for g in range(4)
    ]
    for g, frame in enumerate(figure["frames"]):
        points = [trace for trace in frame["data"] if len(trace.get("x", ())) == 1]
        (point,) = points
        assert point["x"] == [g]
        if g:
            assert point["y"] == [pytest.approx(want[g], abs=1e-4)]
    assert f"Pair by pair at generation 2: {want[2]:.2f}".replace("-", "−") in charts(app)


def test_a_scatter_draws_a_part_of_many_pairs_and_names_them():
    topology = Topology(12, 6, 8, 8, 2, 5)
    x, y = np.arange(3486.0), np.arange(3486.0)[::-1]
    figure = figures.agreement_scatter(figures.PairCloud(FIRST, SECOND, x, y), topology, ("a", "b"), False, "t")
    assert sum(len(trace.x) for trace in figure.data) == SHOWN_PAIRS
    for trace, out in zip(figure.data, (("head", "head"), ("MLP", "head"), ("MLP", "MLP")), strict=True):
        for place, across in zip(trace.customdata, trace.x, strict=True):
            names = [topology.structure_name(int(i)) for i in (FIRST[int(across)], SECOND[int(across)])]
            for name, kind, (block, head) in zip(names, out, (place[:2], place[2:]), strict=True):
                assert name == f"Block {block} " + (f"head {head}" if kind == "head" else "MLP")
        assert [kind in words for kind, words in zip(out, trace.hovertemplate.split("<br>"), strict=False)] == [
            True
        ] * 2


def test_other_runs_of_the_model_say_how_much_comes_back(shown, small_request):
    assert "no other run of this model" in words(opened(CORRELATION, against="cka"))
    other = replace(small_request, config=with_settings(small_request.config, ["search.seed=5"]))
    run_pipeline(other, shown, Reporter())
    histories = [StoredRun.open(shown, run).need(SEARCH).history for run in (small_request.run, other.run)]
    pairs = [history.correlation(3)[FIRST, SECOND] for history in histories]
    rho = f"{spearmanr(*pairs).statistic:.2f}".replace("-", "−")
    app = opened(CORRELATION, against="cka", run=small_request.run)
    assert f"with that of 1 other run(s) of this model (seeds 5): **{rho}**" in words(app)
