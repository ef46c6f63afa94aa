"""Measuring cuts of a finished ranking: k-NN accuracy, closeness to the full model, costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snapvit.artifacts import Cut, Ranking
from snapvit.data.pixels import PixelTable
from snapvit.elastic.cost import cost_model
from snapvit.elastic.latency import measure_latencies
from snapvit.elastic.ranking import cut_at
from snapvit.evaluation.features import embeddings, mean_cosine
from snapvit.evaluation.knn import Knn
from snapvit.evaluation.paired import pack_answers
from snapvit.machine import this_machine
from snapvit.pipeline.effort import forward_batch, pass_share
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.running import check_unchanged, keep_piece, machine_latency, open_workspace
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store, StoreError
from snapvit.tables import Latencies, Measurement, Measurements

# Images of the early answer: a tenth of the bundled run's, so it comes in a tenth of the time, with an interval three
# times as wide.
EARLY_QUERIES, EARLY_GALLERY = 256, 512


class Meter:
    """Measures cuts of one ranking on the workspace's gallery and queries. Use it as a context."""

    def __init__(self, workspace: Workspace, ranking: Ranking, reporter: Reporter) -> None:
        self._workspace, self._reporter = workspace, reporter
        loaded = workspace.loaded
        self._costs = cost_model(loaded.model, loaded.anatomy)
        self._elastic = workspace.elastic(ranking)
        self._units = 0.0  # that each embedded image counts

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self._elastic.release()

    def measure(self, cut: Cut) -> Measurement:
        """Measure one cut, reporting the cut's units on the way. Raises Cancelled between two batches."""
        full = self._full_queries()
        self._show(cut)
        queries = self._embed(self._workspace.table("queries"))
        gallery = self._embed(self._workspace.table("gallery")) if self._workspace.accuracy_missing is None else None
        return self._measurement(cut, full, queries, gallery)

    def measure_soon(self, cut: Cut) -> Measurement:
        """The same numbers, with an event `early` on the way: the accuracy among the first images alone."""
        workspace, model = self._workspace, self._elastic.model
        batch = forward_batch(workspace.loaded.anatomy.topology)
        few_queries, few_gallery = ceil(EARLY_QUERIES / batch), ceil(EARLY_GALLERY / batch)  # batches
        queries, gallery = len(workspace.ids["queries"]), len(workspace.ids["gallery"])
        enough = queries > few_queries * batch and gallery > few_gallery * batch
        k = workspace.request.config.evaluation.k
        if workspace.accuracy_missing is not None or not enough or k > EARLY_GALLERY:
            return self.measure(cut)
        self._show(cut)
        # Whole batches first and then the rest of the same pass: every image is embedded once, and in the very batch
        # that it would be in without the early answer, so the final numbers are the same.
        queries, gallery = self._checked(workspace.table("queries")), self._checked(workspace.table("gallery"))
        first_queries = embeddings(model, islice(queries, few_queries))
        first_gallery = embeddings(model, islice(gallery, few_gallery))
        seen = {
            "hits": int(self._right(first_queries, first_gallery).sum()),
            "queries": len(first_queries),
            "gallery": len(first_gallery),
        }
        self._reporter.event("early", "accuracy among the first images", mlp=cut.mlp, heads=cut.heads, k=k, **seen)
        all_queries = torch.cat([first_queries, embeddings(model, queries)])
        all_gallery = torch.cat([first_gallery, embeddings(model, gallery)])
        full = self._full_queries()
        self._show(cut)
        return self._measurement(cut, full, all_queries, all_gallery)

    def _measurement(self, cut: Cut, full: Tensor, queries: Tensor, gallery: Tensor | None) -> Measurement:
        workspace = self._workspace
        return Measurement(
            cut=cut,
            answers=None if gallery is None else pack_answers(self._right(queries, gallery)).tobytes().hex(),
            queries=len(workspace.ids["queries"]),
            gallery=len(workspace.ids["gallery"]),
            k=workspace.request.config.evaluation.k,
            cosine=mean_cosine(queries, full),
            params=self._costs.params(cut),
            macs=self._costs.macs(cut),
        )

    def _right(self, queries: Tensor, gallery: Tensor) -> NDArray[np.bool_]:
        """Which of these, the first of all queries, the first of the gallery name right."""
        workspace = self._workspace
        labels, k = workspace.source.labels, workspace.request.config.evaluation.k
        knn = Knn(gallery.numpy(), labels[workspace.ids["gallery"][: len(gallery)]], k)
        return knn.predict(queries.numpy()) == labels[workspace.ids["queries"][: len(queries)]]

    def _full_queries(self) -> Tensor:
        if self._workspace.full_queries is None:
            self._units = 0.0  # done once for all cuts, so no cut counts it
            self._elastic.show_all()
            self._workspace.full_queries = self._embed(self._workspace.table("queries"))
        return self._workspace.full_queries

    def _show(self, cut: Cut) -> None:
        self._units = pass_share(cut.mlp, cut.heads)
        self._elastic.keep(cut)

    def _embed(self, table: PixelTable) -> Tensor:
        return embeddings(self._elastic.model, self._checked(table))

    def _checked(self, table: PixelTable) -> Iterator[Tensor]:
        for batch in self._workspace.batches(table):
            self._reporter.check()
            yield batch
            self._reporter.advance(self._units * len(batch))


