"""The grid of cuts is measured coarse first and kept; a budget gets the answer that a search of all cuts gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from snapvit.artifacts import Cut
from snapvit.data.pixels import pixel_table
from snapvit.elastic.ranking import cut_at
from snapvit.errors import Cancelled
from snapvit.evaluation.budget import Budget, PathCosts, best_within, meet, quality_at
from snapvit.evaluation.paired import pack_answers
from snapvit.jobs.tasks import LoadTask, MeasureTask, Workbench
from snapvit.machine import this_machine
from snapvit.pipeline import effort, meter
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.grid import COARSE, FINE, grid_pairs
from snapvit.pipeline.meter import Meter
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun, load_results
from snapvit.pipeline.running import open_workspace
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.tables import Latencies, Latency, Measurement


def test_the_grid_comes_coarse_first_and_the_fine_one_holds_the_coarse():
    coarse, fine = grid_pairs(COARSE), grid_pairs(FINE)
    assert set(coarse[:4]) == {(0.0, 0.0), (0.0, 0.8), (0.95, 0.0), (0.95, 0.8)}
    assert {m for m, _ in coarse[:9]} == {0.0, 0.475, 0.95}
    assert len(coarse) == len(set(coarse)) == 25
    assert len(fine) == len(set(fine)) == 81
    assert set(fine[:25]) == set(coarse)


def rows_of(store, run):
    table = load_results(store, run).measurements
    return list(zip(table.mlp.tolist(), table.heads.tolist(), strict=True))


def test_the_grid_is_measured_in_order_and_what_is_there_stays(finished, small_request):
    run = small_request.run
    before = rows_of(finished, run)
    bench = Workbench(finished)
    MeasureTask(run, tuple(grid_pairs(3))).perform(bench)
    assert rows_of(finished, run) == before + [pair for pair in grid_pairs(3) if pair not in before]
    assert bench.reporter.progress.share == pytest.approx(1.0)
    table = load_results(finished, run).measurements
    for mlp, heads in grid_pairs(3):
        assert table.find(mlp, heads).cut == cut_at(StoredRun.open(finished, run).need(RANKING), mlp, heads)
    MeasureTask(run, tuple(grid_pairs(3))).perform(bench)
    assert len(rows_of(finished, run)) == len(table)


def test_a_cancelled_grid_keeps_what_is_measured_and_goes_on(finished, small_request):
    run, bench = small_request.run, Workbench(finished)
    before = len(rows_of(finished, run))

    class Stopping(Reporter):
        def event(self, kind, text, **values):
            super().event(kind, text, **values)
            if kind == "point":
                self.cancel()

    bench.reporter = Stopping()
    with pytest.raises(Cancelled):
        MeasureTask(run, tuple(grid_pairs(3))).perform(bench)
    assert len(rows_of(finished, run)) == before + 1
    bench.reporter = Reporter()
    MeasureTask(run, tuple(grid_pairs(3))).perform(bench)
    assert set(grid_pairs(3)) <= set(rows_of(finished, run))


def first_images(workspace, name, count):
    return pixel_table(workspace.source, workspace.ids[name][:count], workspace.loaded.preprocess)


def test_the_early_answer_is_of_the_first_images_and_changes_no_final_number(finished, small_request, monkeypatch):
    run, workspace = small_request.run, open_workspace(finished, small_request.run)
    ranking = StoredRun.open(finished, run).need(RANKING)
    cut = cut_at(ranking, 0.6, 0.45)
    monkeypatch.setattr(effort, "forward_batch", lambda _: 4)
    monkeypatch.setattr(meter, "EARLY_QUERIES", 7)
    monkeypatch.setattr(meter, "EARLY_GALLERY", 16)
    reporter = Reporter()
    with workspace.elastic(ranking) as elastic:
        found = Meter(workspace, elastic, reporter)
        soon, whole = found.measure_soon(cut), found.measure(cut)
    assert (soon.hits, soon.cosine, soon.queries, soon.gallery) == (whole.hits, whole.cosine, 20, 60)
    (early,) = [e.values for e in reporter.events if e.kind == "early"]
    assert (early["queries"], early["gallery"]) == (8, 16)
    monkeypatch.setitem(workspace._tables, "queries", first_images(workspace, "queries", 8))
    monkeypatch.setitem(workspace._tables, "gallery", first_images(workspace, "gallery", 16))
    workspace.full_queries = None
    with workspace.elastic(ranking) as elastic:
        found = Meter(workspace, elastic, Reporter())
        assert found.measure(cut).hits == early["hits"]


def test_warming_up_opens_the_workspace_and_writes_nothing(finished, small_request):
    bench, before = Workbench(finished), sorted(p.name for p in finished.root.rglob("*"))
    LoadTask(small_request.run).perform(bench)
    opened = bench._workspace
    assert bench.workspace(small_request.run) is opened
    assert sorted(p.name for p in finished.root.rglob("*")) == before


# Budgets, against looking at every cut


STEPS = np.round(np.linspace(0, 0.95, 20), 4)
LATENCIES = {0.0: 10.0, 0.25: 9.0, 0.5: 9.5, 0.75: 5.0}  # a noisy clock: not falling everywhere


def measured(mlp, heads, hits, params=0, macs=0):
    answers = None if hits is None else pack_answers(np.arange(100) < hits).tobytes().hex()
    return Measurement(Cut(mlp, heads, (1,), (1,)), answers, 100, 100, 5, 1 - mlp / 2, params, macs)


def timed(times):
    return Latencies.empty(this_machine()).with_rows(
        [Latency(mlp, heads, ms, 10.0, ms / 10, 0.0, 1.0, 9) for (mlp, heads), ms in times.items()]
    )


def costs_at(mlp, heads):
    return round(1000 * (1 - 0.6 * mlp - 0.3 * heads)), round(9000 * (1 - 0.5 * mlp - 0.4 * heads))


PATH = PathCosts(
    STEPS,
    np.array([path_pair(float(s))[1] for s in STEPS]),
    np.array([costs_at(*path_pair(float(s)))[0] for s in STEPS]),
    np.array([costs_at(*path_pair(float(s)))[1] for s in STEPS]),
)
ON_PATH = [measured(*path_pair(s), round(95 - 40 * s), *costs_at(*path_pair(s))) for s in LATENCIES]
OFF_PATH = [measured(0.9, 0.0, 80, *costs_at(0.9, 0.0)), measured(0.0, 0.8, 85, *costs_at(0.0, 0.8))]
OFF_TIMES = {(0.9, 0.0): 6.0, (0.0, 0.8): 4.0}
ALL = ON_PATH + OFF_PATH
TIMED = timed({path_pair(s): ms for s, ms in LATENCIES.items()} | OFF_TIMES)


@pytest.mark.parametrize(
    ("params", "macs", "latency"),
    list(itertools.product([None, 1000, 800, 640, 500, 100], [None, 9000, 6000, 5200], [None, 10, 9.2, 7, 5, 1])),
)
def test_a_budget_gets_the_first_cut_of_the_path_that_meets_it(params, macs, latency):
    answer = meet(Budget(params, macs, latency), PATH, ON_PATH, ALL, TIMED)
    known = np.interp(STEPS, list(LATENCIES), list(LATENCIES.values()), right=np.nan)
    fits = [
        i
        for i in range(len(STEPS))
        if (params is None or PATH.params[i] <= params)
        and (macs is None or PATH.macs[i] <= macs)
        and (latency is None or known[i] <= latency + 1e-9)
    ]
    assert (None if answer.on_path is None else answer.on_path.mlp) == (STEPS[fits[0]] if fits else None)
    assert answer.least.params == PATH.params.min()
    assert answer.least_latency_ms == pytest.approx(np.nanmin(known))


def test_quality_says_whether_it_was_measured():
    there, between = quality_at(0.25, ON_PATH, TIMED), quality_at(0.375, ON_PATH, TIMED)
    assert there.measured
    assert there.top1 == 0.85
    assert not between.measured
    assert between.top1 == pytest.approx((0.85 + 0.75) / 2)
    assert between.latency_ms == pytest.approx(9.25)
    assert quality_at(0.8, ON_PATH) is None
    assert quality_at(0.1, []) is None


@pytest.mark.parametrize(
    ("params", "macs", "latency"),
    list(itertools.product([None, 1000, 800, 640, 500, 100], [None, 9000, 6000, 5200], [None, 10, 9.2, 7, 5, 1])),
)
def test_the_best_within_a_budget_has_the_most_right_answers(params, macs, latency):
    times = {path_pair(s): ms for s, ms in LATENCIES.items()} | OFF_TIMES
    inside = [
        m
        for m in ALL
        if (params is None or m.params <= params)
        and (macs is None or m.macs <= macs)
        and (latency is None or times[m.cut.mlp, m.cut.heads] <= latency)
    ]
    found = best_within(Budget(params, macs, latency), ALL, TIMED)
    if not inside:
        assert found is None
        return
    assert found.cut.hits == max(m.hits for m in inside)
    assert found.cut.macs == min(m.macs for m in inside if m.hits == found.cut.hits)
    others = [m for m in inside if m is not found.cut]
    assert (found.runner_up is None) is (not others)
    if others:
        assert found.runner_up.hits == max(m.hits for m in others)
        # the made-up answers are nested: each query that only the best names right is a gain
        assert (found.pair.only_a, found.pair.only_b) == (0, found.cut.hits - found.runner_up.hits)


def test_without_labels_the_cosine_decides():
    bare = [measured(*path_pair(s), None, *costs_at(*path_pair(s))) for s in LATENCIES]
    answer = meet(Budget(params=640), PATH, bare, [*bare, measured(0.0, 0.8, None, 600, 6000)], None)
    assert answer.on_path.quality.top1 is None
    assert answer.best.cut.cosine == 1.0
    assert answer.best.runner_up.cut.mlp == 0.5
    assert answer.best.pair is None


@pytest.mark.parametrize("limit", [1000.0, 9.0])
def test_what_is_not_timed_on_this_machine_meets_no_limit_on_time(limit):
    answer = meet(Budget(latency_ms=limit), PATH, ON_PATH, ALL, None)
    assert (answer.on_path, answer.best, answer.least_latency_ms) == (None, None, None)
    only_full = timed({(0.0, 0.0): 10.0})
    found = meet(Budget(latency_ms=limit), PATH, ON_PATH, ALL, only_full).on_path
    assert (None if found is None else found.mlp) == (0.0 if limit >= 10 else None)
