"""Whether two maps between structures order the pairs alike: rank correlation, and a permutation test for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snapvit.artifacts import Doubles, Ints

PERMUTATIONS = 999
AT_ONCE = 4_000_000  # numbers ranked together


@dataclass(frozen=True)
class Agreement:
    """How one map's pairs compare with another's."""

    rho: float  # Spearman's rank correlation over the pairs, -1 to 1; NaN where either map is constant
    mantel_p: float  # share of relabellings that agree at least as well; NaN likewise
    pairs: int


def agreement(estimate: np.ndarray, measured: np.ndarray, seed: int = 0, permutations: int = PERMUTATIONS) -> Agreement:
    """Spearman's rho of two symmetric maps (S, S) over the pairs i < j that both hold (finite), with Mantel's test.

    Pairs that share a structure are not independent, so the null permutes structures, not pairs (Mantel, 1967): rows
    and columns of `estimate` together. One-sided, for agreement; the labelling as it is counts as one of the
    permutations. Structures of which the estimate knows nothing are left out.
    """
    first, second = known_pairs(estimate, measured)
    rho = spearman(estimate[first, second], measured[first, second])
    if not np.isfinite(rho):
        return Agreement(float("nan"), float("nan"), len(first))
    left = np.unique(np.concatenate([first, second]))
    place = np.zeros(len(estimate), dtype=np.int64)
    place[left] = np.arange(len(left))
    inside, first, second = estimate[np.ix_(left, left)], place[first], place[second]
    ranked = _standard_ranks(measured[left[first], left[second]][None])[0]
    whole = len(first) == len(left) * (len(left) - 1) // 2
    if whole:  # every relabelling has the same values, so they are ranked once
        inside = np.zeros_like(inside, dtype=np.float64)
        inside[first, second] = inside[second, first] = _standard_ranks(estimate[left[first], left[second]][None])[0]
    rng, as_good, done = np.random.default_rng(seed), 1, 0
    while done < permutations:
        count = min(permutations - done, max(1, AT_ONCE // len(first)))
        shuffled = np.stack([rng.permutation(len(left)) for _ in range(count)])
        values = inside[shuffled[:, first], shuffled[:, second]]
        if not whole:
            values = _standard_ranks(np.where(np.isfinite(values), values, np.nanmedian(inside)))
        rhos = values @ ranked
        as_good += int((rhos >= rho - 1e-12).sum())
        done += count
    return Agreement(rho, as_good / (permutations + 1), len(first))


def known_pairs(*maps: np.ndarray) -> tuple[Ints, Ints]:
    """(P,), (P,) the pairs i < j at which all maps (S, S) hold a finite number."""
    first, second = np.triu_indices(len(maps[0]), 1)
    known = np.all([np.isfinite(values[first, second]) for values in maps], axis=0)
    return first[known], second[known]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of a (P,) and b (P,), ties sharing their mean rank; NaN where one is constant or P < 2."""
    if len(a) < 2:
        return float("nan")
    ranked = _standard_ranks(np.stack([a, b]))
    return float(ranked[0] @ ranked[1]) if ranked.any(axis=1).all() else float("nan")


def percentiles(values: np.ndarray) -> Doubles:
    """(P,) the share of values (P,) below each, in percent; ties share their mean."""
    from scipy.stats import rankdata

    return 100 * (rankdata(values) - 0.5) / len(values)


def _standard_ranks(values: np.ndarray) -> Doubles:
    """Ranks along each row of (K, P), centred and of length 1, so that a product of two rows is their correlation."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    return ranks / np.where(length > 0, length, 1)


def correlation_of(inner: np.ndarray, squares: np.ndarray | None = None) -> Doubles:
    """inner (S, S) over the roots of `squares` (S,), by default its diagonal; NaN for structures without any."""
    squares = np.diag(inner) if squares is None else squares
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(squares > 0, 1 / np.sqrt(squares), np.nan)
    return inner * np.outer(scale, scale)
