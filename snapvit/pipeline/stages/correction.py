"""Statistics from which the weights of any cut are corrected.

They are kept on disk although they are large, because collecting them again takes much longer than reading them: of a
ViT-B/16 240 MB, read in about a second, against 0.4 seconds for each of a thousand images on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snapvit.artifacts import LayerStatistics, Topology
from snapvit.formats import size
from snapvit.pipeline.effort import Effort, Units
from snapvit.pipeline.stage import Arg, Context, Stage


def _compute(context: Context[LayerStatistics]) -> Iterator[LayerStatistics]:
    from snapvit.elastic.correction import collect_statistics

    workspace = context.workspace
    context.reporter.event("step", f"statistics of {size(workspace.effort.correction_disk)} are collected")
    counted = context.reporter.counting(workspace.own_batches("correction"), workspace.effort.correction_passes)
    yield collect_statistics(workspace.loaded.model, workspace.loaded.anatomy, counted, workspace.ranks)


def _units(effort: Effort, _: Mapping[str, Arg], __: LayerStatistics | None) -> Units:
    count = effort.correction_images
    return Units(passes=count * effort.correction_passes, decoded=count)


def _fits(found: LayerStatistics, topology: Topology) -> bool:
    blocks, heads = topology.blocks, topology.heads * topology.head_width
    shapes = [(blocks, n) for width in (topology.hidden, heads) for n in (width, width * (width + 1) // 2)]
    numbers = (found.neuron_means, found.neuron_covariances, found.head_means, found.head_covariances)
    return [array.shape for array in numbers] == shapes


CORRECTION = Stage(
    name="correction",
    kind=LayerStatistics,
    title="Statistics for the weight correction",
    parents=("model", "images.correction"),
    compute=_compute,
    shared=True,
    units=_units,
    fits=_fits,
    passing=True,
)
