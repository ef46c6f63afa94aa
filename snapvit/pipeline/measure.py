"""Measuring cuts of a stored run on request, each kept at once."""

from __future__ import annotations

from collections.abc import Sequence

from snapvit.artifacts import Ranking
from snapvit.devices import timing_machine
from snapvit.elastic.latency import measure_latencies
from snapvit.elastic.ranking import cut_at
from snapvit.formats import ratio
from snapvit.pipeline.meter import Meter, empty_table
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.running import (
    check_unchanged,
    correction_of,
    keep_piece,
    machine_latency,
    open_workspace,
)
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.pipeline.table import of_cut
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store, StoreError
from snapvit.tables import Latencies, Measurement

CUT_SECONDS = 0.4  # about as long as the timing of a measured cut goes on


def measure_cut(
    store: Store,
    run: str,
    mlp: float,
    heads: float,
    reporter: Reporter,
    workspace: Workspace | None = None,
    correct: bool = False,
) -> Measurement:
    """Measure one cut of a run's ranking, corrected on request, and keep the result; one measured before is read.

    `workspace` saves loading the model where it is open already. Raises InputError for an unknown run, a run
    without a ranking, or a ratio outside [0, 1).
    """
    stored = StoredRun.open(store, run)
    ranking = stored.need(RANKING)
    cut = cut_at(ranking, mlp, heads)
    found = stored.measurement(mlp, heads, correct)
    if found is not None:
        return found
    workspace = workspace or open_workspace(store, run)
    check_unchanged(store, run, workspace)
    correction = correction_of(workspace, store, ranking, reporter) if correct else None
    reporter.plan(workspace.effort.cut_units(mlp, heads))
    with workspace.elastic(ranking, correction) as elastic:
        measured = Meter(workspace, elastic, reporter).measure_soon(cut)
    _keep(store, workspace, measured, reporter, correct)
    _time(store, workspace, ranking, [(mlp, heads)], reporter)
    return measured


def measure_cuts(
    store: Store,
    run: str,
    pairs: Sequence[tuple[float, float]],
    reporter: Reporter,
    workspace: Workspace,
    correct: bool = False,
) -> None:
    """Measure the cuts at these (mlp, heads) that nobody measured yet, in their order, each kept at once.

    A request to stop takes effect within one batch and loses no cut that was finished.
    """
    stored = StoredRun.open(store, run)
    ranking = stored.need(RANKING)
    check_unchanged(store, run, workspace)
    missing = [pair for pair in pairs if stored.measurement(*pair, correct) is None]
    correction = correction_of(workspace, store, ranking, reporter) if correct else None
    reporter.plan(sum(workspace.effort.cut_units(*pair) for pair in missing))
    with workspace.elastic(ranking, correction) as elastic:
        meter = Meter(workspace, elastic, reporter)
        for mlp, heads in missing:
            measured = meter.measure(cut_at(ranking, mlp, heads))
            _keep(store, workspace, measured, reporter, correct)
            reporter.event("point", f"cut at {ratio(mlp)} of neurons and {ratio(heads)} of heads", mlp=mlp, heads=heads)
    _time(store, workspace, ranking, pairs, reporter)


def _time(
    store: Store, workspace: Workspace, ranking: Ranking, pairs: Sequence[tuple[float, float]], reporter: Reporter
) -> None:
    """Time cuts too where the run's path was timed on this machine; where it was not, nobody asked for times here."""
    stored, want = StoredRun.open(store, workspace.request.run), machine_latency(workspace.request)
    if not stored.is_whole(want.stage, *want.args):
        return
    known = stored.need(want.stage, *want.args)
    cuts = [cut_at(ranking, *pair) for pair in pairs if known.find(*pair) is None]
    if not cuts:
        return
    with workspace.elastic(ranking) as elastic:
        patience = CUT_SECONDS * len(cuts)  # the worker has other things to do
        found = measure_latencies(elastic, cuts, workspace.loaded.preprocess, reporter.check, patience)
    _keep_piece(
        store, workspace, want, Latencies.empty(timing_machine(workspace.request.device)).with_rows(found), reporter
    )


def _keep(store: Store, workspace: Workspace, measured: Measurement, reporter: Reporter, correct: bool) -> None:
    """Add a row to the run's table; other processes may add theirs at the same time."""
    want = Want(of_cut(EVALUATION, correct))
    _keep_piece(store, workspace, want, empty_table(workspace).with_row(measured), reporter)


def _keep_piece(store: Store, workspace: Workspace, want: Want, rows: object, reporter: Reporter) -> None:
    try:
        keep_piece(store, workspace, want, rows)
    except StoreError as error:  # a cache that cannot be written is no reason to keep the number back
        store.report(f"{workspace.request.run}: measured cut", str(error))
        reporter.event("note", f"The cut was measured, but not kept. {error}")
