"""Who is better, by how much, and whether that is more than chance: curves and paired differences of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from snapvit.artifacts import Doubles, Floats, Ints
from snapvit.evaluation.paired import unpack_answers
from snapvit.tables import Comparison, Measurement

Measure = Literal["top1", "probe", "head", "cosine"]
MEASURES: dict[Measure, str] = {
    "top1": "k-NN top-1",
    "probe": "Linear probe, top-1",
    "head": "Own head, top-1",
    "cosine": "Cosine to the full model",
}
DRAWS = 2000  # of a bootstrap


@dataclass(frozen=True)
class Curve:
    """One contender's cuts, a point each from the mildest on: the mean over its seeds, and their range."""

    mlp: Doubles  # (P,)
    heads: Doubles  # (P,)
    macs: Doubles  # (P,) mean over the seeds
    mean: Doubles  # (P,)
    low: Doubles  # (P,) the lowest of the seeds,
    high: Doubles  # (P,) and the highest
    seeds: Ints  # (P,) how many


@dataclass(frozen=True)
class Difference:
    """A second contender less a first, in shares, averaged over their seeds, with a 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether the interval excludes 0: only then one of the two is called better."""
        return self.low > 0 or self.high < 0


def curve_of(comparison: Comparison, contender: str, corrected: bool, measure: Measure = "top1") -> Curve | None:
    """What was measured of a contender; None where nothing was."""
    rows = _measured(comparison, comparison.rows_of(contender, None, corrected), measure)
    if not len(rows):
        return None
    table, values = comparison.table, _values(comparison, rows, measure)
    pairs, where = np.unique(np.column_stack([table.mlp[rows], table.heads[rows]]), axis=0, return_inverse=True)
    where = where.ravel()
    groups = [values[where == i] for i in range(len(pairs))]
    return Curve(
        mlp=pairs[:, 0],
        heads=pairs[:, 1],
        macs=np.array([table.macs[rows][where == i].mean() for i in range(len(pairs))]),
        mean=np.array([group.mean() for group in groups]),
        low=np.array([group.min() for group in groups]),
        high=np.array([group.max() for group in groups]),
        seeds=np.array([len(group) for group in groups]),
    )


@dataclass(frozen=True)
class FitnessCurve:
    """How low searches that differ in their seed came by the individuals that they judged."""

    judged: Ints  # (G + 1,) from 0 on, which is local curvature alone
    best: Doubles  # (seeds, G + 1) lowest fitness among them

    @property
    def shares(self) -> Doubles:
        """(seeds, G + 1) of what local curvature alone has on the same images: seeds differ in those, and so in how
        much there is to lose."""
        with np.errstate(divide="ignore", invalid="ignore"):  # where cuts lose nothing
            return self.best / self.best[:, :1]


def fitness_curve_of(comparison: Comparison, contender: str) -> FitnessCurve | None:
    """What is known of a contender's searches; None where nothing is."""
    searches, names = comparison.searches, comparison.contenders
    own = searches.contender == (names.index(contender) if contender in names else -1)
    found = [comparison.fitness_of(contender, seed) for seed in np.unique(searches.seed[own]).tolist()]
    return FitnessCurve(found[0][0], np.array([best for _, best in found])) if found else None


def difference_at(
    comparison: Comparison,
    first: tuple[str, bool],
    second: tuple[str, bool],
    mlp: float,
    heads: float,
    measure: Measure = "top1",
) -> Difference | None:
    """Second less first at one cut, paired by query; None where one of them was not measured, or has no answers.

    A contender is its name and whether its weights are corrected.
    """
    found = []
    for name, corrected in (first, second):
        answers = {}
        for seed in comparison.seeds(name):
            row = comparison.find(name, seed, corrected, mlp, heads)
            if row is not None and len(_measured(comparison, np.array([row]), measure)):
                answers[seed] = _answers(comparison, np.array([row]), measure)[0]
        found.append(answers)
    return _difference(*found)


def area_difference(
    comparison: Comparison,
    first: tuple[str, bool],
    second: tuple[str, bool],
    uncut: Measurement | None = None,
    measure: Measure = "top1",
) -> Difference | None:
    """The same of the areas under their curves of accuracy against MACs, divided by the range of MACs: a mean
    difference in accuracy. The curves begin at the uncut model where that is given; it is the same for both.

    They are of the cuts at which every seed of the first was measured; None where there are not two, or where a seed of
    the second lacks one of them. So areas beside the same first are of the same range.
    """
    rows = [_rows_by_cut(comparison, *contender, measure) for contender in (first, second)]
    if not all(rows):
        return None
    shared = set.intersection(*map(set, rows[0].values()))
    if len(shared) < 2 or any(shared - set(by_cut) for by_cut in rows[1].values()):
        return None
    cuts = sorted(shared)
    found = [
        {seed: _areas(comparison, np.array([of[cut] for cut in cuts]), measure, uncut) for seed, of in by_seed.items()}
        for by_seed in rows
    ]
    return _difference(*found)


