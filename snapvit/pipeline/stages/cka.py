"""CKA between structures, of the full model and of a cut, and each structure's main direction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from snapvit.artifacts import CkaMap, CutCkaMap, MainDirections, Topology
from snapvit.elastic.ranking import cut_at
from snapvit.pipeline.effort import Effort, Units
from snapvit.pipeline.stage import Arg, Context, Stage

if TYPE_CHECKING:
    from torch import Tensor


def _images(context: Context) -> Iterator[Tensor]:
    workspace = context.workspace
    yield from context.reporter.counting(workspace.batches(workspace.table("cka")), 1.0)


def _compute(context: Context[CkaMap]) -> Iterator[CkaMap]:
    from snapvit.method.cka import estimate_cka

    workspace = context.workspace
    batches = context.reporter.counting(workspace.own_batches("cka"), 1.0)
    yield estimate_cka(workspace.loaded.model, workspace.loaded.anatomy, batches, workspace.ranks)


def _compute_cut(context: Context[CutCkaMap]) -> Iterator[CutCkaMap]:
    from snapvit.method.cka import estimate_cut_cka

    ranking = context.parent("ranking")
    cut = cut_at(ranking, float(context.args["mlp"]), float(context.args["heads"]))
    with context.elastic(ranking) as elastic:
        yield estimate_cut_cka(elastic, context.workspace.loaded.anatomy, cut, _images(context))


def _compute_directions(context: Context[MainDirections]) -> Iterator[MainDirections]:
    from snapvit.method.cka import collect_structures, main_directions

    loaded = context.workspace.loaded
    seen = collect_structures(loaded.model, loaded.anatomy, _images(context))
    context.reporter.check()
    yield main_directions(seen)


def _units(effort: Effort, _: Mapping[str, Arg], __: object) -> Units:
    return Units(passes=effort.cka_images, decoded=effort.cka_images)


def _fits(found: CkaMap | CutCkaMap, topology: Topology) -> bool:
    return found.values.shape == (topology.structures, topology.structures)


CKA = Stage(
    name="cka",
    kind=CkaMap,
    title="CKA map",
    parents=("model", "images.cka"),
    schema=2,  # 2: reads the tokens that the embedding reads
    compute=_compute,
    shared=True,
    units=_units,
    fits=_fits,
)

CUT_CKA = Stage(
    name="cka-cut",
    kind=CutCkaMap,
    title="CKA map of the cut at {mlp}",
    parents=("model", "images.cka", "ranking"),
    args={"mlp": float, "heads": float},
    schema=2,
    compute=_compute_cut,
    units=_units,
    fits=_fits,
)

MAIN_DIRECTIONS = Stage(
    name="main-directions",
    kind=MainDirections,
    title="Activations of all structures",
    parents=("model", "images.cka"),
    schema=2,
    compute=_compute_directions,
    units=_units,
    fits=lambda found, topology: len(found.scores) == len(found.shares) == topology.structures,
)
