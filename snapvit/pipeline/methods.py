"""The ways to rank: names for people, sources, and the stages that each is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from snapvit.artifacts import Scores
from snapvit.elastic.ranking import final_scores


@dataclass(frozen=True)
class Method:
    """One way to rank."""

    label: str
    what: str  # it ranks by, for people
    source: str  # where it was published; empty where it is textbook knowledge
    stages: tuple[str, ...]  # of the table, that its scores are made from
    seed: str | None  # setting that seeds what it draws; None where it draws nothing
    labelled: bool = False  # needs labels, and a head of the model's own that tells these classes apart


METHODS: dict[str, Method] = {
    "snapvit": Method(
        label="SnapViT",
        what="local curvature times the factor found by a search",
        source="arXiv 2510.17700",
        stages=("curvature", "search"),
        seed="search.seed",
    ),
    "gauss-newton": Method(
        label="Gauss-Newton",
        what="mean squared slope of the embedding by the structure's mask",
        source="",
        stages=("gauss-newton",),
        seed="interactions.seed",
    ),
    "gauss-newton-unexplained": Method(
        label="Gauss-Newton, unexplained",
        what="Gauss-Newton times the share of the structure that the others of its block cannot explain",
        source="",
        stages=("gauss-newton", "unexplained"),
        seed="interactions.seed",
    ),
    "curvature": Method(
        label="Curvature alone",
        what="local curvature, every factor 1",
        source="arXiv 2510.17700",
        stages=("curvature",),
        seed="curvature.seed",
    ),
    "cross-entropy": Method(
        label="Cross-entropy",
        what="curvature of the cross-entropy of the model's own head, which needs labels",
        source="",
        stages=("cross-entropy",),
        seed=None,
        labelled=True,
    ),
    "variance": Method(
        label="Activation variance",
        what="variance of what the structure hands on",
        source="Berisha et al., 2025, arXiv 2507.12988",
        stages=("activation-variance",),
        seed=None,
    ),
    "snip": Method(
        label="SNIP-magnitude",
        what="|weight x gradient| + 0.001 weight squared",
        source="openreview.net/forum?id=shw9MeqlMF",
        stages=("snip-magnitude",),
        seed="curvature.seed",
    ),
    "lamp": Method(
        label="LAMP",
        what="layer-adaptive magnitude of weights",
        source="Lee et al., 2021, arXiv 2010.07611",
        stages=("lamp",),
        seed=None,
    ),
    "magnitude": Method(label="Magnitude", what="mean squared weight", source="", stages=("magnitude",), seed=None),
    "random": Method(label="Random", what="a draw", source="", stages=("random",), seed="ranking.seed"),
}


def scores_of(method: str, part: Callable[[str], Any]) -> Scores | None:
    """Scores of a method from the artifacts of its stages; None where `part` gives None for one of them."""
    parts = [part(name) for name in METHODS[method].stages]
    if any(found is None for found in parts):
        return None
    if method == "snapvit":
        return final_scores(parts[0], parts[1].history.factors)
    if method == "gauss-newton-unexplained":
        return Scores(parts[0].mlp * parts[1].mlp, parts[0].head * parts[1].head)
    # Gauss-Newton's and the curvature's tables have the names of a score's
    return Scores(parts[0].mlp.astype(np.float64), parts[0].head.astype(np.float64))
