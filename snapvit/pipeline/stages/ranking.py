"""The ranking, and published scores that it may be made from."""

from __future__ import annotations

from collections.abc import Iterator

from snapvit.artifacts import Ranking, Topology
from snapvit.elastic.ranking import rank
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.effort import Units
from snapvit.pipeline.methods import METHODS, scores_of
from snapvit.pipeline.stage import Context, Stage
from snapvit.published.scores import PublishedScores


def _compute(context: Context[Ranking]) -> Iterator[Ranking]:
    config = context.request.config
    published = context.request.scores is not None
    scores = context.parent("scores").scores if published else scores_of(config.ranking.method, context.parent)
    yield rank(scores, config.floors)


def _take_scores(context: Context[PublishedScores]) -> Iterator[PublishedScores]:
    yield context.workspace.published


def _parents(request: RunRequest) -> tuple[str, ...]:
    return ("scores",) if request.scores is not None else METHODS[request.config.ranking.method].stages


def _fits(found: Ranking, topology: Topology) -> bool:
    units = len(found.mlp), len(found.head), found.blocks
    return units == (topology.blocks * topology.hidden, topology.blocks * topology.heads, topology.blocks)


SCORES = Stage(
    name="scores",
    kind=PublishedScores,
    title="Published scores",
    parents=("scores.file",),
    compute=_take_scores,
    units=lambda effort, args, beginning: Units(),
)

RANKING = Stage(
    name="ranking",
    kind=Ranking,
    title="Ranking",
    parents=_parents,
    settings=("floors",),
    schema=2,  # 2: a floor above 0 protects at least one structure of each block
    compute=_compute,
    units=lambda effort, args, beginning: Units(),
    fits=_fits,
)
