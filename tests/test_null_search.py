"""Replays of a search under random ranks: the machinery against the search itself, the null against known cases."""

from __future__ import annotations

import numpy as np
import pytest

from snapvit.artifacts import SearchHistory
from snapvit.method.cka import nearest_correlation
from snapvit.method.null_search import LEVELS, null_search, replay
from snapvit.method.search import search, start_search
from snapvit.method.xnes import XNES
from snapvit.pipeline.stages.search import replays_of

SEED, SIZE = 5, 8


def searched(objective, generations: int, covariance: np.ndarray | None = None) -> SearchHistory:
    state = start_search(np.linspace(1.2, 0.8, SIZE), covariance, None, 1, SEED)
    for after in search(state, lambda x: np.array([objective(x)]), generations):
        state = after
    return state.history


def tied(x: np.ndarray) -> float:
    """A valley along x0 = x1: good individuals move both together."""
    return float(100 * (x[0] - x[1]) ** 2)


def noise(x: np.ndarray) -> float:
    """Nothing that a search could learn, but the same for the same x."""
    return float(np.sin(1e6 * x.sum()))


@pytest.mark.parametrize("start", ["identity", "cka"])
def test_a_replay_under_the_searchs_own_ranks_is_the_search(start):
    samples = np.random.default_rng(0).normal(size=(30, SIZE))
    covariance = None if start == "identity" else nearest_correlation(np.corrcoef(samples.T))
    history = searched(tied, 6, covariance)
    strategy = replay(history, SEED)
    for generation in range(6):
        individuals = strategy.ask()
        np.testing.assert_allclose(individuals, history.individuals[generation], rtol=1e-5, atol=1e-5)
        strategy.tell(individuals, history.individual_fitness[generation])
    np.testing.assert_allclose(strategy.covariance, history.covariance(6), rtol=1e-5, atol=1e-5)


def test_a_start_that_single_precision_made_singular_can_be_replayed():
    history = searched(noise, 2, nearest_correlation(np.ones((SIZE, SIZE))))
    broken = history.covariances[0].astype(np.float64)
    values, vectors = np.linalg.eigh(broken)
    values[0] = -1e-7
    history.covariances[0] = ((vectors * values) @ vectors.T).astype(np.float32)
    assert np.linalg.eigvalsh(history.covariances[0].astype(np.float64))[0] <= 0, "the example must need repair"
    assert np.isfinite(null_search(history, SEED, 3).quantiles).all()


def changes_by_hand(history: SearchHistory, replays: int) -> np.ndarray:
    """(G+1, R, pairs) with one strategy after the other, ranks drawn in the order that the docstring promises."""
    ranks = np.random.default_rng([SEED, replays])
    count, generations = history.individuals.shape[1], history.generations
    orders = [[ranks.permutation(count) for _ in range(replays)] for _ in range(generations)]
    out = []
    for r in range(replays):
        strategy = XNES(history.means[0], history.covariances[0].astype(float), count, SEED)
        rows = []
        for g in range(generations + 1):
            if g:
                strategy.tell(strategy.ask(), orders[g - 1][r])
            covariance = strategy.covariance
            rows.append(
                [
                    covariance[i, j] / np.sqrt(covariance[i, i] * covariance[j, j])
                    for i in range(SIZE)
                    for j in range(i + 1, SIZE)
                ]
            )
        out.append(np.abs(np.array(rows) - rows[0]))
    return np.stack(out, axis=1)


def test_the_summary_is_that_of_all_replays():
    history = searched(noise, 4)
    found = null_search(history, SEED, 6)
    changes = changes_by_hand(history, 6)
    for g in range(5):
        np.testing.assert_allclose(found.quantiles[g], np.quantile(changes[g], LEVELS), rtol=1e-5, atol=1e-8)
        p99 = np.quantile(changes[g], 0.99)
        assert found.p99[g] == pytest.approx(p99, abs=1e-12)
        assert found.above[:, g].tolist() == [int((row > p99).sum()) for row in changes[g]]
        np.testing.assert_allclose(found.strongest[:, g], changes[g].max(axis=1), rtol=1e-5, atol=1e-8)
        own = np.quantile(changes[g], LEVELS, axis=1)
        np.testing.assert_allclose(found.low[g], np.quantile(own, 0.025, axis=1), rtol=1e-5, atol=1e-8)
    assert found.eigen_low.shape == (5, SIZE)
    assert (found.eigen_low <= found.eigen_high).all()
    np.testing.assert_allclose(found.eigen_high[0], 1, atol=1e-6)


def test_the_same_seed_gives_the_same_null():
    history = searched(noise, 3)
    first, second = null_search(history, SEED, 4), null_search(history, SEED, 4)
    np.testing.assert_array_equal(first.quantiles, second.quantiles)
    np.testing.assert_array_equal(first.above, second.above)
    assert (null_search(history, SEED + 1, 4).quantiles[-1] != first.quantiles[-1]).any()


def test_a_real_dependence_stands_out_and_noise_does_not():
    strong, nothing = searched(tied, 60), searched(noise, 60)
    for history, stands_out in ((strong, True), (nothing, False)):
        null = null_search(history, SEED, 40)
        change = np.abs(history.correlation(60) - history.correlation(0))
        top = change[np.triu_indices(SIZE, 1)].max()
        assert (top > np.quantile(null.strongest[:, -1], 0.95)) == stands_out
    change = np.abs(strong.correlation(60))
    np.fill_diagonal(change, 0)
    assert {int(i) for i in np.unravel_index(change.argmax(), change.shape)} == {0, 1}


def test_large_searches_are_replayed_less_often():
    assert [replays_of(s) for s in (8, 84, 200, 408, 1000, 5000)] == [200, 200, 200, 98, 40, 40]


def test_a_request_to_stop_takes_effect_between_two_replays():
    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        null_search(searched(noise, 3), SEED, 2, check=check)
    assert len(asked) == 5


def test_every_generation_is_reported():
    seen = []
    null_search(searched(noise, 3), SEED, 2, seen.append)
    assert seen == [0, 1, 2, 3]
