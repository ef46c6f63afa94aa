"""Where a cut moves the images' features: full and cut model projected, and every query's neighbours in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import Floats, Ints, Topology
from snapvit.elastic.ranking import cut_at
from snapvit.image_artifacts import EmbeddingProjection
from snapvit.pipeline.effort import Effort, Units, pass_share
from snapvit.pipeline.stage import Arg, Context, Stage

if TYPE_CHECKING:
    from snapvit.data.pixels import PixelTable
    from snapvit.elastic.vit import ElasticViT
    from snapvit.pipeline.progress import Reporter
    from snapvit.pipeline.workspace import Workspace

SHIPPED = ((0.65, 0.5), (0.95, 0.8))  # cuts whose projections ship with the bundled run
SEED = 0  # of the layouts
LAYOUT_PASSES, REFINE_PASSES = 1.0, 0.3  # rough cost of a layout for each image, in passes through the bundled model


def _compute(context: Context[EmbeddingProjection]) -> Iterator[EmbeddingProjection]:
    from snapvit.evaluation.projection import refine

    workspace, reporter, ranking = context.workspace, context.reporter, context.parent("ranking")
    mlp, heads = float(context.args["mlp"]), float(context.args["heads"])
    images = len(workspace.ids["gallery"]) + len(workspace.ids["queries"])
    known = next(context.others(), None)  # its full model's half is the same for all cuts
    with context.elastic(ranking) as elastic:
        if known is None:
            elastic.show_all()
            full = _full_side(workspace, elastic, reporter)
        else:
            full = known.full_layout, known.full_neighbours, known.full_cosines
            reporter.advance(images * (1 + LAYOUT_PASSES))
        elastic.keep(cut_at(ranking, mlp, heads))
        features = _features(workspace, elastic, reporter, pass_share(mlp, heads))
    neighbours = _neighbours(features, workspace)
    # From the places as they are stored, so that the first cut of a run and a later one give the same.
    tick = reporter.share_of(images * REFINE_PASSES)
    layout = refine(np.vstack(features), full[0].astype(np.float32), SEED, tick)
    yield _compact(workspace, full, (layout, *neighbours))


def _units(effort: Effort, args: Mapping[str, Arg], _: EmbeddingProjection | None) -> Units:
    share = pass_share(float(args["mlp"]), float(args["heads"]))
    return Units(passes=(effort.gallery + effort.queries) * (1 + LAYOUT_PASSES + share + REFINE_PASSES))


def _features(workspace: Workspace, elastic: ElasticViT, reporter: Reporter, share: float) -> tuple[Floats, Floats]:
    """Embeddings of the gallery (N, D) and the queries (M, D) by the model as it is cut now."""
    from snapvit.evaluation.features import embeddings

    tables = (workspace.table("gallery"), workspace.table("queries"))

    def features(table: PixelTable) -> Floats:
        return embeddings(elastic.model, reporter.counting(workspace.batches(table), share)).numpy()

    gallery, queries = map(features, tables)
    return gallery, queries


def _neighbours(features: tuple[Floats, Floats], workspace: Workspace) -> tuple[Ints, Floats]:
    from snapvit.evaluation.knn import Nearest

    gallery, queries = features
    return Nearest(gallery, workspace.request.config.evaluation.k, workspace.device).of(queries)


def _full_side(workspace: Workspace, elastic: ElasticViT, reporter: Reporter) -> tuple[Floats, Ints, Floats]:
    """Layout (N, 2) in half precision, neighbours (M, k) and cosines (M, k) of the whole model."""
    from snapvit.evaluation.projection import lay_out

    features = _features(workspace, elastic, reporter, 1.0)
    neighbours = _neighbours(features, workspace)
    units = sum(map(len, features)) * LAYOUT_PASSES
    layout = lay_out(np.vstack(features), SEED, reporter.share_of(units))
    return layout.astype(np.float16), *neighbours


def _compact(
    workspace: Workspace, full: tuple[Floats, Ints, Floats], cut: tuple[Floats, Ints, Floats]
) -> EmbeddingProjection:
    labels, gallery = workspace.source.labels, workspace.ids["gallery"]
    ids = np.concatenate([gallery, workspace.ids["queries"]])
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


def _fits(found: EmbeddingProjection, topology: Topology) -> bool:
    count = len(found.ids)
    return found.full_layout.shape == found.cut_layout.shape == (count, 2) and found.gallery <= count


EMBEDDING_PROJECTION = Stage(
    name="embedding-projection",
    kind=EmbeddingProjection,
    title="Projecting the features of the cut at {mlp}",
    parents=("model", "images.gallery", "images.queries", "ranking"),
    settings=("evaluation.k",),
    args={"mlp": float, "heads": float},
    compute=_compute,
    units=_units,
    fits=_fits,
)
