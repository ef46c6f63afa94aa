"""Two cuts that answered the same queries: what differs between them, and whether it is more than chance.

Answers are boolean arrays, True where a query was named right. A difference is always the second less the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snapvit.artifacts import Bytes, Doubles, Ints
from snapvit.evaluation.knn import Z_95
from snapvit.formats import decimal, p_value
from snapvit.tables import Measurement

Answers = NDArray[np.bool_]


@dataclass(frozen=True)
class PairedComparison:
    """Cut B beside cut A on the same queries."""

    queries: int
    only_a: int  # queries that only A named right: they got worse
    only_b: int  # that only B did: they got better
    both: int  # that both did
    difference: float  # top1 of B less top1 of A, a share
    low: float  # 95 % interval of the difference
    high: float
    p_value: float  # McNemar's exact test, two-sided

    @property
    def decided(self) -> bool:
        """Whether the interval excludes 0: only then one of the two is called better.

        That is the same as McNemar's chi-square without continuity correction being beyond its 5 % point. The exact
        p value is a little larger, so close to the border it can exceed 0.05 where the interval excludes 0.
        """
        return self.low > 0 or self.high < 0


def answers_of(m: Measurement) -> Answers:
    """(Q,) the answers that a measurement keeps; it must have some."""
    return unpack_answers(np.frombuffer(bytes.fromhex(m.answers), np.uint8), m.queries)


def compare(a: Answers, b: Answers) -> PairedComparison:
    """Compare answers a (Q,) and b (Q,) to the same queries. Raises ValueError for anything else."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != bool or b.dtype != bool or a.ndim != 1 or a.shape != b.shape or not len(a):
        raise ValueError(f"answers {a.dtype} {a.shape} and {b.dtype} {b.shape} are not right or wrong of one set")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    low, high = tango_interval(only_a, only_b, len(a))
    return PairedComparison(
        queries=len(a),
        only_a=only_a,
        only_b=only_b,
        both=int((a & b).sum()),
        difference=(only_b - only_a) / len(a),
        low=low,
        high=high,
        p_value=mcnemar(only_a, only_b),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p value of McNemar's test (1947): were either side of the discordant pairs as likely.

    1 where there are no discordant pairs.
    """
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def tango_interval(only_a: int, only_b: int, queries: int, z: float = Z_95) -> tuple[float, float]:
    """Score interval of a difference of paired proportions, B less A, 95 % unless told (Tango, 1998).

    Preferred to Newcombe's method 10 (1998) because it inverts McNemar's score test, so that interval and test agree;
    with the discordant pairs alone, and without a correction of their correlation.
    """
    if not (only_a >= 0 and only_b >= 0 and 1 <= queries >= only_a + only_b):
        raise ValueError(f"{only_a} and {only_b} discordant of {queries} are no pairs")
    return _lower_limit(only_a, only_b, queries, z), -_lower_limit(only_b, only_a, queries, z)


def _lower_limit(only_a: int, only_b: int, queries: int, z: float) -> float:
    """The smallest difference that the score test does not reject."""
    from scipy.optimize import brentq

    observed = only_b - only_a

    def excess(difference: float) -> float:
        """Of the score over z: positive where `difference` is rejected for being too small."""
        # the most likely share of `only_a` if the true difference were this one
        linear = -only_a - only_b + (2 * queries - observed) * difference
        root = math.sqrt(max(0.0, linear**2 + 8 * queries * only_a * difference * (1 - difference)))
        share = (root - linear) / (4 * queries)
        variance = queries * (2 * share + difference * (1 - difference))
        return observed - queries * difference - z * math.sqrt(max(0.0, variance))

    if observed == -queries:
        return -1.0
    # just below the observed difference, where score and variance may both vanish
    return float(brentq(excess, -1.0, observed / queries - 1e-12, xtol=1e-12))


def describe(comparison: PairedComparison) -> str:
    """One sentence without its full stop: difference, interval, test and the queries behind them."""
    c = comparison
    if c.decided:
        near, far = sorted((abs(c.low), abs(c.high)))
        interval = f"{decimal(100 * near, 1)} to {_points(far if c.low > 0 else -far)}"
    else:
        interval = f"{_points(c.low)} to {_points(c.high)}"
    what = _points(c.difference, " points") if c.difference else "no difference"
    verdict = "" if c.decided else "; undecided"
    return (
        f"{what} (95 % interval {interval}), McNemar {p_value(c.p_value)}: {c.only_a:,} queries got worse, "
        f"{c.only_b:,} better of {c.queries:,}{verdict}"
    )


def _points(share: float, unit: str = "") -> str:
    return f"{decimal(abs(100 * share), 1)}{unit} {'fewer' if share < 0 else 'more'}"


def area_difference(a: Answers, b: Answers, x: Doubles, seed: int, draws: int = 2000) -> tuple[float, float, float]:
    """Area under B's accuracy curve less that under A's, with its 95 % interval by a bootstrap over queries.

    a (P, Q), b (P, Q): answers of Q queries at P points; x (P,): the points, rising. The area is the trapezoids' of the
    share named right; divided by x[-1] - x[0] it is a mean difference in accuracy. Queries are drawn whole, with what
    they answered at every point, since the points of a curve vary together. Percentile interval (Efron, 1979).
    """
    a, b, x = np.asarray(a), np.asarray(b), np.asarray(x, dtype=np.float64)
    if a.dtype != bool or b.dtype != bool or a.ndim != 2 or a.shape != b.shape or x.shape != a.shape[:1] or not a.size:
        raise ValueError(f"answers {a.dtype} {a.shape}, {b.dtype} {b.shape} at {x.shape} points are no pair of curves")
    if len(x) < 2 or (np.diff(x) <= 0).any():
        raise ValueError("an area needs two points or more, in rising order")
    # The area is linear in the answers, so each query has an area of its own and the curves' is their mean.
    of_query = np.trapezoid(b.astype(np.float64) - a, x, axis=0)  # (Q,)
    rng, queries = np.random.default_rng(seed), len(of_query)
    means = [of_query[rng.integers(queries, size=queries)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(of_query.mean()), float(low), float(high)


def lost_at(answers: Answers) -> Ints:
    """(Q,) the point from which on each query is named wrong for good; P where the last point names it right.

    answers (P, Q) at P points, mildest first. A query that no point names right is lost at 0.
    """
    answers = np.asarray(answers)
    if answers.dtype != bool or answers.ndim != 2 or not answers.size:
        raise ValueError(f"answers {answers.dtype} {answers.shape} are no points of queries")
    last_right = answers.shape[0] - 1 - np.argmax(answers[::-1], axis=0)
    return np.where(answers.any(axis=0), last_right + 1, 0)


def pack_answers(answers: Answers) -> Bytes:
    """Answers (..., Q), one bit each, as bytes (..., ceil(Q / 8))."""
    answers = np.asarray(answers)
    if answers.dtype != bool:
        raise ValueError(f"answers are right or wrong, not {answers.dtype}")
    return np.packbits(answers, axis=-1)


def unpack_answers(packed: Bytes, queries: int) -> Answers:
    """Answers (..., Q) of Q queries from their bytes (..., ceil(Q / 8))."""
    if packed.dtype != np.uint8 or packed.shape[-1] != -(-queries // 8):
        raise ValueError(f"{packed.dtype} {packed.shape} does not hold the answers to {queries} queries")
    return np.unpackbits(packed, axis=-1, count=queries).astype(bool)
