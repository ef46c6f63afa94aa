"""Paired comparison of two cuts: against published examples, other formulas, brute force and simulation."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from snapvit.evaluation.paired import (
    area_difference,
    compare,
    describe,
    mcnemar,
    pack_answers,
    tango_interval,
    unpack_answers,
)


def answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """A and B with so many queries of each kind, in an order that means nothing."""
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    order = np.random.default_rng(5).permutation(len(a))
    return a[order], b[order]


def test_counts_are_those_of_a_naive_walk() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(301) < 0.7, rng.random(301) < 0.6
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    found = compare(a, b)
    counts = [pairs.count(pair) for pair in ((True, False), (False, True), (True, True))]
    assert [found.only_a, found.only_b, found.both] == counts
    assert found.queries == 301
    assert found.difference == pytest.approx(b.mean() - a.mean(), abs=1e-15)


# Fagerland, Lydersen and Laake (2014, and Statistical Analysis of Contingency Tables, 2017, chapter 8): intervals and
# exact tests of Bentur et al. (2009) and Cavo et al. (2012).
PUBLISHED = {
    "Bentur": ((1, 1, 7, 12), (0.026, 0.517), 3, 0.0703),
    "Cavo": ((59, 16, 6, 80), (-0.1240, -0.0054), 4, 0.0525),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_examples(name: str) -> None:
    counts, interval, digits, p = PUBLISHED[name]
    found = compare(*answers(*counts))
    assert (round(found.low, digits), round(found.high, digits)) == interval
    assert round(found.p_value, 4) == p
    assert found.decided  # although both exact p values are above 0.05


def test_interval_of_another_program() -> None:
    """R's PropCIs: scoreci.mp(25, 28, 618, 0.9)."""
    low, high = tango_interval(25, 28, 618, z=norm.ppf(0.95))
    assert (round(low, 4), round(high, 4)) == (-0.0148, 0.0247)


@pytest.mark.parametrize(("only_a", "only_b", "queries"), [(0, 3, 50), (62, 20, 2000), (4, 4, 9), (1, 0, 2)])
def test_limits_are_where_the_score_test_turns(only_a: int, only_b: int, queries: int) -> None:
    """The most likely shares under each difference, found by brute force, put the limit's score at z."""
    for limit in tango_interval(only_a, only_b, queries):
        shares = np.linspace(max(0.0, -limit), (1 - limit) / 2, 2_000_001)[1:-1]  # of only_a; only_b: + limit
        likely = only_a * np.log(shares) + only_b * np.log(shares + limit)
        likely += (queries - only_a - only_b) * np.log1p(-2 * shares - limit)
        share = shares[likely.argmax()]
        error = np.sqrt((2 * share + limit - limit**2) / queries)
        assert abs((only_b - only_a) / queries - limit) / error == pytest.approx(norm.ppf(0.975), rel=1e-4)


def test_mcnemar_is_a_binomial_test_of_the_discordant_pairs() -> None:
    for only_a in range(12):
        for only_b in range(12):
            if only_a + only_b == 0:
                continue
            assert mcnemar(only_a, only_b) == pytest.approx(binomtest(only_a, only_a + only_b).pvalue, rel=1e-12)
            tail = sum(comb(only_a + only_b, i) for i in range(min(only_a, only_b) + 1)) / 2 ** (only_a + only_b)
            assert mcnemar(only_a, only_b) == pytest.approx(min(1.0, 2 * tail), rel=1e-12)


def test_the_two_sides_are_mirror_images() -> None:
    for counts in [(10, 5, 1, 4), (0, 0, 7, 1), (100, 12, 30, 8)]:
        a, b = answers(*counts)
        there, back = compare(a, b), compare(b, a)
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-10)
        assert there.difference == -back.difference
        assert there.p_value == back.p_value


def test_identical_answers_differ_by_nothing() -> None:
    a = np.random.default_rng(1).random(40) < 0.5
    found = compare(a, a)
    z2 = norm.ppf(0.975) ** 2
    assert (found.difference, found.p_value, found.decided) == (0.0, 1.0, False)
    assert (found.low, found.high) == pytest.approx((-z2 / (40 + z2), z2 / (40 + z2)))


def test_all_different() -> None:
    found = compare(np.zeros(8, bool), np.ones(8, bool))
    z2 = norm.ppf(0.975) ** 2
    assert (found.difference, found.high, found.decided) == (1.0, 1.0, True)
    assert found.low == pytest.approx((8 - z2) / (8 + z2))
    assert found.p_value == 2 / 2**8


