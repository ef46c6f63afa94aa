"""How long cuts take on one machine, kept apart from what does not depend on the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from snapvit.devices import timing_machine
from snapvit.elastic.ranking import cut_at
from snapvit.pipeline.config import path_pair, path_points
from snapvit.pipeline.effort import Effort, Units, pass_share
from snapvit.pipeline.stage import Arg, Context, Stage
from snapvit.tables import Latencies

SECONDS = 15.0  # about as long as timing goes on, unless its least number of rounds takes longer
PASSES = 30  # roughly: of each cut, each beside one of the full model


def _missing(points: int, table: Latencies | None) -> list[tuple[float, float]]:
    pairs = [path_pair(s) for s in sorted(path_points(points))]
    return [pair for pair in pairs if table is None or table.find(*pair) is None]


def _compute(context: Context[Latencies]) -> Iterator[Latencies]:
    from snapvit.elastic.latency import measure_latencies

    ranking, loaded = context.parent("ranking"), context.workspace.loaded
    if context.beginning is not None:
        yield context.beginning
    pairs = _missing(context.request.config.evaluation.points, context.beginning)
    done = context.reporter.share_of(_units_of(pairs).total)
    end = time.monotonic() + SECONDS
    with context.workspace.elastic(ranking) as elastic:
        cuts = [cut_at(ranking, *pair) for pair in pairs]

        def tick() -> None:
            done(min(1.0, 1 - (end - time.monotonic()) / SECONDS))

        found = measure_latencies(elastic, cuts, loaded.preprocess, tick, SECONDS)
    done(1.0)
    yield Latencies.empty(timing_machine(context.request.device)).with_rows(found)


def _units(effort: Effort, _: Mapping[str, Arg], beginning: Latencies | None) -> Units:
    return _units_of(_missing(effort.config.evaluation.points, beginning))


def _units_of(pairs: list[tuple[float, float]]) -> Units:
    return Units(singles=PASSES * sum(1 + pass_share(*pair) for pair in pairs))


LATENCY = Stage(
    name="latency",
    kind=Latencies,
    title="Latency on this computer",
    parents=("model", "ranking"),
    settings=("evaluation.points",),
    extent=("evaluation.points",),
    args={"machine": str},
    compute=_compute,
    units=_units,
    grows=True,
    merge=lambda old, new: new if old is None else old.with_rows(new.rows()),
)
