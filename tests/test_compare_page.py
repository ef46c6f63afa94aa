"""The Compare page: its numbers, its verdict, what it offers, and other methods' runs on every page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from page_checks import PAGES, array, charts, opened, words
from streamlit.testing.v1 import AppTest
from waiting import ended

from snapvit.evaluation.paired import compare as compare_answers
from snapvit.evaluation.paired import describe
from snapvit.evaluation.standings import area_difference
from snapvit.jobs.manager import JobState
from snapvit.jobs.tasks import CompareTask
from snapvit.pipeline.comparing import compare_rankings
from snapvit.pipeline.contenders import PROBED, Contender, pairs
from snapvit.pipeline.measure import measure_cut
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import StoredRun, load_results
from snapvit.pipeline.running import open_workspace, run_pipeline
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.pipeline.table import key_of
from snapvit.store.store import Store
from snapvit.tables import Comparison, SearchFitness
from snapvit.ui.resources import jobs

NAMES = ("snapvit", "curvature", "random", "snapvit search.generations=1", "snapvit search.generations=2")
RIVALS = NAMES[:3]  # searches of other lengths are none


def page(**query: str) -> AppTest:
    return opened("pages/compare.py", **query)


@pytest.fixture(scope="module")
def measured(finished_cache, tmp_path_factory, small_request) -> Comparison:
    import shutil

    store = Store(shutil.copytree(finished_cache, tmp_path_factory.mktemp("compared") / "cache"))
    named = [Contender.parse(name) for name in NAMES]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snapvit.pipeline.comparing.PROBED", (0.65,))  # training probes is most of the work
        return compare_rankings(store, small_request.run, named, 2, Reporter(), points=PROBED)


@pytest.fixture
def compared(shown, measured, small_request) -> Comparison:
    """The comparison, in the cache that the pages show."""
    from snapvit.pipeline.running import keep_piece
    from snapvit.pipeline.stage import Want

    keep_piece(shown, open_workspace(shown, small_request.run), Want(COMPARISON), measured, complete=True)
    return measured


def test_curves_are_means_over_seeds_from_the_uncut_model_on(shown, compared, small_request):
    uncut = load_results(shown, small_request.run).as_cut.find(0, 0)
    for correct in (False, True):
        spec = charts(page(correct=str(int(correct))))[f"Rankings, {'corrected' if correct else 'as cut'}"]
        lines = {trace["name"]: trace for trace in spec["data"] if trace.get("name")}
        assert list(lines) == ["SnapViT", "Curvature alone", "Random"]
        for name, trace in zip(RIVALS, lines.values(), strict=True):
            rows = [compared.rows_of(name, seed, correct) for seed in (0, 1)]
            want = np.mean([[compared.table.row(i).top1 for i in seed] for seed in rows], axis=0)
            np.testing.assert_allclose(array(trace["y"]), 100 * np.array([uncut.top1, *want]))
            np.testing.assert_allclose(array(trace["x"]), [0, *(100 * mlp for mlp, _ in pairs(PROBED))])


def test_the_verdict_is_that_of_the_intervals(shown, compared, small_request):
    uncut = load_results(shown, small_request.run).as_cut.find(0, 0)
    app = page()
    gaps = {name: area_difference(compared, ("snapvit", False), (name, False), uncut) for name in RIVALS[1:]}
    told = words(app).split("By the area under the curve of accuracy against MACs, **SnapViT** is ")[1].split(".")[0]
    parts = {part.split(" ", 2 if part.startswith("not") else 1)[0]: part for part in told.split("; ")}
    for name, gap in gaps.items():
        kind = "not" if not gap.decided else "better" if gap.high < 0 else "worse"
        assert Contender.parse(name).label in parts[kind]
    dots = {trace["y"][0]: trace for trace in charts(app)["Paired differences"]["data"]}
    for name, gap in gaps.items():
        dot = dots[Contender.parse(name).label]
        assert array(dot["x"])[0] == pytest.approx(100 * gap.mean)
        assert dot["marker"]["symbol"].endswith("-open") == (not gap.decided)


def test_another_reference_measure_and_place_can_be_chosen(compared):
    app = page(reference="random", where="0.65", measure="probe", by="macs")
    assert "By the cut at 65 %, **Random** is" in words(app)
    assert "Linear probe, top-1 (%)" in str(charts(app)["Rankings, as cut"]["layout"]["yaxis"]["title"])
    app = page(measure="cosine")
    assert "no paired interval" in words(app) and "Paired differences" not in charts(app)
    app = page(correct="1", reference="as cut", where="0.95")
    spec = charts(app)["Paired differences"]
    assert len(spec["data"]) == len(RIVALS) and "itself, not corrected" in str(spec["layout"]["xaxis"]["title"])
    for length in ("1 generation", "2 generations"):
        app = page(reference=f"snapvit search.generations={length[0]}")
        drawn = [trace["name"] for trace in charts(app)["Rankings, as cut"]["data"] if trace.get("name")]
        assert drawn == ["SnapViT", "Curvature alone", "Random", f"SnapViT, {length}"]
        assert f"**SnapViT, {length}** is" in words(app)
    assert "Rankings, as cut" in charts(page(reference="nobody", where="7", measure="?", by="?"))


def test_what_the_search_buys_begins_without_it(compared):
    (trace,) = charts(page(cut="0.8"))["Accuracy by length of the search, cut at 80 %"]["data"]
    assert trace["customdata"] == [0, 4, 8, 12]  # individuals: 4 a generation
    np.testing.assert_allclose(array(trace["x"]), np.log1p([0, 4, 8, 12]))
    order = ("curvature", *NAMES[3:], "snapvit")
    want = [
        np.mean([compared.table.row(compared.find(name, seed, False, 0.8, 0.65)).top1 for seed in (0, 1)])
        for name in order
    ]
    np.testing.assert_allclose(array(trace["y"]), 100 * np.array(want))
    (trace,) = charts(page(cut="0.8", measure="cosine"))["Cosine by length of the search, cut at 80 %"]["data"]
    rows = [[compared.find(name, seed, False, 0.8, 0.65) for seed in (0, 1)] for name in order]
    np.testing.assert_allclose(array(trace["y"]), [np.mean([compared.table.row(i).cosine for i in r]) for r in rows])


def test_what_the_search_lowers_stands_beside_it(compared, small_request):
    app = page()
    spec = charts(app)["Fitness by length of the search"]
    high, low, mean = spec["data"]
    best = np.array([compared.fitness_of("snapvit", seed)[1] for seed in (0, 1)])  # the longest search
    shares, kind = 100 * best / best[:, [0]], f"from the identity, {small_request.config.search.images} images"
    assert (mean["name"], [row[0] for row in mean["customdata"]]) == (kind, [0, 4, 8, 12])
    for trace, want in ((mean, shares.mean(axis=0)), (low, shares.min(axis=0)), (high, shares.max(axis=0))):
        np.testing.assert_allclose(array(trace["y"]), want)
        np.testing.assert_allclose(array(trace["x"]), np.log1p([0, 4, 8, 12]))
        assert trace["line"]["shape"] == "hv"
    assert f"to {shares[:, -1].mean():.0f} % after 12 {kind}, of what" in words(app)
    assert spec["layout"]["xaxis"]["ticktext"] == ["0", "4", "8", "12"]


def test_a_comparison_without_fitness_shows_the_runs_own_search(shown, compared, small_request):
    """One that was made before it was kept."""
    stored = StoredRun.open(shown, small_request.run)
    older = replace(compared, searches=SearchFitness.empty())
    key = key_of(COMPARISON, stored.request, stored.manifest.nodes)
    shown.update(small_request.run, COMPARISON.name, Comparison, key, lambda _: older)
    drawn = charts(page())
    assert "How the search found its factors" in drawn and "Fitness by length of the search" not in drawn


def test_without_a_comparison_one_is_offered_and_made(shown, small_request, monkeypatch):
    monkeypatch.setattr("snapvit.pipeline.comparing.POINTS", (0.95,))
    app = page()
    assert "Nothing was measured beside this run's own ranking yet" in words(app)
    app.multiselect(key="contenders").set_value(["random", "magnitude"]).run()
    app.number_input(key="seeds").set_value(2).run()
    assert "3 rankings, 14 cuts of each" in words(app)
    app.button(key="compare").click().run()
    (job,) = [job for job in jobs().snapshots() if isinstance(job.task, CompareTask)]
    done = ended(jobs(), job.id)
    assert done.state is JobState.FINISHED, done.error
    found = StoredRun.open(shown, small_request.run).load(COMPARISON)
    assert found.contenders == ("random", "magnitude") and found.seeds("random") == [0, 1]
    app.run()
    assert not app.exception and "Rankings, as cut" in charts(app)
    app.multiselect(key="contenders").set_value([]).run()
    assert "Choose at least one ranking" in words(app) and not app.exception


def test_two_runs_are_paired_where_they_answered_the_same(shown, small_request, small_settings):
    app = page(s="0.35")
    assert "no other finished run" in words(app)
    other = make_request(settings=small_settings, method="magnitude")
    workspace = run_pipeline(other, shown, Reporter())
    assert "not measured in both" in words(page(s="0.35", run=small_request.run))
    one = measure_cut(shown, small_request.run, 0.35, 0.2, Reporter())
    two = measure_cut(shown, other.run, 0.35, 0.2, Reporter(), workspace)
    bits = [np.unpackbits(np.frombuffer(bytes.fromhex(m.answers), np.uint8), count=20) for m in (one, two)]
    text = words(page(s="0.35", run=small_request.run))
    assert describe(compare_answers(*(found.astype(bool) for found in bits))) in text
    spec = charts(page(run=small_request.run))["Two runs"]
    assert len([trace for trace in spec["data"] if trace.get("name")]) == 2


def test_the_papers_models_stand_beside_it_as_shares_of_their_own(shown, small_request):
    spec = charts(page(published="CIFAR-10"))["What is left on CIFAR-10"]
    lines = {trace["name"]: array(trace["y"]) for trace in spec["data"]}
    assert len(lines) == 12 and {"DINOv3 ViT-B/16", "This run", "This run, corrected"} <= set(lines)
    assert all(values[0] == pytest.approx(100) for values in lines.values())
    table = load_results(shown, small_request.run).as_cut
    assert lines["This run"][-1] == pytest.approx(100 * table.find(0.95, 0.8).top1 / table.find(0, 0).top1)


@pytest.mark.parametrize("method", ["gauss-newton", "curvature", "magnitude"])
def test_every_page_shows_a_run_by_another_method(shown, small_settings, method):
    request = make_request(settings=small_settings, method=method)
    run_pipeline(request, shown, Reporter())
    for name in PAGES:
        app = opened(name, run=request.run, at="2.3", image="7")
        assert not app.error, name
        assert words(app)
