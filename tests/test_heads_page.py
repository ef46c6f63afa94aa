"""The Heads and neurons page without a browser."""

from __future__ import annotations

import numpy as np
import pytest
from page_checks import array, charts, opened, words

from scripts.bundled_run import REQUEST
from snapvit import figures
from snapvit.elastic.ranking import cut_at
from snapvit.jobs.tasks import StageTask, Workbench
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.results import load_results
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.attention import ATTENTION, EXAMPLES, FULL
from snapvit.store.store import Store
from snapvit.ui.heads.structures import leaving, neighbours, structure_frame
from snapvit.ui.selection import Structure

MAPS = {"local": "Local curvature", "factor": "Search factor", "score": "Final score"}


def test_the_map_shows_local_factor_or_score_of_every_head(shipped):
    results = load_results(shipped, REQUEST.run)
    expected = (
        np.log10(results.curvature.head),
        results.search.factors[12:].reshape(12, 6),
        np.log10(results.final_scores.head),
    )
    for (measure, name), values in zip(MAPS.items(), expected, strict=True):
        shown = charts(opened("pages/heads.py", s="0.65", measure=measure))
        assert [title for title in shown if title.endswith("of every head")] == [f"{name} of every head"]
        heat, crosses, cells = shown[f"{name} of every head"]["data"]
        np.testing.assert_allclose(array(heat["z"]).reshape(6, 12), values.T, rtol=1e-5)
        assert len(array(crosses["x"])) == 36  # half of 72
        assert len(cells["customdata"]) == 72


def test_the_table_holds_every_structure_with_what_the_artifacts_say(shipped):
    results = load_results(shipped, REQUEST.run)
    table = structure_frame(results, 0.65)
    assert len(table) == 84
    assert table["Structure"].tolist()[:13] == [f"Block {b} MLP" for b in range(1, 13)] + ["Block 1 head 1"]
    mlp = table["Kind"] == "MLP"
    np.testing.assert_allclose(table["Local curvature"][mlp], results.curvature.mlp.astype(float).sum(axis=1))
    np.testing.assert_allclose(
        table["Final score"][~mlp], results.curvature.head.ravel() * results.search.factors[12:], rtol=1e-6
    )
    assert (table["This cut"] == "removed").sum() == 36
    assert (table["This cut"] == "kept").sum() == 36
    for index, name, cka in zip(range(84), table["Most like"], table["CKA with it"], strict=True):
        row = [c if i != index else -1 for i, c in enumerate(results.cka.values[index])]
        assert cka == pytest.approx(max(row))
        assert name == results.facts.topology.structure_name(int(np.argmax(row)))


def test_what_leaves_by_a_sparsity_is_what_the_cut_removes(shipped):
    results = load_results(shipped, REQUEST.run)
    goes = leaving(results)
    for sparsity in (0.2, 0.5, 0.8, 0.95):
        table = structure_frame(results, sparsity)
        removed = (table["This cut"] == "removed").to_numpy()[12:]
        assert (removed == (goes[12:] <= sparsity + 1e-9)).all()
        for block in range(12):
            kept = int(table["This cut"][block].split()[0])
            assert (kept <= 288) == bool(goes[block] <= sparsity + 1e-9)


def test_neighbours_are_the_greatest_entries_of_the_row(shipped):
    results = load_results(shipped, REQUEST.run)
    near = neighbours(results, Structure(4, 2))
    row = np.delete(results.cka.values[12 + 4 * 6 + 2], 12 + 4 * 6 + 2)
    np.testing.assert_allclose([n.cka for n in near], np.sort(row)[::-1][:6])
    assert Structure(4, 2) not in [n.structure for n in near]


@pytest.mark.parametrize(("at", "title"), [("3-4", "Block 3, head 4"), ("7-mlp", "Block 7, MLP")])
def test_the_selected_structure_tells_its_story(at, title, shipped):
    app = opened("pages/heads.py", s="0.5", at=at)
    assert title in words(app)
    assert "What says nearly the same" in words(app)
    assert app.selectbox(key="pick_block").value == int(at.split("-")[0]) - 1
    assert "leaves neuron by neuron" in words(app) or "It goes when" in words(app) or "never goes" in words(app)


