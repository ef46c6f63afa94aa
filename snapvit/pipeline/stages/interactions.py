"""How structures depend on one another: measured pair by pair, and estimated by displacement or Gauss-Newton."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import Displacement, GaussNewton, Ints, MeasuredInteractions, Topology
from snapvit.errors import Cancelled, Lost
from snapvit.pipeline.effort import PROBE_COST, Effort, Units, removal_passes, row_passes
from snapvit.pipeline.stage import Arg, Context, Stage

if TYPE_CHECKING:
    from snapvit.method.interactions import Batches

KEEP_SECONDS = 10.0  # of measuring, between two pieces that are stored
NAME = "interactions"  # of the images that the estimates are made on


def _batches(context: Context, images: str) -> Batches:
    """Over the images of this name, heeding a request to stop before each batch."""
    workspace = context.workspace
    return lambda: context.reporter.heeding(workspace.batches(workspace.table(images)))


def _compute_displacement(context: Context[Displacement]) -> Iterator[Displacement]:
    from snapvit.method.interactions import estimate_displacement

    loaded, components = context.workspace.loaded, context.request.config.search.components
    batches = _batches(context, NAME)
    advance, ranks = context.reporter.advance, context.workspace.ranks
    yield estimate_displacement(loaded.model, loaded.anatomy, batches, components, advance, ranks)


def _displacement_units(effort: Effort, _: Mapping[str, Arg], __: Displacement | None) -> Units:
    images = effort.interaction_images
    return Units(passes=images * (1 + removal_passes(effort.topology)), decoded=images)


def _compute_gauss_newton(context: Context[GaussNewton]) -> Iterator[GaussNewton]:
    from snapvit.method.gauss_newton import estimate_gauss_newton
    from snapvit.method.interactions import Directions

    loaded, config, advance = context.workspace.loaded, context.request.config, context.reporter.advance
    batches, settings = _batches(context, NAME), config.interactions
    directions = Directions(loaded.model, batches, config.search.components, advance)
    yield estimate_gauss_newton(
        loaded.model,
        loaded.anatomy,
        batches,
        directions,
        settings.probes,
        settings.seed,
        lambda images: advance(PROBE_COST * images),
        context.workspace.effort.images_at_once,
        context.workspace.ranks,
    )


def _gauss_newton_units(effort: Effort, _: Mapping[str, Arg], __: GaussNewton | None) -> Units:
    images, probes = effort.interaction_images, effort.config.interactions.probes
    return Units(passes=images * (1 + PROBE_COST * probes), decoded=images)


def _gauss_newton_fits(found: GaussNewton, topology: Topology) -> bool:
    blocks, heads, hidden = topology.blocks, topology.heads, topology.hidden
    fits = found.mlp.shape == (blocks, hidden) and found.head.shape == (blocks, heads)
    return fits and found.interactions.shape == (topology.structures, topology.structures)


def _compute_measured(context: Context[MeasuredInteractions]) -> Iterator[MeasuredInteractions]:
    workspace, args, beginning = context.workspace, context.args, context.beginning
    name = f"first-{args['images']}"
    size, images = workspace.topology.structures, len(workspace.ids_of(name))
    known = beginning or MeasuredInteractions.empty(size, images)
    for other in context.others():  # what another request measured on these images
        if other.images == images:
            known = other.filled(known)
    yield known
    effort = workspace.effort
    context.reporter.advance(
        _measured_units(effort, args, beginning).total - _measured_units(effort, args, known).total
    )
    pairs = workspace.ranks.agreed(_missing(effort, args, known))
    if len(pairs):
        from snapvit.method.interactions import measured_rows

        loaded, components = workspace.loaded, context.request.config.search.components
        advance, batches, ranks = context.reporter.advance, _batches(context, name), workspace.ranks
        yield from _gathered(measured_rows(loaded.model, loaded.anatomy, batches, components, pairs, advance, ranks))


def _gathered(rows: Iterator[MeasuredInteractions]) -> Iterator[MeasuredInteractions]:
    """Rows of some seconds together, so that whoever follows is not told of every one; also those before a stop."""
    held, since = None, time.monotonic()
    try:
        for row in rows:
            held = row if held is None else held.filled(row)
            if time.monotonic() - since > KEEP_SECONDS:
                yield held
                held, since = None, time.monotonic()
    except (Cancelled, KeyboardInterrupt, Lost):
        if held is not None:
            yield held
        raise
    if held is not None:
        yield held


def _missing(effort: Effort, args: Mapping[str, Arg], known: MeasuredInteractions | None) -> Ints:
    """(P, 2) pairs of the sample that are not measured yet."""
    from snapvit.method.interactions import sampled_pairs

    pairs = sampled_pairs(effort.topology.structures, int(args["pairs"]), effort.config.interactions.seed)
    return pairs if known is None else pairs[np.isnan(known.interactions[pairs[:, 0], pairs[:, 1]])]


def _measured_units(effort: Effort, args: Mapping[str, Arg], known: MeasuredInteractions | None) -> Units:
    images, pairs = min(int(args["images"]), effort.calibration_images), _missing(effort, args, known)
    return Units(passes=images * row_passes(effort.topology, pairs), decoded=images)


def _square(found: MeasuredInteractions | Displacement, topology: Topology) -> bool:
    return found.singles.shape == (topology.structures,)


DISPLACEMENT = Stage(
    name="displacement",
    kind=Displacement,
    title="Displacement by single removals",
    parents=("model", f"images.{NAME}"),
    settings=("search.components",),
    compute=_compute_displacement,
    shared=True,
    units=_displacement_units,
    fits=_square,
)

GAUSS_NEWTON = Stage(
    name="gauss-newton",
    kind=GaussNewton,
    title="Gauss-Newton",
    parents=("model", f"images.{NAME}"),
    settings=("search.components", "interactions.probes", "interactions.seed"),
    compute=_compute_gauss_newton,
    shared=True,
    units=_gauss_newton_units,
    fits=_gauss_newton_fits,
)

MEASURED = Stage(
    name="interactions-measured",
    kind=MeasuredInteractions,
    title="Measuring {pairs:,} pairs on {images:,} images",
    parents=("model", "images.first-{images}"),
    settings=("search.components", "interactions.seed"),
    args={"images": int, "pairs": int},
    compute=_compute_measured,
    shared=True,
    units=_measured_units,
    fits=_square,
    grows=True,
    merge=lambda old, new: new if old is None else old.filled(new),
)
