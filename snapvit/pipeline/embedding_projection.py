"""Where a cut moves the images' features: a map of full and cut model, and every query's neighbours in both.

The read side imports no torch; what computes is imported when the task is performed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import EmbeddingProjection, Floats, Ints
from snapvit.elastic.ranking import cut_at
from snapvit.pipeline.derived import Derived
from snapvit.pipeline.effort import pass_share
from snapvit.pipeline.results import load_ranking
from snapvit.store.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from snapvit.data.pixels import PixelTable
    from snapvit.elastic.vit import ElasticViT
    from snapvit.jobs.tasks import Workbench
    from snapvit.pipeline.progress import Reporter
    from snapvit.pipeline.workspace import Workspace

MAPS = Derived("embedding-map", EmbeddingProjection, ("ranking",))  # settings: mlp, heads
SHIPPED = ((0.65, 0.5), (0.95, 0.8))  # cuts whose maps ship with the bundled run
SEED = 0  # of the layouts
LAYOUT_PASSES, REFINE_PASSES = 1.0, 0.3  # rough cost of a layout for each image, in passes through the bundled model


def mapped_pairs(store: Store, run: str) -> list[tuple[float, float]]:
    """(mlp, heads) of the cuts that have a map, by sparsity; whether one is whole shows when it is loaded."""
    manifest = store.manifest(run)
    found = [re.fullmatch(rf"{MAPS.name}-([\d.]+)-([\d.]+)", name) for name in (manifest.stages if manifest else ())]
    return sorted((float(match[1]), float(match[2])) for match in found if match)


@dataclass(frozen=True)
class EmbeddingTask:
    """Map the features of one cut of a run."""

    run: str
    mlp: float
    heads: float

    @property
    def label(self) -> str:
        """What it does, for people."""
        return f"Mapping the features of the cut at {self.mlp:.1%}"

    def perform(self, bench: Workbench) -> None:
        """Compute the map and keep it. Raises InputError where k is larger than the gallery."""
        store, run = bench.store, self.run
        ranking = load_ranking(store, run)
        cut = cut_at(ranking, self.mlp, self.heads)
        if MAPS.load(store, run, self.mlp, self.heads) is not None:
            return
        from snapvit.elastic.vit import ElasticViT
        from snapvit.evaluation.projection import refine

        workspace, reporter, started = bench.workspace(run), bench.reporter, time.monotonic()
        known = _any_map(store, run)
        images = len(workspace.gallery_ids) + len(workspace.query_ids)
        share = pass_share(self.mlp, self.heads)
        reporter.plan(images * (share + REFINE_PASSES + (0 if known else 1 + LAYOUT_PASSES)))
        loaded = workspace.loaded
        with ElasticViT(loaded.model, loaded.anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
            if known is None:
                elastic.show_all()
                full = _full_side(workspace, elastic, reporter)
            else:
                full = known.full_layout, known.full_neighbours, known.full_cosines
            elastic.keep(cut)
            features = _features(workspace, elastic, reporter, share)
        neighbours = _neighbours(features, workspace)
        reporter.begin("layout of the cut model", images * REFINE_PASSES)
        tick = _Advance(reporter, images * REFINE_PASSES)
        # From the places as they are stored, so that the first cut of a run and a later one give the same.
        layout = refine(np.vstack(features), full[0].astype(np.float32), SEED, tick)
        result = _compact(workspace, full, (layout, *neighbours))
        MAPS.save(store, run, result, time.monotonic() - started, self.mlp, self.heads)


class _Advance:
    """A share done, told again and again, as progress of so many units."""

    def __init__(self, reporter: Reporter, units: float) -> None:
        self._reporter, self._units, self._done = reporter, units, 0.0

    def __call__(self, share: float) -> None:
        self._reporter.advance((share - self._done) * self._units)
        self._done = share


def _any_map(store: Store, run: str) -> EmbeddingProjection | None:
    """A map of another cut: its full model's half is the same for all cuts."""
    return next((m for pair in mapped_pairs(store, run) if (m := MAPS.load(store, run, *pair)) is not None), None)


def _features(workspace: Workspace, elastic: ElasticViT, reporter: Reporter, share: float) -> tuple[Floats, Floats]:
    """Embeddings of the gallery (N, D) and the queries (M, D) by the model as it is cut now."""
    from snapvit.evaluation.features import embeddings

    tables = (workspace.gallery_table, workspace.query_table)
    reporter.begin("features", sum(map(len, tables)) * share)

    def counted(table: PixelTable) -> Iterator[Tensor]:
        for batch in workspace.batches(table):
            reporter.check()
            yield batch
            reporter.advance(len(batch) * share)

    gallery, queries = (embeddings(elastic.model, counted(table)).numpy() for table in tables)
    return gallery, queries


def _neighbours(features: tuple[Floats, Floats], workspace: Workspace) -> tuple[Ints, Floats]:
    from snapvit.evaluation.knn import Nearest

    gallery, queries = features
    return Nearest(gallery, workspace.request.config.evaluation.k).of(queries)


def _full_side(workspace: Workspace, elastic: ElasticViT, reporter: Reporter) -> tuple[Floats, Ints, Floats]:
    """Layout (N, 2) in half precision, neighbours (M, k) and cosines (M, k) of the whole model."""
    from snapvit.evaluation.projection import lay_out

    features = _features(workspace, elastic, reporter, 1.0)
    neighbours = _neighbours(features, workspace)
    units = sum(map(len, features)) * LAYOUT_PASSES
    reporter.begin("layout of the full model", units)
    layout = lay_out(np.vstack(features), SEED, _Advance(reporter, units))
    return layout.astype(np.float16), *neighbours


def _compact(
    workspace: Workspace, full: tuple[Floats, Ints, Floats], cut: tuple[Floats, Ints, Floats]
) -> EmbeddingProjection:
    labels, gallery = workspace.source.labels, workspace.gallery_ids
    ids = np.concatenate([gallery, workspace.query_ids])
    rows = np.min_scalar_type(len(gallery))
    return EmbeddingProjection(
        ids=ids.astype(np.min_scalar_type(int(ids.max()))),
        gallery=len(gallery),
        labels=None if labels is None else labels[ids].astype(np.int16),
        full_layout=full[0].astype(np.float16),
        cut_layout=cut[0].astype(np.float16),
        full_neighbours=full[1].astype(rows),
        cut_neighbours=cut[1].astype(rows),
        full_cosines=full[2].astype(np.float32),
        cut_cosines=cut[2].astype(np.float32),
    )
