"""What cuts along the slider's path cost in accuracy; the table also takes every other cut that is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snapvit.artifacts import Topology
from snapvit.elastic.ranking import cut_at
from snapvit.formats import percent, ratio
from snapvit.pipeline.config import path_pair, path_points
from snapvit.pipeline.effort import Effort, Units
from snapvit.pipeline.stage import Arg, Context, Stage
from snapvit.tables import Measurements


def _missing(points: int, table: Measurements | None) -> list[float]:
    return [s for s in path_points(points) if table is None or table.find(*path_pair(s)) is None]


def _compute(context: Context[Measurements]) -> Iterator[Measurements]:
    from snapvit.pipeline.meter import Meter, empty_table
    from snapvit.pipeline.sharing import everyones

    workspace, ranking = context.workspace, context.parent("ranking")
    if context.beginning is not None:
        yield context.beginning
    with context.elastic(ranking) as elastic:
        meter = Meter(workspace, elastic, context.reporter)

        def measure(sparsity: float) -> Measurements:
            return empty_table(workspace).with_row(meter.measure(cut_at(ranking, *path_pair(sparsity))))

        missing = _missing(context.request.config.evaluation.points, context.beginning)
        if missing:
            meter.share_full_queries()
        found = everyones(workspace.ranks, Measurements, map(measure, workspace.ranks.share(missing)))
        for sparsity, row in zip(missing, found, strict=True):
            yield row
            measured = row.row(0)
            top1 = "" if measured.top1 is None else f": top-1 {percent(measured.top1)}"
            context.reporter.event("point", f"sparsity {ratio(sparsity)}{top1}", sparsity=sparsity)


def _units(effort: Effort, _: Mapping[str, Arg], beginning: Measurements | None) -> Units:
    missing = _missing(effort.config.evaluation.points, beginning)
    passes = sum(effort.cut_units(*path_pair(s)) for s in missing)
    return Units(passes=passes, set_up=effort.queries, decoded=effort.knn_images)


def _fits(found: Measurements, topology: Topology) -> bool:
    return found.kept_neurons.shape == found.kept_heads.shape == (len(found), topology.blocks)


EVALUATION = Stage(
    name="evaluation",
    kind=Measurements,
    title="Accuracy along the path",
    parents=("model", "images.gallery", "images.queries", "ranking"),
    settings=("evaluation.k", "evaluation.points", "precision"),
    extent=("evaluation.points",),
    schema=2,  # 2: the answer of every query, no latency
    compute=_compute,
    shared=True,
    units=_units,
    fits=_fits,
    grows=True,
    merge=lambda old, new: new if old is None else old.with_rows(new),
)