def test_the_boxes_select_a_structure_without_a_mouse(shipped):
    app = opened("pages/heads.py")
    app.selectbox(key="pick_block").set_value(4).run()
    assert "Block 5, head 1" in words(app)
    next(b for b in app.selectbox if b.label == "Head or MLP").set_value(-1).run()
    assert "Block 5, MLP" in words(app)
    assert "5-mlp" in app.query_params["at"]
    next(b for b in app.selectbox if b.label == "Block").select_index(0).run()
    assert "at" not in app.query_params
    assert "Click a head in the map" in words(app)


def a_head_that_stays_and_one_that_goes(store: Store, mlp: float, heads: float) -> tuple[str, str]:
    """Of one block, as addresses name them."""
    ranking = load_results(store, REQUEST.run).ranking
    order, cut = ranking.head_order(), cut_at(ranking, mlp, heads)
    block = next(b for b, kept in enumerate(cut.kept_heads) if 0 < kept < order.shape[1])
    return f"{block + 1}-{order[block, 0] + 1}", f"{block + 1}-{order[block, -1] + 1}"


def test_attention_is_offered_then_shown_with_kept_and_removed_said(shipped):
    def offers(**query: str) -> bool:
        app = opened("pages/heads.py", s="0.65", **query)
        return any(button.key == "compute_attention" for button in app.button)

    kept, removed = a_head_that_stays_and_one_that_goes(shipped, *path_pair(0.65))
    assert offers(at=kept)
    assert offers(at=removed, look="rollout")
    assert not offers(at=removed)  # removed by this cut, which therefore has nothing to add
    StageTask(REQUEST.run, tuple(Want(ATTENTION, (*pair, EXAMPLES)) for pair in (FULL, (0.65, 0.5)))).perform(
        Workbench(shipped)
    )
    assert not offers(at=kept)
    app = opened("pages/heads.py", s="0.65", at=removed)
    block, head = removed.split("-")
    halves = (f"Attention of block {block}, head {head}, removed at 65 %", "The same on more images")
    for title in halves:
        traces = charts(app)[title]["data"]
        assert sum(trace["type"] == "image" for trace in traces) == 12
        heats = [trace["z"] for trace in traces if trace["type"] == "heatmap"]
        assert [heat[0][0] is None for heat in heats] == 4 * [False, True]  # the cut's head is gone
    rollout = charts(opened("pages/heads.py", s="0.65", look="rollout"))
    assert [t for t in rollout if t.startswith("Attention of")] == ["Attention of the whole model (rollout)"]
    scales = [rollout[t]["layout"]["coloraxis"]["cmax"] for t in ("Attention of the whole model (rollout)", halves[1])]
    assert scales[0] == scales[1]
    assert sum(trace["type"] == "heatmap" for trace in rollout[halves[1]]["data"]) == 8
    foreign = opened("pages/heads.py", s="0.65", at="9-3", image="77")
    assert "Image 77 is none of the examples" in words(foreign)


def test_before_the_search_ends_there_is_local_curvature_alone(shipped):
    run = REQUEST.run
    for stage in ("search", "ranking", "evaluation"):
        shipped.forget(run, [stage])
    app = opened("pages/heads.py", at="2-1")
    shown = charts(app)
    assert list(shown) == ["Local curvature of every head", "How the neurons' scores fall in each block"]
    assert "The ranking comes after the search" in words(app)
    assert "The ranking comes after the search" in words(opened("pages/heads.py", at="2-mlp"))


def test_without_a_cka_map_the_page_says_so(shipped):
    shipped.forget(REQUEST.run, ["cka"])
    assert "no CKA map" in words(opened("pages/heads.py", at="2-1"))


def test_a_wide_and_deep_model_sends_few_points():
    scores = np.random.default_rng(0).random((40, 6144))
    assert len(figures.neuron_profile(scores, "score", 0.5).to_json()) < 700_000


def test_scores_that_are_zero_still_have_a_map():
    values = np.zeros((2, 3))
    assert figures.head_map(values, np.ones((2, 3), bool), "score").data
