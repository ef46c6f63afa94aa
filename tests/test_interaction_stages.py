"""Interactions as stages of a run: kept, gone on with, and put to use by the command line and the search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_cli_refusals import assert_refused

from snapvit.errors import Cancelled
from snapvit.jobs.tasks import StageTask, Workbench
from snapvit.method import interactions as method
from snapvit.method.agreement import agreement, correlation_of
from snapvit.pipeline.agreements import ESTIMATES, agreements, map_of, most_measured, wants_of
from snapvit.pipeline.config import with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.interactions import DISPLACEMENT, GAUSS_NEWTON, MEASURED
from snapvit.pipeline.stages.search import SEARCH

FEW = Want(MEASURED, (4, 30))  # images, pairs


@pytest.fixture
def bench(finished):
    return Workbench(finished)


def computed(bench: Workbench, run: str, *wants: Want) -> StoredRun:
    StageTask(run, wants).perform(bench)
    return StoredRun.open(bench.store, run)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Rows that are measured from now on: the structure, and how many pairs with it."""
    rows: list[tuple[int, int]] = []
    whole = method._row_losses

    def noting(passage, directions, images, full, structure, partners, blocks, done):
        rows.append((structure, len(partners)))
        return whole(passage, directions, images, full, structure, partners, blocks, done)

    monkeypatch.setattr(method, "_row_losses", noting)
    return rows


@pytest.mark.parametrize("want", [Want(DISPLACEMENT), Want(GAUSS_NEWTON), FEW], ids=lambda want: want.entry)
def test_it_is_kept_does_the_units_it_counts_and_is_computed_once(bench, small_request, want):
    run = small_request.run
    found = computed(bench, run, want).load(want.stage, *want.args)
    progress = bench.reporter.progress
    assert progress.overall_done == pytest.approx(progress.overall_total) and progress.overall_total > 0
    assert found.images == (4 if want is FEW else 6)
    bench.reporter = Reporter()
    computed(bench, run, want)
    assert bench.reporter.progress.overall_total == 0


def test_a_cancelled_measurement_goes_on_where_it_stopped(bench, small_request, monkeypatch):
    run, whole = small_request.run, replace(FEW, args=(4, 40))
    want = computed(bench, run, whole).load(*_of(whole)).interactions
    bench.store.forget(run, [whole.entry])
    rows = counted(monkeypatch)
    advance, bench.reporter.advance = bench.reporter.advance, lambda units: _stop_after(bench, rows, 10, advance, units)
    with pytest.raises(Cancelled):
        StageTask(run, (whole,)).perform(bench)
    stored = StoredRun.open(bench.store, run)
    part = stored.load(*_of(whole))
    assert not stored.is_whole(*_of(whole)) and 0 < np.isfinite(part.interactions).sum() < 80
    bench.reporter = Reporter()
    rows.clear()
    found = computed(bench, run, whole).load(*_of(whole)).interactions
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(want))
    np.testing.assert_allclose(found[np.isfinite(want)], want[np.isfinite(want)], atol=1e-6)
    missing = 40 - np.isfinite(part.interactions).sum() // 2
    assert sum(pairs for _, pairs in rows) == missing, "what was kept is not measured again"
    progress = bench.reporter.progress
    assert progress.overall_done == pytest.approx(progress.overall_total)


def _of(want: Want) -> tuple:
    return want.stage, *want.args


def _stop_after(bench: Workbench, rows: list[tuple[int, int]], count: int, advance, units: float) -> None:
    if len(rows) > count:
        bench.reporter.cancel()
    advance(units)


def test_more_pairs_of_the_same_images_take_what_there_is(bench, small_request, monkeypatch):
    run = small_request.run
    few = computed(bench, run, FEW).load(*_of(FEW)).interactions
    rows = counted(monkeypatch)
    more = Want(MEASURED, (4, 33))
    found = computed(bench, run, more).load(*_of(more)).interactions
    assert np.isfinite(found).sum() == 66 and len(rows) <= 6
    known = np.isfinite(few)
    np.testing.assert_array_equal(found[known], few[known])
    assert bench.reporter.progress.overall_done == pytest.approx(bench.reporter.progress.overall_total)
    rows.clear()
    computed(bench, run, Want(MEASURED, (5, 30)))  # other images: nothing of it counts
    assert len(rows) > 20
    assert most_measured(StoredRun.open(bench.store, run)).images == 4  # that with the most pairs


def test_a_search_starts_from_the_displacements(bench, small_request):
    settings = ["search.start=displacement", "search.generations=1", "interactions.images=8"]
    request = replace(small_request, config=with_settings(small_request.config, settings))
    run_pipeline(request, bench.store, Reporter())
    stored = StoredRun.open(bench.store, request.run)
    want = correlation_of(stored.need(DISPLACEMENT).inner)
    found = stored.need(SEARCH).history.correlation(0)
    np.testing.assert_allclose(found, want, atol=1e-2)  # what is not positive definite is repaired
    assert np.abs(found - np.eye(84)).max() > 0.5
    assert stored.request.config.search.start == "displacement"


def test_the_command_answers_for_every_estimate(command, small_request):
    run = small_request.run
    content, err = command.json("interactions", run, "--pairs", "25", "--images", "4")
    assert "interactions-measured begins" in err
    assert (content["run"], content["images"]) == (run, 4)
    assert tuple(content["agreement"]) == ESTIMATES
    stored = StoredRun.open(_store_of(command), run)
    measured = stored.need(MEASURED, 4, 25)
    for name, found in content["agreement"].items():
        assert found.keys() == {"rho", "mantel_p", "pairs"} and found["pairs"] == 25
        want = agreement(map_of(stored, name), measured.interactions)
        assert (found["rho"], found["mantel_p"]) == pytest.approx((want.rho, want.mantel_p))
    code, out, _ = command("interactions", run, "--pairs", "25", "--images", "4")
    assert code == 0 and "Against 25 pairs, measured on 4 images" in out and "Gauss-Newton" in out
    assert {a.pairs for a in agreements(stored, measured).values()} == {25}


def _store_of(command):
    from snapvit.store.store import Store

    return Store(command.cache)


@pytest.mark.parametrize(("args", "told"), [(("--pairs", "0"), "0 pairs"), (("--images", "1"), "1 images")])
def test_the_command_refuses_what_cannot_be_meant(command, small_request, args, told):
    assert_refused(command("interactions", small_request.run, *args), told)
    assert_refused(command("interactions", "nobody"), "no run named")


def test_all_pairs_are_asked_for_unless_fewer_are_meant(finished, small_request):
    stored = StoredRun.open(finished, small_request.run)
    assert wants_of(stored)[-1].args == (6, 3486)
    assert wants_of(stored, pairs=10**9, images=64)[-1].args == (64, 3486)
