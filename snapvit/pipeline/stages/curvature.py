"""Local curvature of every neuron and head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from snapvit.artifacts import Curvature, Ints, Topology
from snapvit.pipeline.effort import Effort, Units
from snapvit.pipeline.stage import Arg, Context, Stage

if TYPE_CHECKING:
    from torch import Tensor

    from snapvit.pipeline.workspace import Workspace


def view_batches_of(workspace: Workspace, ids: Ints) -> Iterator[Tensor]:
    """Batches (V, n, 3, h, w) of normalised views of `ids`, as the curvature takes them."""
    from snapvit.data.views import view_batches

    views, preprocess = workspace.views, workspace.loaded.preprocess
    seed, batch = workspace.request.config.curvature.seed, workspace.effort.curvature_batch
    yield from map(workspace.normalised, view_batches(workspace.source, ids, views, preprocess, seed, batch))


def _compute(context: Context[Curvature]) -> Iterator[Curvature]:
    from snapvit.method.curvature import estimate_curvature

    workspace, config = context.workspace, context.request.config.curvature
    batches = view_batches_of(workspace, workspace.ids["curvature"])
    counted = context.reporter.counting(batches, _view_units(workspace.views.count, 1).total, axis=1)
    loaded = workspace.loaded
    together = workspace.effort.views_at_once
    yield estimate_curvature(loaded.model, loaded.anatomy, counted, config.global_views, config.criterion, together)


def _view_units(views: int, images: int) -> Units:
    return Units(views=views * images)


def _units(effort: Effort, _: Mapping[str, Arg], __: Curvature | None) -> Units:
    return _view_units(effort.views, effort.curvature_images)


def _fits(found: Curvature, topology: Topology) -> bool:
    blocks, heads, hidden = topology.blocks, topology.heads, topology.hidden
    return found.mlp.shape == (blocks, hidden) and found.head.shape == (blocks, heads)


CURVATURE = Stage(
    name="curvature",
    kind=Curvature,
    title="Local curvature",
    parents=("model", "images.curvature"),
    settings=("curvature.criterion", "curvature.global_views", "curvature.local_views", "curvature.seed"),
    schema=2,  # 2: crops as RandomResizedCrop draws them
    compute=_compute,
    units=_units,
    fits=_fits,
)
