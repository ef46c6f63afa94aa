"""The table of stages, and what follows from it for a run: its plan, its keys, and which entries belong to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from snapvit.pipeline.config import NO_IMAGES, RunRequest, settings_apart
from snapvit.pipeline.stage import Args, Stage, Want, corrected
from snapvit.pipeline.stages.attention import ATTENTION
from snapvit.pipeline.stages.cka import CKA, CUT_CKA, MAIN_DIRECTIONS
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.pipeline.stages.correction import CORRECTION
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.interactions import DISPLACEMENT, GAUSS_NEWTON, MEASURED
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.pipeline.stages.lessons import HEAD_GRADIENTS, IMAGE_LESSON
from snapvit.pipeline.stages.pixel_knn import PIXEL_KNN
from snapvit.pipeline.stages.ranking import RANKING, SCORES
from snapvit.pipeline.stages.rivals import CROSS_ENTROPY, LAMP, MAGNITUDE, RANDOM, SNIP, UNEXPLAINED, VARIANCE
from snapvit.pipeline.stages.search import NULL_SEARCH, SEARCH
from snapvit.store.keys import stage_key
from snapvit.store.manifest import Manifest

A = TypeVar("A")

# Of each stage that looks at a cut, the one that looks at it with corrected weights.
CORRECTED: dict[str, Stage[Any]] = {
    stage.name: corrected(stage) for stage in (EVALUATION, ATTENTION, CUT_CKA, EMBEDDING_PROJECTION)
}

# In the order in which a run computes what it needs of them.
TABLE: dict[str, Stage[Any]] = {
    stage.name: stage
    for stage in (
        SCORES,
        CURVATURE,
        CKA,
        DISPLACEMENT,
        SEARCH,
        GAUSS_NEWTON,
        UNEXPLAINED,
        VARIANCE,
        SNIP,
        CROSS_ENTROPY,
        LAMP,
        MAGNITUDE,
        RANDOM,
        RANKING,
        EVALUATION,
        CORRECTION,
        CORRECTED["evaluation"],
        LATENCY,
        ATTENTION,
        CUT_CKA,
        MAIN_DIRECTIONS,
        NULL_SEARCH,
        MEASURED,
        COMPARISON,
        EMBEDDING_PROJECTION,
        HEAD_GRADIENTS,
        IMAGE_LESSON,
        PIXEL_KNN,
        *(CORRECTED[stage.name] for stage in (ATTENTION, CUT_CKA, EMBEDDING_PROJECTION)),
    )
}


def of_cut(stage: Stage[A], correct: bool) -> Stage[A]:
    """The stage that looks at a cut as it is, or with corrected weights."""
    return CORRECTED[stage.name] if correct else stage


def main_stages(request: RunRequest) -> tuple[Stage[Any], ...]:
    """The stages that make this run finished, in order: its goals and everything that they are computed from."""
    if request.scores is not None:
        goals = [RANKING] if request.data == NO_IMAGES else [EVALUATION, CORRECTED["evaluation"]]
    else:
        goals = [CKA, EVALUATION, CORRECTED["evaluation"]]
    return stages_for(request, goals)


def stages_for(request: RunRequest, goals: Sequence[Stage[Any]]) -> tuple[Stage[Any], ...]:
    """These and everything that they are computed from, in the order of the table."""
    needed: set[str] = set()
    waiting = [stage.name for stage in goals]
    while waiting:
        name = waiting.pop()
        if name in TABLE and name not in needed:
            needed.add(name)
            waiting += TABLE[name].parents_of(request)
    return tuple(stage for name, stage in TABLE.items() if name in needed)


def key_of(stage: Stage[Any], request: RunRequest, nodes: Mapping[str, str], args: Args = ()) -> str | None:
    """Key of an artifact: a hash over everything its numbers depend on and nothing else (design section 4).

    None where one of the nodes that it depends on is not known.
    """
    return _key(stage, request, nodes, args, settings_apart(request.config, stage.settings))


def root_of(stage: Stage[Any], request: RunRequest, nodes: Mapping[str, str], args: Args = ()) -> str:
    """Key without what only says how far a stage goes; empty for a stage that does not grow, or an unknown node."""
    if not stage.grows:
        return ""
    settings = settings_apart(request.config, stage.settings)
    rooted = {name: value for name, value in settings.items() if name not in stage.extent}
    return _key(stage, request, nodes, args, rooted) or ""


def _key(
    stage: Stage[Any], request: RunRequest, nodes: Mapping[str, str], args: Args, settings: Mapping[str, Any]
) -> str | None:
    parents = []
    for name in stage.parents_of(request, args):
        parent = key_of(TABLE[name], request, nodes) if name in TABLE else nodes.get(name)
        if parent is None:
            return None
        parents.append(parent)
    return stage_key(stage.name, stage.schema, settings, list(stage.given(args).values()), parents)


def want_of(entry: str) -> Want | None:
    """The artifact that an entry of a manifest is named after; None for an entry of no stage."""
    found = (Want(stage, args) for stage in TABLE.values() if (args := stage.asked_for(entry)) is not None)
    return next(found, None)


def is_whole(manifest: Manifest, request: RunRequest, want: Want) -> bool:
    """Whether the run holds this artifact, whole and of its present model and images."""
    entry = manifest.entries.get(want.entry)
    return entry is not None and entry.complete and entry.key == key_of(want.stage, request, manifest.nodes, want.args)


def stale_entries(manifest: Manifest, request: RunRequest) -> Iterator[str]:
    """Entries of stages that are not of the run's present model, images or code."""
    for name, entry in manifest.entries.items():
        want = want_of(name)
        if want is not None and entry.key != key_of(want.stage, request, manifest.nodes, want.args):
            yield name
