"""The maps between structures that a run holds, and how well their pairs agree. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from snapvit.artifacts import MeasuredInteractions
from snapvit.errors import InputError
from snapvit.method.agreement import Agreement, agreement, correlation_of, known_pairs, spearman
from snapvit.pipeline.results import StoredRun, list_runs
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.cka import CKA
from snapvit.pipeline.stages.interactions import DISPLACEMENT, GAUSS_NEWTON, MEASURED
from snapvit.pipeline.stages.search import SEARCH

# For people, by the name that addresses and commands use.
MAPS = {
    "search": "Search's estimate",
    "displacement": "Displacement",
    "gauss-newton": "Gauss-Newton",
    "measured": "Measured",
    "cka": "CKA",
}
Scale = Literal["loss", "correlation"]
ESTIMATES = tuple(name for name in MAPS if name != "measured")


def wants_of(stored: StoredRun, pairs: int | None = None, images: int | None = None) -> list[Want]:
    """Measured interactions and the estimates that no run makes by itself; by default all pairs, on the images of the
    estimates. Raises InputError for numbers that cannot be meant."""
    for what, number, least in (("pairs", pairs, 1), ("images", images, 2)):
        if number is not None and number < least:
            raise InputError(f"Interactions on {number} {what} were asked for; it takes at least {least}.")
    size = stored.manifest.facts.topology.structures
    every = size * (size - 1) // 2
    count = every if pairs is None else min(pairs, every)
    args = (stored.request.config.interactions.images if images is None else images, count)
    return [Want(DISPLACEMENT), Want(GAUSS_NEWTON), Want(MEASURED, args)]


def most_measured(stored: StoredRun) -> MeasuredInteractions | None:
    """Of what was measured, whole or not, that with the most pairs, then the most images."""
    asked = [args for name in stored.manifest.entries if (args := MEASURED.asked_for(name)) is not None]
    found = [measured for args in asked if (measured := stored.load(MEASURED, *args)) is not None]
    return max(found, key=lambda m: (int(np.isfinite(m.interactions).sum()), m.images), default=None)


def map_of(stored: StoredRun, name: str, generation: int | None = None, scale: Scale = "loss") -> np.ndarray | None:
    """(S, S) one of MAPS; None where the run does not hold it.

    generation: of the search's estimate, else its last. scale: what is measured or estimated in losses can be shown as
    correlations too, I_ij / (2 sqrt(L_i L_j)); the search's estimate and CKA are what they are.
    """
    if name == "search":
        state = stored.load(SEARCH)
        if state is None:
            return None
        return state.history.correlation(state.history.generations if generation is None else generation)
    if name == "measured":
        measured = most_measured(stored)
        if measured is None:
            return None
        loss = measured.interactions
        return correlation_of(loss, 2 * measured.singles) if scale == "correlation" else loss
    stage, field = {
        "displacement": (DISPLACEMENT, "inner"),
        "gauss-newton": (GAUSS_NEWTON, "interactions"),
        "cka": (CKA, "values"),
    }[name]
    found = stored.load(stage)
    if found is None:
        return None
    values = getattr(found, field)
    return correlation_of(values) if scale == "correlation" and name != "cka" else values


def agreements(
    stored: StoredRun, measured: MeasuredInteractions, names: Sequence[str] = ESTIMATES
) -> dict[str, Agreement]:
    """How well each of the named estimates that the run holds orders the pairs that were measured."""
    maps = {name: map_of(stored, name) for name in names}
    return {name: agreement(m, measured.interactions) for name, m in maps.items() if m is not None}


@dataclass(frozen=True)
class Repeat:
    """The same estimate in another run of the same model."""

    run: str
    seed: int | None  # of its search
    rho: float  # rank correlation of its pairs with this run's


def repeats(stored: StoredRun, name: str) -> Iterator[Repeat]:
    """How well an estimate is found again: against that of every other run of this model that differs in it."""
    own, model = map_of(stored, name), stored.manifest.nodes.get("model")
    entry = {"search": SEARCH, "cka": CKA, "displacement": DISPLACEMENT, "gauss-newton": GAUSS_NEWTON}[name].name
    for summary in list_runs(stored.store):
        manifest = stored.store.manifest(summary.run)
        if summary.run == stored.manifest.run or manifest is None or manifest.nodes.get("model") != model:
            continue
        found = manifest.entries.get(entry)
        if own is None or found is None or found.key == stored.manifest.entries[entry].key:
            continue
        other = map_of(StoredRun.open(stored.store, summary.run), name)
        if other is not None:
            pairs = known_pairs(own, other)
            yield Repeat(summary.run, summary.seed, spearman(own[pairs], other[pairs]))
