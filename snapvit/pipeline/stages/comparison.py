"""Cuts by rival rankings on the run's gallery and queries; `pipeline.comparing` measures them, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snapvit.artifacts import Topology
from snapvit.pipeline.effort import Units
from snapvit.pipeline.methods import METHODS
from snapvit.pipeline.stage import Context, Stage
from snapvit.tables import Comparison

_RANKED_FROM = tuple(dict.fromkeys(name for method in METHODS.values() for name in method.stages))


def _compute(_: Context[Comparison]) -> Iterator[Comparison]:
    yield from ()  # its rankings are those of other requests, which no stage of this one computes


def _fits(found: Comparison, topology: Topology) -> bool:
    table = found.table
    rows = {len(a) for a in (found.contender, found.seed, found.corrected, found.probe, found.probed, table)}
    rows |= set() if found.head is None else {len(found.head)}
    searches, names = found.searches, len(found.contenders)
    fitness = {len(a) for a in (searches.contender, searches.seed, searches.judged, searches.best)}
    numbers = np.concatenate([found.contender, searches.contender])
    known = bool(((numbers >= 0) & (numbers < names)).all()) and len(fitness) == 1
    return rows == {len(table)} and known and table.kept_heads.shape == (len(table), topology.blocks)


COMPARISON = Stage(
    name="comparison",
    kind=Comparison,
    title="Comparison of rankings",
    # Whatever a contender without settings of its own is made from in this run, so that its key is theirs too; searches
    # may start from two more.
    parents=("model", "images.gallery", "images.queries", "correction", "cka", "displacement", *_RANKED_FROM),
    settings=("floors", "correction.form", "correction.damping", "correction.share", "evaluation.k", "precision"),
    compute=_compute,
    units=lambda effort, args, beginning: Units(),
    fits=_fits,
    grows=True,
    merge=lambda old, new: new if old is None else old.with_rows(new),
)
