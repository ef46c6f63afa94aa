"""The search loop: it can be stopped and gone on with, and keeps the best it saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from snapvit.artifacts import SearchHistory, Topology
from snapvit.errors import Cancelled
from snapvit.method.cka import nearest_correlation
from snapvit.method.search import SearchState, search, start_mean, start_search
from snapvit.method.xnes import XnesState
from snapvit.store.codec import encode

Objective = Callable[[np.ndarray], np.ndarray]
TARGET = np.array([0.5, 2.0, 1.0, -1.0])


def bowl(x: np.ndarray) -> np.ndarray:
    """Two pairs, each a bowl of its own steepness."""
    return np.array([((x[:4] - TARGET) ** 2).sum(), 3 * abs(x[0] * x[1] - 1)])


class Recording:
    """An objective that remembers what it was asked and what it said."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.asked, self.said = objective, [], []

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.asked.append(x.copy())
        self.said.append(self.objective(x))
        return self.said[-1]


def start(seed: int = 0) -> SearchState:
    covariance = 0.5 * np.eye(4) + 0.5
    return start_search(np.array([1.2, 1.0, 1.0, 0.8]), covariance, population=6, pairs=2, seed=seed)


def last(state: SearchState, objective: Objective, generations: int) -> SearchState:
    *_, state = search(state, objective, generations)
    return state


def written_and_read(state: SearchState) -> SearchState:
    """The same numbers in new arrays, as from a file."""
    s = state.strategy
    history = SearchHistory(*(np.array(getattr(state.history, f.name)) for f in fields(SearchHistory)))
    return SearchState(history, XnesState(np.array(s.mean), np.array(s.factor), int(s.generation), str(s.rng)))


def assert_equal(a: SearchState, b: SearchState) -> None:
    for part in ("history", "strategy"):
        for name, value in vars(getattr(a, part)).items():
            np.testing.assert_array_equal(value, getattr(getattr(b, part), name), err_msg=name)


@pytest.mark.parametrize("stop", [1, 4, 8])
def test_resumed_search_equals_an_unbroken_one_bit_for_bit(stop):
    unbroken = last(start(), bowl, 9)
    resumed = last(written_and_read(last(start(), bowl, stop)), bowl, 9)
    assert_equal(resumed, unbroken)
    assert resumed.history.generations == 9


@pytest.mark.parametrize("generations", [0, 2])
def test_a_search_has_the_same_bits_with_any_number_of_threads(generations):
    noise = np.random.default_rng(0).standard_normal((300, 400))
    correlation = np.corrcoef(noise)  # its own bits may depend on threads

    def with_threads(threads: int) -> SearchState:
        with threadpool_limits(threads, user_api="blas"):
            covariance = nearest_correlation(correlation)
            state = start_search(np.ones(300), covariance, population=6, pairs=2, seed=0)
            return state if generations == 0 else last(state, bowl, generations)

    assert_equal(with_threads(4), with_threads(1))


