"""Measuring cuts of a finished ranking: k-NN accuracy, closeness to the full model, costs and latency."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from snapvit.artifacts import Cut, Measurement, Ranking
from snapvit.data import PixelTable
from snapvit.elastic import ElasticViT, cost_model, measure_latency
from snapvit.evaluation import Knn, embeddings, mean_cosine
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.workspace import Workspace


def pass_share(mlp: float, heads: float) -> float:
    """Rough time of a cut model's forward pass as a share of the full one's: two thirds of a block is MLP."""
    return 1 - 0.6 * mlp - 0.3 * heads


class Meter:
    """Measures cuts of one ranking on the workspace's gallery and queries. Use it as a context."""

    def __init__(self, workspace: Workspace, ranking: Ranking, reporter: Reporter) -> None:
        self._workspace, self._reporter = workspace, reporter
        loaded = workspace.loaded
        self._costs = cost_model(loaded.model, loaded.anatomy)
        orders = (ranking.neuron_order(), ranking.head_order())
        self._elastic = ElasticViT(loaded.model, loaded.anatomy, *orders)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self._elastic.release()

    def measure(self, cut: Cut) -> Measurement:
        """Measure one cut. Raises Cancelled between two batches."""
        workspace, elastic = self._workspace, self._elastic
        if workspace.full_queries is None:
            elastic.show_all()
            workspace.full_queries = self._embed(workspace.query_table)
        elastic.keep(cut)
        queries = self._embed(workspace.query_table)
        labels, hits = workspace.source.labels, None
        if labels is not None:
            gallery = self._embed(workspace.gallery_table)
            knn = Knn(gallery.numpy(), labels[workspace.gallery_ids], workspace.request.config.evaluation.k)
            hits = knn.hits(queries.numpy(), labels[workspace.query_ids])
        return Measurement(
            cut=cut,
            hits=hits,
            queries=len(workspace.query_ids),
            gallery=len(workspace.gallery_ids),
            k=workspace.request.config.evaluation.k,
            cosine=mean_cosine(queries, workspace.full_queries),
            params=self._costs.params(cut),
            macs=self._costs.macs(cut),
            latency_ms=measure_latency(elastic.model, workspace.loaded.preprocess),
        )

    def _embed(self, table: PixelTable) -> Tensor:
        return embeddings(self._elastic.model, self._checked(table))

    def _checked(self, table: PixelTable) -> Iterator[Tensor]:
        for batch in self._workspace.batches(table):
            self._reporter.check()
            yield batch