def empty_table(workspace: Workspace) -> Measurements:
    """No measurements yet, of this workspace's images."""
    return Measurements.empty(
        workspace.topology.blocks,
        len(workspace.ids["queries"]),
        len(workspace.ids["gallery"]),
        workspace.request.config.evaluation.k,
        labelled=workspace.accuracy_missing is None,
    )


def measure_cut(
    store: Store, run: str, mlp: float, heads: float, reporter: Reporter, workspace: Workspace | None = None
) -> Measurement:
    """Measure one cut of a run's ranking and keep the result; a cut measured before is read.

    `workspace` saves loading the model where it is open already. Raises InputError for an unknown run, a run
    without a ranking, or a ratio outside [0, 1).
    """
    stored = StoredRun.open(store, run)
    ranking = stored.need(RANKING)
    cut = cut_at(ranking, mlp, heads)
    found = stored.measurement(mlp, heads)
    if found is not None:
        return found
    workspace = workspace or open_workspace(store, run)
    check_unchanged(store, run, workspace)
    reporter.plan(workspace.effort.cut_units(mlp, heads))
    with Meter(workspace, ranking, reporter) as meter:
        measured = meter.measure_soon(cut)
    _keep(store, workspace, measured, reporter)
    _time(store, workspace, ranking, [(mlp, heads)], reporter)
    return measured


def measure_cuts(
    store: Store, run: str, pairs: Iterable[tuple[float, float]], reporter: Reporter, workspace: Workspace
) -> None:
    """Measure the cuts at these (mlp, heads) that nobody measured yet, in their order, each kept at once.

    A request to stop takes effect within one batch and loses no cut that was finished.
    """
    stored = StoredRun.open(store, run)
    ranking = stored.need(RANKING)
    check_unchanged(store, run, workspace)
    missing = [pair for pair in pairs if stored.measurement(*pair) is None]
    reporter.plan(sum(workspace.effort.cut_units(*pair) for pair in missing))
    with Meter(workspace, ranking, reporter) as meter:
        for mlp, heads in missing:
            measured = meter.measure(cut_at(ranking, mlp, heads))
            _keep(store, workspace, measured, reporter)
            reporter.event("point", f"cut at {mlp:.1%} of neurons and {heads:.1%} of heads", mlp=mlp, heads=heads)
    _time(store, workspace, ranking, missing, reporter)


def _time(
    store: Store, workspace: Workspace, ranking: Ranking, pairs: list[tuple[float, float]], reporter: Reporter
) -> None:
    """Time cuts too where the run's path was timed on this machine; where it was not, nobody asked for times here."""
    stored, want = StoredRun.open(store, workspace.request.run), machine_latency()
    if not pairs or not stored.is_whole(want.stage, *want.args):
        return
    cuts = [cut_at(ranking, *pair) for pair in pairs]
    with workspace.elastic(ranking) as elastic:
        found = measure_latencies(elastic, cuts, workspace.loaded.preprocess, check=reporter.check)
    _keep_piece(store, workspace, want, Latencies.empty(this_machine()).with_rows(found), reporter)


def _keep(store: Store, workspace: Workspace, measured: Measurement, reporter: Reporter) -> None:
    """Add a row to the run's table; other processes may add theirs at the same time."""
    _keep_piece(store, workspace, Want(EVALUATION), empty_table(workspace).with_row(measured), reporter)


def _keep_piece(store: Store, workspace: Workspace, want: Want, rows: object, reporter: Reporter) -> None:
    try:
        keep_piece(store, workspace, want, rows)
    except StoreError as error:  # a cache that cannot be written is no reason to keep the number back
        store.report(f"{workspace.request.run}: measured cut", str(error))
        reporter.event("note", f"The cut was measured, but not kept. {error}")
