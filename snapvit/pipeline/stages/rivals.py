"""Scores of rival rankings, one for every neuron and head; `methods.METHODS` says what each is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import Scores, Topology
from snapvit.pipeline.effort import FORWARD_BATCH, Effort, Units
from snapvit.pipeline.stage import Arg, Context, Stage
from snapvit.pipeline.stages.curvature import VIEWS, counted_views, view_units

if TYPE_CHECKING:
    from torch import Tensor

IMAGES = "curvature"  # whose images all methods that look at images take


def _random(context: Context[Scores]) -> Iterator[Scores]:
    from snapvit.method.rivals import random_scores

    yield random_scores(context.workspace.topology, context.request.config.ranking.seed)


def _magnitude(context: Context[Scores]) -> Iterator[Scores]:
    from snapvit.method.rivals import magnitude_scores

    yield magnitude_scores(context.workspace.loaded.anatomy)


def _lamp(context: Context[Scores]) -> Iterator[Scores]:
    from snapvit.method.rivals import lamp_scores

    yield lamp_scores(context.workspace.loaded.anatomy)


def _snip(context: Context[Scores]) -> Iterator[Scores]:
    from snapvit.method.rivals import snip_scores

    workspace, config = context.workspace, context.request.config.curvature
    loaded, views, together = workspace.loaded, counted_views(context, "accumulated"), workspace.effort.views_at_once
    yield snip_scores(loaded.model, loaded.anatomy, views, config.global_views, together, workspace.ranks)


def _variance(context: Context[Scores]) -> Iterator[Scores]:
    from snapvit.method.rivals import variance_scores

    workspace, reporter = context.workspace, context.reporter
    batches = reporter.counting(workspace.own_batches(IMAGES), 1)
    yield variance_scores(workspace.loaded.model, workspace.loaded.anatomy, batches, workspace.ranks)


def _cross_entropy(context: Context[Scores]) -> Iterator[Scores]:
    from snapvit.method.curvature import label_curvature

    workspace, loaded, reporter = context.workspace, context.workspace.loaded, context.reporter
    size = min(workspace.effort.images_at_once, FORWARD_BATCH)

    def labelled() -> Iterator[tuple[Tensor, Tensor]]:
        first = 0
        for pixels in reporter.counting(workspace.table(IMAGES).batches(size), view_units(1, 1).total):
            ids = workspace.ids[IMAGES][first : first + len(pixels)]
            first += len(pixels)
            yield workspace.normalised(pixels), workspace.labels(ids)

    found = label_curvature(loaded.model, loaded.anatomy, workspace.own_head, labelled())
    yield Scores(found.mlp.astype(np.float64), found.head.astype(np.float64))


def _unexplained(context: Context[Scores]) -> Iterator[Scores]:
    from snapvit.method.rivals import unexplained_shares

    heads, share = context.workspace.topology.heads, context.request.config.correction.share
    yield unexplained_shares(context.parent("correction"), heads, share)


def _cross_entropy_units(effort: Effort, _: Mapping[str, Arg], __: Scores | None) -> Units:
    return view_units(1, effort.curvature_images)


def _no_units(_: Effort, __: Mapping[str, Arg], ___: Scores | None) -> Units:
    return Units()


def _snip_units(effort: Effort, _: Mapping[str, Arg], __: Scores | None) -> Units:
    return view_units(effort.views, effort.curvature_images)


def _variance_units(effort: Effort, _: Mapping[str, Arg], __: Scores | None) -> Units:
    return Units(passes=effort.curvature_images, decoded=effort.curvature_images)


def _fits(found: Scores, topology: Topology) -> bool:
    blocks = topology.blocks
    return found.mlp.shape == (blocks, topology.hidden) and found.head.shape == (blocks, topology.heads)


CROSS_ENTROPY = Stage(
    "cross-entropy",
    Scores,
    "Curvature of the cross-entropy",
    ("model", f"images.{IMAGES}"),
    _cross_entropy,
    _cross_entropy_units,
    fits=_fits,
)
UNEXPLAINED = Stage(
    "unexplained",
    Scores,
    "Share that others cannot explain",
    ("correction",),
    _unexplained,
    _no_units,
    ("correction.share",),
    fits=_fits,
)
RANDOM = Stage("random", Scores, "Random scores", ("model",), _random, _no_units, ("ranking.seed",), fits=_fits)
MAGNITUDE = Stage("magnitude", Scores, "Magnitude of weights", ("model",), _magnitude, _no_units, fits=_fits)
LAMP = Stage("lamp", Scores, "LAMP scores", ("model",), _lamp, _no_units, fits=_fits)
SNIP = Stage(
    "snip-magnitude",
    Scores,
    "SNIP-magnitude",
    ("model", f"images.{IMAGES}"),
    _snip,
    _snip_units,
    VIEWS,
    fits=_fits,
    shared=True,
)
VARIANCE = Stage(
    "activation-variance",
    Scores,
    "Variance of activations",
    ("model", f"images.{IMAGES}"),
    _variance,
    _variance_units,
    fits=_fits,
    shared=True,
)