def test_decided_is_mcnemars_chi_square_without_correction() -> None:
    for only_a in range(0, 40, 3):
        for only_b in range(0, 40, 3):
            beyond = (only_a - only_b) ** 2 > norm.ppf(0.975) ** 2 * (only_a + only_b)
            assert compare(*answers(100, only_a, only_b, 20)).decided == beyond


@pytest.mark.parametrize("shares", [(0.75, 0.05, 0.03, 0.17), (0.8, 0.01, 0.01, 0.18), (0.5, 0.2, 0.05, 0.25)])
def test_intervals_cover_the_true_difference(shares: tuple[float, ...]) -> None:
    counts = np.random.default_rng(11).multinomial(200, shares, size=1500)
    true = shares[2] - shares[1]
    intervals = [tango_interval(int(row[1]), int(row[2]), 200) for row in counts]
    covered = np.mean([low <= true <= high for low, high in intervals])
    assert 0.935 <= covered <= 0.985


def test_sentences_for_people() -> None:
    worse = replace(compare(*answers(1500, 62, 20, 418)), p_value=0.0004)
    assert describe(worse) == (
        "2.1 points fewer (95 % interval 1.2 to 3.0 fewer), McNemar p = 0.0004: "
        "62 queries got worse, 20 better of 2,000"
    )
    better = compare(*answers(1500, 20, 62, 418))
    assert describe(better).startswith(
        "2.1 points more (95 % interval 1.2 to 3.0 more), McNemar p < 0.0001: 20 queries"
    )
    open_ = describe(compare(*answers(1500, 22, 20, 458)))
    assert open_.startswith("0.1 points fewer (95 % interval 0.8 fewer to 0.6 more), McNemar p = 0.88")
    assert open_.endswith("; undecided")
    assert describe(compare(*answers(10, 0, 0, 10))).startswith("no difference (95 % interval 16.1 fewer to 16.1 more)")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones(3, bool), np.ones(4, bool)),
        (np.ones((2, 2), bool), np.ones((2, 2), bool)),
        (np.ones(3, int), np.ones(3, bool)),
        (np.ones(0, bool), np.ones(0, bool)),
    ],
    ids=["lengths", "tables", "numbers", "nothing"],
)
def test_what_is_no_pair_is_refused(a: np.ndarray, b: np.ndarray) -> None:
    with pytest.raises(ValueError, match="not right or wrong of one set"):
        compare(a, b)


def test_a_bootstrapped_area_is_the_normal_interval_of_the_queries_areas() -> None:
    """The area is a mean over queries, so with many of them its interval is mean +- z s / sqrt(Q)."""
    rng = np.random.default_rng(3)
    skill, x = rng.random(3000), np.array([0.0, 0.1, 0.4, 0.5, 0.9])
    a, b = (rng.random((5, 3000)) < skill * level for level in (0.9, 0.95))
    difference, low, high = area_difference(a, b, x, seed=0, draws=4000)
    tops = b.mean(axis=1) - a.mean(axis=1)
    assert difference == pytest.approx(sum((x[i + 1] - x[i]) * (tops[i] + tops[i + 1]) / 2 for i in range(4)))
    widths = np.array([0.05, 0.2, 0.2, 0.25, 0.2])  # of each point's trapezoids
    half = norm.ppf(0.975) * (widths @ (b.astype(float) - a)).std() / np.sqrt(3000)
    assert (low, high) == pytest.approx((difference - half, difference + half), abs=0.06 * half)
    assert area_difference(a, b, x, seed=0, draws=4000) == (difference, low, high)
    assert area_difference(a, a, x, seed=1, draws=50) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("x", [[0.0, 0.5, 0.5], [0.5, 0.2, 0.9], [0.0, 0.5]])
def test_points_out_of_order_have_no_area(x: list[float]) -> None:
    a = np.ones((3, 4), bool)
    with pytest.raises(ValueError, match=r"rising order|no pair of curves"):
        area_difference(a, a, np.array(x), seed=0)


@pytest.mark.parametrize("queries", [1, 7, 8, 9, 2000])
def test_answers_come_back_from_their_bits(queries: int) -> None:
    rows = np.random.default_rng(queries).random((3, queries)) < 0.5
    packed = pack_answers(rows)
    assert packed.dtype == np.uint8
    assert packed.shape == (3, -(-queries // 8))
    np.testing.assert_array_equal(unpack_answers(packed, queries), rows)
    np.testing.assert_array_equal(unpack_answers(packed[1], queries), rows[1])
    np.testing.assert_array_equal(pack_answers(rows[2]), packed[2])
    with pytest.raises(ValueError, match="does not hold the answers"):
        unpack_answers(packed, queries + 8)
    with pytest.raises(ValueError, match="right or wrong"):
        pack_answers(rows.astype(int))
