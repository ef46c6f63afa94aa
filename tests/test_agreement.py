"""Rank correlation against scipy, and Mantel's test against every permutation there is."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.stats import spearmanr

from snapvit.method.agreement import agreement, correlation_of, spearman


def symmetric(size: int, seed: int) -> np.ndarray:
    half = np.random.default_rng(seed).normal(size=(size, size))
    return half + half.T


def of_pairs(matrix: np.ndarray, order: tuple[int, ...] | None = None) -> np.ndarray:
    order = order or tuple(range(len(matrix)))
    return np.array([matrix[order[i], order[j]] for i, j in combinations(range(len(matrix)), 2)])


def test_spearman_equals_scipys_with_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, size=60), rng.normal(size=60)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(spearman(np.ones(5), np.arange(5))) and np.isnan(spearman(np.ones(1), np.ones(1)))


@pytest.mark.parametrize("noise", [0.5, 2.0, 20.0])
def test_mantel_comes_to_the_share_of_all_relabellings(noise):
    measured = symmetric(6, 0)
    estimate = measured + noise * symmetric(6, 1)
    rho = spearmanr(of_pairs(estimate), of_pairs(measured)).statistic
    every = [spearmanr(of_pairs(estimate, order), of_pairs(measured)).statistic for order in permutations(range(6))]
    exact = np.mean(np.array(every) >= rho - 1e-12)
    found = agreement(estimate, measured, permutations=20_000)
    assert found.rho == pytest.approx(rho) and found.pairs == 15
    assert found.mantel_p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_mantel_of_a_sample_permutes_the_estimate_under_it():
    measured, estimate = symmetric(5, 2), symmetric(5, 3)
    estimate += 0.5 * measured
    missing = [(0, 1), (2, 4), (1, 3)]
    for i, j in missing:
        measured[i, j] = measured[j, i] = np.nan
    known = np.isfinite(of_pairs(measured))
    rho = spearmanr(of_pairs(estimate)[known], of_pairs(measured)[known]).statistic
    every = [
        spearmanr(of_pairs(estimate, order)[known], of_pairs(measured)[known]).statistic
        for order in permutations(range(5))
    ]
    exact = np.mean(np.array(every) >= rho - 1e-12)
    found = agreement(estimate, measured, permutations=20_000)
    assert found.rho == pytest.approx(rho) and found.pairs == 7
    assert found.mantel_p == pytest.approx(exact, abs=0.015)


def test_chance_is_even_and_a_real_agreement_is_not():
    ps = [agreement(symmetric(12, s), symmetric(12, s + 500), seed=s, permutations=199).mantel_p for s in range(150)]
    assert np.mean(np.array(ps) <= 0.1) == pytest.approx(0.1, abs=0.08)
    assert np.mean(ps) == pytest.approx(0.5, abs=0.08)
    measured = symmetric(20, 0)
    found = agreement(measured + 0.3 * symmetric(20, 1), measured)
    assert found.mantel_p == 1 / 1000 and found.rho > 0.9


def test_structures_without_an_estimate_are_left_out():
    measured, estimate = symmetric(8, 0), symmetric(8, 1)
    estimate[3] = estimate[:, 3] = np.nan
    rest = np.delete(np.arange(8), 3)
    want = agreement(estimate[np.ix_(rest, rest)], measured[np.ix_(rest, rest)], seed=2)
    assert agreement(estimate, measured, seed=2) == want and want.pairs == 21


def test_a_constant_map_agrees_with_nothing():
    found = agreement(np.eye(6), symmetric(6, 0))
    assert np.isnan(found.rho) and np.isnan(found.mantel_p) and found.pairs == 15


def test_correlation_has_a_unit_diagonal_where_there_is_something():
    inner = np.array([[4.0, 3.0, 0.0], [3.0, 9.0, 0.0], [0.0, 0.0, 0.0]])
    found = correlation_of(inner)
    np.testing.assert_allclose(found[:2, :2], [[1, 0.5], [0.5, 1]])
    assert np.isnan(found[2]).all()
