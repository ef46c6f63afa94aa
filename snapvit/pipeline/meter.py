"""Measuring one cut after another of a ranking: k-NN accuracy, closeness to the full model, costs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snapvit.artifacts import Cut
from snapvit.data.pixels import PixelTable
from snapvit.elastic.vit import ElasticViT
from snapvit.evaluation.features import embeddings, mean_cosine
from snapvit.evaluation.knn import Knn
from snapvit.evaluation.paired import pack_answers
from snapvit.pipeline.effort import pass_share
from snapvit.pipeline.memory import within_memory
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.workspace import Workspace
from snapvit.tables import Measurement, Measurements

# Images of the early answer: a tenth of the bundled run's, so it comes in a tenth of the time, with an interval three
# times as wide.
EARLY_QUERIES, EARLY_GALLERY = 256, 512
MEASURING = "the measurement of a cut"


class Meter:
    """Measures cuts of the workspace's model on its gallery and queries."""

    def __init__(self, workspace: Workspace, elastic: ElasticViT, reporter: Reporter) -> None:
        workspace.check_computing()
        self._workspace, self._elastic, self._reporter = workspace, elastic, reporter
        self._costs = workspace.costs
        self._units = 0.0  # that each embedded image counts

    def measure(self, cut: Cut) -> Measurement:
        """Measure one cut, reporting the cut's units on the way. Raises Cancelled between two batches."""
        return self.measure_with_embeddings(cut)[0]

    def measure_with_embeddings(self, cut: Cut) -> tuple[Measurement, Tensor, Tensor | None]:
        """The same, with the cut model's embeddings (Q, D) of the queries and (G, D) of the gallery; None of a gallery
        without labels."""
        return within_memory(self._workspace, self._reporter, MEASURING, lambda: self._measured(cut))

    def _measured(self, cut: Cut) -> tuple[Measurement, Tensor, Tensor | None]:
        full = self._full_queries()
        self._show(cut)
        queries = self._embed(self._workspace.table("queries"))
        gallery = self._embed(self._workspace.table("gallery")) if self._workspace.accuracy_missing is None else None
        return self._measurement(cut, full, queries, gallery), queries, gallery

    def measure_soon(self, cut: Cut) -> Measurement:
        """The same numbers, with an event `early` on the way: the accuracy among the first images alone."""
        return within_memory(self._workspace, self._reporter, MEASURING, lambda: self._measured_soon(cut))

    def _measured_soon(self, cut: Cut) -> Measurement:
        workspace, model = self._workspace, self._elastic.model
        batch, precision = workspace.effort.forward_batch, workspace.request.config.precision
        few_queries, few_gallery = ceil(EARLY_QUERIES / batch), ceil(EARLY_GALLERY / batch)  # batches
        queries, gallery = len(workspace.ids["queries"]), len(workspace.ids["gallery"])
        enough = queries > few_queries * batch and gallery > few_gallery * batch
        k = workspace.request.config.evaluation.k
        if workspace.accuracy_missing is not None or not enough or k > EARLY_GALLERY:
            return self._measured(cut)[0]
        self._show(cut)
        # Whole batches first and then the rest of the same pass: every image is embedded once, and in the very batch
        # that it would be in without the early answer, so the final numbers are the same.
        queries, gallery = self._checked(workspace.table("queries")), self._checked(workspace.table("gallery"))
        first_queries = embeddings(model, islice(queries, few_queries), precision)
        first_gallery = embeddings(model, islice(gallery, few_gallery), precision)
        seen = {
            "hits": int(self._right(first_queries, first_gallery).sum()),
            "queries": len(first_queries),
            "gallery": len(first_gallery),
        }
        self._reporter.event("early", "accuracy among the first images", mlp=cut.mlp, heads=cut.heads, k=k, **seen)
        all_queries = torch.cat([first_queries, embeddings(model, queries, precision)])
        all_gallery = torch.cat([first_gallery, embeddings(model, gallery, precision)])
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
        knn = Knn(gallery.numpy(), labels[workspace.ids["gallery"][: len(gallery)]], k, workspace.device)
        return knn.predict(queries.numpy()) == labels[workspace.ids["queries"][: len(queries)]]

    def share_full_queries(self) -> None:
        """Several processes: each embeds some of the queries with the full model, so that all know all of them."""
        workspace = self._workspace
        if workspace.ranks.size == 1 or workspace.full_queries is not None:
            return
        self._elastic.show_all()
        batches = self._reporter.heeding(workspace.own_batches("queries"))
        parts = (embeddings(self._elastic.model, [batch]).numpy().tobytes() for batch in batches)
        rows = np.frombuffer(b"".join(workspace.ranks.gather(parts)), np.float32)
        workspace.full_queries = torch.from_numpy(rows.reshape(len(workspace.ids["queries"]), -1).copy())

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
        return embeddings(self._elastic.model, self._checked(table), self._workspace.request.config.precision)

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
