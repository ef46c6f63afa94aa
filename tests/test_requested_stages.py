"""Stages that are computed on request: kept, found again, cancelled, refused."""

from __future__ import annotations

import numpy as np
import pytest
from waiting import ended

from snapvit.errors import Cancelled, InputError
from snapvit.jobs.manager import JobManager, JobState
from snapvit.jobs.tasks import StageTask, Workbench
from snapvit.method.null_search import null_search
from snapvit.method.search import SearchState, search
from snapvit.pipeline.results import StoredRun, load_results
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.cka import CUT_CKA, MAIN_DIRECTIONS
from snapvit.pipeline.stages.search import NULL_SEARCH


@pytest.fixture
def bench(finished):
    return Workbench(finished)


def test_a_cut_that_removes_nothing_has_the_runs_own_map(bench, small_request):
    run = small_request.run
    StageTask(run, (Want(CUT_CKA, (0.0, 0.0)),)).perform(bench)
    found = StoredRun.open(bench.store, run).load(CUT_CKA, 0.0, 0.0)
    np.testing.assert_allclose(found.values, load_results(bench.store, run).cka.values, atol=1e-4)
    progress = bench.reporter.progress
    assert progress.overall_done == progress.overall_total == 16


def test_a_cut_leaves_its_structures_and_is_computed_once(bench, small_request):
    run = small_request.run
    StageTask(run, (Want(CUT_CKA, (0.9, 0.75)),)).perform(bench)
    first = bench.store.entry(run, CUT_CKA.entry_name((0.9, 0.75)))
    values = StoredRun.open(bench.store, run).load(CUT_CKA, 0.9, 0.75).values
    present = np.isfinite(np.diag(values))
    assert present.sum() == 12 + 72 - 54  # three quarters of 72 heads go, every block keeps neurons
    assert np.isfinite(values[np.ix_(present, present)]).all()
    StageTask(run, (Want(CUT_CKA, (0.9, 0.75)),)).perform(bench)
    assert bench.store.entry(run, CUT_CKA.entry_name((0.9, 0.75))) == first
    assert StoredRun.open(bench.store, run).load(CUT_CKA, 0.9, 0.7) is None


def test_projections_are_kept(bench, small_request):
    run = small_request.run
    StageTask(run, (Want(MAIN_DIRECTIONS),)).perform(bench)
    found = StoredRun.open(bench.store, run).load(MAIN_DIRECTIONS)
    assert found.scores.shape == (84, 16)
    np.testing.assert_allclose(found.scores.std(axis=1), 1, atol=1e-4)
    assert ((found.shares > 0) & (found.shares <= 1)).all()


def test_the_null_belongs_to_the_generations_it_replayed(bench, small_request, monkeypatch):
    monkeypatch.setattr("snapvit.pipeline.stages.search.REPLAYS", 5)
    run = small_request.run
    StageTask(run, (Want(NULL_SEARCH, (3,)),)).perform(bench)
    found = StoredRun.open(bench.store, run).load(NULL_SEARCH, 3)
    state = bench.store.load(run, "search", SearchState)
    want = null_search(state.history, small_request.config.search.seed, 5)
    np.testing.assert_array_equal(found.quantiles, want.quantiles)
    np.testing.assert_array_equal(found.above, want.above)
    # one more generation under the same key, as a search that goes on stores it
    (after,) = search(state, lambda x: np.array([x.sum(), 0.0]), 4)
    entry = bench.store.entry(run, "search")
    bench.store.save(run, "search", entry.key, after, complete=True, seconds=0.0)
    assert StoredRun.open(bench.store, run).load(NULL_SEARCH, 4) is None
    StageTask(run, (Want(NULL_SEARCH, (4,)),)).perform(bench)
    assert StoredRun.open(bench.store, run).load(NULL_SEARCH, 4).strongest.shape == (5, 5)


@pytest.mark.parametrize(
    "want",
    [Want(CUT_CKA, (0.5, 0.35)), Want(MAIN_DIRECTIONS), Want(NULL_SEARCH, (3,))],
    ids=lambda want: want.stage.name,
)
def test_a_cancel_stops_it_and_keeps_nothing(want, bench, small_request):
    task = StageTask(small_request.run, (want,))
    before = set(bench.store.manifest(small_request.run).entries)
    bench.reporter.cancel()
    with pytest.raises(Cancelled):
        task.perform(bench)
    assert set(bench.store.manifest(small_request.run).entries) == before


def test_a_cancelled_cut_gives_the_model_back(bench, small_request):
    run = small_request.run
    bench.reporter.cancel()
    with pytest.raises(Cancelled):
        StageTask(run, (Want(CUT_CKA, (0.5, 0.35)),)).perform(bench)
    bench.reporter = type(bench.reporter)()
    StageTask(run, (Want(CUT_CKA, (0.0, 0.0)),)).perform(bench)
    found = StoredRun.open(bench.store, run).load(CUT_CKA, 0.0, 0.0)
    np.testing.assert_allclose(found.values, load_results(bench.store, run).cka.values, atol=1e-4)


def test_what_has_no_ground_is_refused_in_a_sentence(bench, small_request):
    with pytest.raises(InputError, match="no run named"):
        StageTask("nobody", (Want(MAIN_DIRECTIONS),)).perform(bench)
    bench.store.forget(small_request.run, ["ranking"])
    with pytest.raises(InputError, match=r"no ranking yet, from which CKA map of the cut at 50 % is computed"):
        StageTask(small_request.run, (Want(CUT_CKA, (0.5, 0.35)),)).perform(bench)
    bench.store.forget(small_request.run, ["search"])
    with pytest.raises(InputError, match="no search yet"):
        StageTask(small_request.run, (Want(NULL_SEARCH, (3,)),)).perform(bench)


def test_the_worker_performs_them(finished, small_request):
    manager = JobManager(finished)
    try:
        job = manager.submit(StageTask(small_request.run, (Want(CUT_CKA, (0.5, 0.35)),)))
        assert manager.submit(StageTask(small_request.run, (Want(CUT_CKA, (0.5, 0.35)),))) == job
        assert ended(manager, job).state is JobState.FINISHED
    finally:
        manager.close()