def _rows_by_cut(
    comparison: Comparison, name: str, corrected: bool, measure: Measure
) -> dict[int, dict[tuple[float, float], int]]:
    """Of each seed: the row of each cut that was measured so."""
    found: dict[int, dict[tuple[float, float], int]] = {}
    for seed in comparison.seeds(name):
        rows = _measured(comparison, comparison.rows_of(name, seed, corrected), measure)
        if len(rows):
            pairs = zip(comparison.table.mlp[rows], comparison.table.heads[rows], strict=True)
            found[seed] = {(float(mlp), float(heads)): int(row) for (mlp, heads), row in zip(pairs, rows, strict=True)}
    return found


def mean_difference(a: Doubles, b: Doubles, same_seeds: bool, seed: int = 0) -> Difference:
    """Mean of b (B, Q) less that of a (A, Q), of Q queries by so many seeds, with a percentile interval.

    A bootstrap over queries and seeds: each draw takes queries, the same for both, and seeds, the same for both where
    they have the same. Few seeds make its interval too narrow rather than too wide, so a difference that is undecided
    here is undecided.
    """
    weights = _query_weights(a.shape[1], seed)  # (draws, Q), rows that add up to 1
    means_a, means_b = weights @ a.T, weights @ b.T  # (draws, A), (draws, B)
    rng = np.random.default_rng(seed + 1)
    take_a = rng.integers(len(a), size=(DRAWS, len(a)))
    take_b = take_a if same_seeds else rng.integers(len(b), size=(DRAWS, len(b)))
    drawn_a, drawn_b = (
        np.take_along_axis(means, take, axis=1).mean(axis=1) for means, take in ((means_a, take_a), (means_b, take_b))
    )
    low, high = np.quantile(drawn_b - drawn_a, [0.025, 0.975])
    return Difference(float(b.mean() - a.mean()), float(low), float(high))


@lru_cache(maxsize=2)
def _query_weights(queries: int, seed: int) -> Doubles:
    counts = np.random.default_rng(seed).multinomial(queries, np.full(queries, 1 / queries), size=DRAWS)
    return counts / queries


def _difference(first: dict[int, Floats], second: dict[int, Floats]) -> Difference | None:
    if not first or not second:
        return None
    a, b = (np.stack(list(found.values())).astype(np.float64) for found in (first, second))
    return mean_difference(a, b, first.keys() == second.keys())


def _areas(comparison: Comparison, rows: Ints, measure: Measure, uncut: Measurement | None) -> Doubles:
    """(Q,) each query's own area, of which the curve's is the mean."""
    macs = comparison.table.macs[rows].astype(np.float64)
    answers = _answers(comparison, rows, measure).astype(np.float64)
    if uncut is not None and uncut.answers is not None and measure == "top1":
        whole = unpack_answers(np.frombuffer(bytes.fromhex(uncut.answers), np.uint8), uncut.queries)
        macs, answers = np.append(macs, uncut.macs), np.vstack([answers, whole])
    order = np.argsort(macs)
    return np.trapezoid(answers[order], macs[order], axis=0) / (macs.max() - macs.min())


def _measured(comparison: Comparison, rows: Ints, measure: Measure) -> Ints:
    """Those of the rows that hold this measure."""
    if measure == "probe":
        return rows[comparison.probed[rows] == 1]
    if measure == "head":
        return rows if comparison.head is not None else rows[:0]
    return rows if measure == "cosine" or comparison.table.answers.shape[1] else rows[:0]


def _answers(comparison: Comparison, rows: Ints, measure: Measure) -> Doubles:
    """(R, Q) whether each query was named right; of the cosine, which is kept as a mean alone, (R, 1) that."""
    if measure == "cosine":
        return comparison.table.cosine[rows, None]
    packed = {"probe": comparison.probe, "head": comparison.head}.get(measure, comparison.table.answers)
    return unpack_answers(packed[rows], comparison.table.queries).astype(np.float64)


def _values(comparison: Comparison, rows: Ints, measure: Measure) -> Doubles:
    return _answers(comparison, rows, measure).mean(axis=1)
