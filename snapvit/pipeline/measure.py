"""Measuring cuts of a finished ranking: k-NN accuracy, closeness to the full model, costs and latency."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from snapvit.artifacts import Cut, Measurement, Measurements, Ranking
from snapvit.data.pixels import PixelTable
from snapvit.elastic.cost import cost_model, measure_latency
from snapvit.elastic.ranking import cut_at
from snapvit.elastic.vit import ElasticViT
from snapvit.errors import InputError
from snapvit.evaluation.features import embeddings, mean_cosine
from snapvit.evaluation.knn import Knn
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import find_measurement, known_run, load_ranking
from snapvit.pipeline.store import Store, StoreError
from snapvit.pipeline.workspace import Workspace


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
        if workspace.accuracy_missing is None:
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


def empty_table(workspace: Workspace) -> Measurements:
    """No measurements yet, of this workspace's images."""
    return Measurements.empty(
        workspace.loaded.anatomy.topology.blocks,
        len(workspace.query_ids),
        len(workspace.gallery_ids),
        workspace.request.config.evaluation.k,
    )


def open_workspace(store: Store, run: str) -> Workspace:
    """Model and images of a stored run, loaded."""
    return Workspace.open(known_run(store, run)[1], cache=store.root)


def check_unchanged(store: Store, run: str, workspace: Workspace) -> None:
    """Raise InputError where the stored stages of `run` are of another model or other images than the workspace's."""
    keys = workspace.keys
    for stage, entry in known_run(store, run)[0].stages.items():
        if stage in keys and entry.key != keys[stage]:
            raise InputError(f"The model or the images of run {run} changed since its {stage} was made; run it again.")


def measure_cut(
    store: Store, run: str, mlp: float, heads: float, reporter: Reporter, workspace: Workspace | None = None
) -> Measurement:
    """Measure one cut of a run's ranking and keep the result; a cut measured before is read.

    `workspace` saves loading the model where it is open already. Raises InputError for an unknown run, a run
    without a ranking, or a ratio outside [0, 1).
    """
    ranking = load_ranking(store, run)
    cut = cut_at(ranking, mlp, heads)
    found = find_measurement(store, run, mlp, heads)
    if found is not None:
        return found
    if workspace is None:
        workspace = open_workspace(store, run)
    check_unchanged(store, run, workspace)
    key = workspace.keys["evaluation"]
    with Meter(workspace, ranking, reporter) as meter:
        measured = meter.measure(cut)
    table = store.load(run, "evaluation", Measurements, key)  # only now: another process may have added rows
    entry = store.entry(run, "evaluation")
    table = empty_table(workspace) if table is None else table
    complete, seconds = (entry.complete, entry.seconds) if entry and entry.key == key else (False, 0.0)
    try:
        store.save(run, "evaluation", key, table.with_row(measured), complete, seconds)
    except StoreError as error:  # a cache that cannot be written is no reason to keep the number back
        store.problems[f"{run}: measured cut"] = str(error)
        reporter.event("note", f"The cut was measured, but not kept. {error}")
    return measured