def test_cancelled_search_loses_only_the_unfinished_generation():
    calls = 0

    def cancelled_in_fourth(x: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 3 * 6 + 2:
            raise Cancelled
        return bowl(x)

    seen = []
    with pytest.raises(Cancelled):
        for state in search(start(), cancelled_in_fourth, 9):
            seen.append(state)
    assert [s.history.generations for s in seen] == [1, 2, 3]
    assert_equal(last(seen[-1], bowl, 9), last(start(), bowl, 9))


def test_states_already_yielded_do_not_change():
    states = list(search(start(), bowl, 5))
    for generations, state in enumerate(states, 1):
        assert_equal(state, last(start(), bowl, generations))


def test_every_generations_covariance_follows_from_its_individuals():
    states = [start(), *search(start(), bowl, 9)]
    for generation, state in enumerate(states):
        factor = state.strategy.factor
        np.testing.assert_allclose(states[-1].history.covariance(generation), factor @ factor.T, rtol=1e-5, atol=1e-6)


def test_a_history_that_kept_covariances_whole_is_read_and_goes_on():
    """As runs of earlier versions have it, the shipped one among them."""
    states = [start(), *search(start(), bowl, 6)]
    whole = np.stack([states[-1].history.covariance(g) for g in range(4)]).astype(np.float32)
    usual = SearchHistory(**{f.name: getattr(states[3].history, f.name) for f in fields(SearchHistory)[:-1]})
    former = SearchState(replace(usual, covariances=whole), states[3].strategy)
    on = last(former, bowl, 6)
    assert (on.history.covariances.shape, on.history.mixings.shape) == ((4, 4, 4), (3, 6, 6))
    np.testing.assert_array_equal(on.strategy.factor, states[-1].strategy.factor)
    for generation in range(7):
        want = states[-1].history.covariance(generation)
        np.testing.assert_allclose(on.history.covariance(generation), want, rtol=1e-5, atol=1e-6)
    assert not len(usual.mixings)


@pytest.mark.parametrize("kept", [0, 3])
def test_many_generations_correlations_are_those_of_each(kept):
    history = last(start(), bowl, 6).history
    whole = np.stack([history.covariance(g) for g in range(kept + 1)]).astype(np.float32)
    history = replace(history, covariances=whole, mixings=history.mixings[kept:])
    asked = [0, 2, 5, 6, 1, 4]
    for generation, found in zip(asked, history.correlations(asked), strict=True):
        np.testing.assert_allclose(found, history.correlation(generation), rtol=1e-6)


def test_what_a_large_search_stores_grows_by_its_individuals_alone():
    """Of 300 structures and 20 generations: the covariances would be 7.6 MB, and 180 MB of a ViT-g's 1,000 and 45."""
    state = start_search(np.ones(300), None, None, 1, 0)
    sizes = []
    for after in search(state, lambda x: x[:1], 20):
        sizes.append(sum(array.nbytes for array in encode(after)[0].values()))
    population = state.history.individuals.shape[1]
    assert sizes[0] < 1.6 * 300**2 * 8
    assert max(np.diff(sizes)) < 8 * 300 * (population + 4) + 16 * population**2


def test_history_holds_what_was_evaluated():
    objective = Recording(bowl)
    history = last(start(), objective, 7).history
    asked, said = np.stack(objective.asked).reshape(7, 6, 4), np.stack(objective.said).reshape(7, 6, 2)
    np.testing.assert_array_equal(history.individuals, asked.astype(np.float32))
    np.testing.assert_array_equal(history.fitness, said)
    np.testing.assert_allclose(history.individual_fitness, said.mean(axis=2))
    assert history.means.shape == (8, 4)
    assert (history.covariances.shape, history.mixings.shape) == ((1, 4, 4), (7, 6, 6))
    np.testing.assert_array_equal(history.means[0], [1.2, 1.0, 1.0, 0.8])
    np.testing.assert_allclose(history.covariances[0], 0.5 * np.eye(4) + 0.5, atol=1e-6)
    assert history.non_finite == 0


@pytest.mark.parametrize("seed", range(4))
def test_factors_are_those_of_the_best_individual_seen(seed):
    objective = Recording(lambda x: np.array([np.sin(37 * x).sum(), x[0]]))  # rugged: the best is not in the last one
    history = last(start(seed), objective, 12).history
    means = np.stack(objective.said).mean(axis=1)
    np.testing.assert_array_equal(history.factors, np.abs(objective.asked[int(means.argmin())]))


def test_individuals_without_a_finite_fitness_are_counted_and_never_the_best():
    def partly(x: np.ndarray) -> np.ndarray:
        bad = {0: np.nan, 1: -np.inf}.get(int(abs(x[2]) * 10) % 4)
        return bowl(x) if bad is None else np.array([bad, 0.0])

    objective = Recording(partly)
    history = last(start(), objective, 10).history
    means = np.stack(objective.said).mean(axis=1)
    finite = np.isfinite(means)
    assert 5 < (~finite).sum() < 55
    assert history.non_finite == (~finite).sum()
    np.testing.assert_array_equal(
        history.factors, np.abs(objective.asked[int(np.where(finite, means, np.inf).argmin())])
    )
    assert np.isfinite(history.means).all()
    assert np.isfinite(history.covariance(10)).all()


def test_without_any_finite_fitness_the_start_is_kept():
    history = last(start(), lambda x: np.full(2, np.nan), 3).history
    np.testing.assert_array_equal(history.factors, [1.2, 1.0, 1.0, 0.8])
    assert history.non_finite == 18


def test_correlation_estimate_is_that_of_the_search_distribution():
    state = last(start(), bowl, 6)
    covariance = state.strategy.factor @ state.strategy.factor.T
    found = state.history.correlation(6)
    for i, j in np.ndindex(4, 4):
        assert found[i, j] == pytest.approx(covariance[i, j] / (covariance[i, i] * covariance[j, j]) ** 0.5, abs=1e-6)
    np.testing.assert_allclose(state.history.correlation(0), 0.5 * np.eye(4) + 0.5, atol=1e-6)


def test_a_finished_search_evaluates_nothing_more():
    state = last(start(), bowl, 3)

    def never(x: np.ndarray) -> np.ndarray:
        raise AssertionError("evaluated")

    assert list(search(state, never, 3)) == []
    assert list(search(start(), never, 0)) == []


def test_seeds_differ_and_repeat():
    a, b, c = (last(start(seed), bowl, 2) for seed in (1, 1, 2))
    assert_equal(a, b)
    assert not np.array_equal(a.history.means, c.history.means)


@pytest.mark.parametrize(
    ("blocks", "heads", "want"),
    [
        (3, 2, [1.2, 1.0, 0.8, 1.2, 1.2, 1.0, 1.0, 0.8, 0.8]),
        (5, 1, [1.2, 1.1, 1.0, 0.9, 0.8] * 2),
        (1, 2, [1.2, 1.2, 1.2]),
    ],
)
def test_start_falls_from_1_2_to_0_8_over_depth(blocks, heads, want):
    topology = Topology(blocks, heads, hidden=4, width=2, head_width=1, tokens=5)
    np.testing.assert_allclose(start_mean(topology), want, atol=1e-15)
