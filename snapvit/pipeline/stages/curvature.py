"""Local curvature of every neuron and head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from snapvit.artifacts import Criterion, Curvature, Ints, Topology
from snapvit.pipeline.effort import Effort, Units
from snapvit.pipeline.stage import Arg, Context, Stage

if TYPE_CHECKING:
    from torch import Tensor

    from snapvit.pipeline.workspace import Workspace

VIEWS = ("curvature.global_views", "curvature.local_views", "curvature.seed")  # settings of the views


def view_batches_of(workspace: Workspace, ids: Ints) -> Iterator[Tensor]:
    """Batches (V, n, 3, h, w) of normalised views of `ids`, as the curvature takes them."""
    from snapvit.data.views import view_batches

    views, preprocess = workspace.views, workspace.loaded.preprocess
    seed, batch = workspace.request.config.curvature.seed, workspace.effort.curvature_batch
    yield from map(workspace.normalised, view_batches(workspace.source, ids, views, preprocess, seed, batch))


def counted_views(context: Context[Any], criterion: Criterion) -> Iterator[Tensor]:
    """Those of the curvature's images, as this criterion adds them up, that are this process's own; with progress."""
    from snapvit.method.curvature import curvature_items

    workspace = context.workspace
    item = curvature_items(criterion, workspace.effort.curvature_batch)
    batches = view_batches_of(workspace, workspace.ranks.rows(workspace.ids["curvature"], item))
    return context.reporter.counting(batches, view_units(workspace.views.count, 1).total, axis=1)


def _compute(context: Context[Curvature]) -> Iterator[Curvature]:
    from snapvit.method.curvature import estimate_curvature

    workspace, config = context.workspace, context.request.config.curvature
    loaded, views = workspace.loaded, counted_views(context, config.criterion)
    yield estimate_curvature(
        loaded.model,
        loaded.anatomy,
        views,
        config.global_views,
        config.criterion,
        workspace.effort.views_at_once,
        workspace.ranks,
    )


def view_units(views: int, images: int) -> Units:
    """Of so many views of so many images."""
    return Units(views=views * images)


def _units(effort: Effort, _: Mapping[str, Arg], __: Curvature | None) -> Units:
    return view_units(effort.views, effort.curvature_images)


def _fits(found: Curvature, topology: Topology) -> bool:
    blocks, heads, hidden = topology.blocks, topology.heads, topology.hidden
    return found.mlp.shape == (blocks, hidden) and found.head.shape == (blocks, heads)


CURVATURE = Stage(
    name="curvature",
    kind=Curvature,
    title="Local curvature",
    parents=("model", "images.curvature"),
    settings=("curvature.criterion", *VIEWS),
    schema=2,  # 2: crops as RandomResizedCrop draws them
    compute=_compute,
    shared=True,
    units=_units,
    fits=_fits,
)
