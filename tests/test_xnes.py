"""xNES against the `cmaes` library, fed the same samples, and against what the algorithm promises."""

from __future__ import annotations

from collections.abc import Callable

import cmaes
import numpy as np
import pytest

from snapvit.method.xnes import XNES, XnesState, default_population

Objective = Callable[[np.ndarray], float]


def ellipsoid(dimension: int, condition: float, seed: int = 0) -> tuple[Objective, np.ndarray]:
    """A rotated quadratic bowl and where its bottom is."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    scales = np.logspace(0, np.log10(condition), dimension)
    bottom = rng.normal(size=dimension)
    return lambda x: float(scales @ (rotation @ (x - bottom)) ** 2), bottom


def distribution_of(optimiser: cmaes.XNES) -> tuple[np.ndarray, np.ndarray]:
    """Mean and A of cmaes' search, through `ask` alone: x = mean + A z for numbers z that we know."""
    optimiser.reseed_rng(1)
    x = np.stack([optimiser.ask() for _ in range(4 * optimiser.dim)])
    z = np.random.RandomState(1).randn(*x.shape)
    solution = np.linalg.lstsq(np.column_stack([np.ones(len(z)), z]), x, rcond=None)[0]
    return solution[0], solution[1:].T


@pytest.mark.parametrize("population", [None, 5, 20])
def test_steps_equal_those_of_cmaes(population):
    """cmaes updates scale and shape apart, at one rate: their product sigma * B is our A."""
    function, _ = ellipsoid(6, condition=30)
    start = np.linspace(1.2, 0.8, 6)
    ours = XNES(start, population=population, seed=3)
    theirs = cmaes.XNES(mean=start, sigma=1.0, population_size=population)
    assert ours.population == theirs.population_size
    for generation in range(120):
        individuals = ours.ask()
        fitness = np.array([function(x) for x in individuals])
        ours.tell(individuals, fitness)
        theirs.tell([(x.copy(), f) for x, f in zip(individuals, fitness, strict=True)])
        if generation % 20 == 19:
            mean, factor = distribution_of(theirs)
            np.testing.assert_allclose(ours.mean, mean, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(ours.factor, factor, rtol=1e-6, atol=1e-7 * np.abs(factor).max())
            covariance = factor @ factor.T
            np.testing.assert_allclose(ours.covariance, covariance, rtol=1e-6, atol=1e-7 * covariance.max())
    assert np.linalg.cond(ours.covariance) > 3, "the run must have learned a shape"


def test_starting_covariance_is_a_change_of_coordinates():
    """xNES is affine invariant: from covariance R R' it does on x what cmaes does, from I, on R^-1 x."""
    function, _ = ellipsoid(5, condition=10)
    rng = np.random.default_rng(2)
    samples = rng.normal(size=(50, 5)) @ rng.normal(size=(5, 5))
    covariance = np.corrcoef(samples.T)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors @ np.diag(values**0.5) @ vectors.T
    start = np.linspace(1.2, 0.8, 5)
    ours = XNES(start, covariance, seed=0)
    theirs = cmaes.XNES(mean=np.linalg.solve(root, start), sigma=1.0)
    np.testing.assert_allclose(ours.covariance, covariance, atol=1e-12)
    for _ in range(40):
        individuals = ours.ask()
        fitness = [function(x) for x in individuals]
        ours.tell(individuals, fitness)
        theirs.tell([(np.linalg.solve(root, x), f) for x, f in zip(individuals, fitness, strict=True)])
    mean, factor = distribution_of(theirs)
    np.testing.assert_allclose(ours.mean, root @ mean, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours.covariance, root @ factor @ factor.T @ root.T, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", [0, 1])
def test_finds_the_bottom_of_a_rotated_ellipsoid(seed):
    function, bottom = ellipsoid(5, condition=1e3, seed=seed)
    optimiser = XNES(np.zeros(5), seed=seed)
    for _ in range(600):
        individuals = optimiser.ask()
        optimiser.tell(individuals, [function(x) for x in individuals])
    assert function(optimiser.mean) < 1e-10
    np.testing.assert_allclose(optimiser.mean, bottom, atol=1e-5)


def test_samples_have_the_mean_and_covariance_asked_for():
    covariance = np.array([[2.0, 0.9, 0], [0.9, 1.0, -0.3], [0, -0.3, 0.5]])
    x = XNES(np.array([1.0, -2, 3]), covariance, population=40_000, seed=0).ask()
    np.testing.assert_allclose(x.mean(axis=0), [1, -2, 3], atol=5 * (2 / 40_000) ** 0.5)
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.05)


@pytest.mark.parametrize(("dimension", "population"), [(1, 4), (3, 7), (84, 17), (156, 19)])
def test_population_follows_the_formula(dimension, population):
    assert default_population(dimension) == population


def test_non_finite_fitness_ranks_last():
    fitness = np.array([3.0, np.nan, 1.0, -np.inf, 2.0, np.inf])
    told, plain = XNES(np.zeros(3), population=6, seed=0), XNES(np.zeros(3), population=6, seed=0)
    individuals = told.ask()
    told.tell(individuals, fitness)
    plain.tell(individuals, np.array([3.0, 1e300, 1.0, 1e300, 2.0, 1e300]))
    np.testing.assert_array_equal(told.mean, plain.mean)
    np.testing.assert_array_equal(told.factor, plain.factor)
    assert np.isfinite(told.factor).all()


def test_only_the_order_of_fitness_counts():
    a, b = XNES(np.zeros(4), seed=1), XNES(np.zeros(4), seed=1)
    individuals = a.ask()
    fitness = individuals[:, 0]
    a.tell(individuals, list(fitness))
    b.tell(individuals[::-1], np.exp(5 * fitness[::-1]))
    np.testing.assert_allclose(a.mean, b.mean, atol=1e-12)
    np.testing.assert_allclose(a.covariance, b.covariance, atol=1e-12)
    assert a.mean[0] < 0, "lower is better"


def run(optimiser: XNES, generations: int) -> list[np.ndarray]:
    function, _ = ellipsoid(5, condition=10)
    path = []
    for _ in range(generations):
        individuals = optimiser.ask()
        optimiser.tell(individuals, [function(x) for x in individuals])
        path.append(individuals)
    return path


def test_restored_strategy_goes_on_to_the_same_bits():
    unbroken = XNES(np.ones(5), population=9, seed=4)
    run(unbroken, 3)
    state = unbroken.state()
    rest = run(unbroken, 5)  # must not reach back into the state taken
    state = XnesState(state.mean.copy(), state.factor.copy(), int(state.generation), str(state.rng))
    restored = XNES.restored(state, population=9)
    assert restored.generation == 3
    for a, b in zip(run(restored, 5), rest, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(restored.mean, unbroken.mean)
    np.testing.assert_array_equal(restored.factor, unbroken.factor)
    assert restored.generation == unbroken.generation == 8


def test_what_is_handed_in_is_left_as_it_was():
    mean, covariance = np.ones(4), np.diag([1.0, 2, 3, 4])
    optimiser = XNES(mean, covariance, seed=0)
    individuals = optimiser.ask()
    fitness = np.arange(optimiser.population, dtype=float)[::-1].copy()
    given = individuals.copy(), fitness.copy()
    optimiser.tell(individuals, fitness)
    np.testing.assert_array_equal(individuals, given[0])
    np.testing.assert_array_equal(fitness, given[1])
    np.testing.assert_array_equal(mean, np.ones(4))
    np.testing.assert_array_equal(covariance, np.diag([1.0, 2, 3, 4]))


def test_what_is_handed_in_may_change_afterwards():
    def second_generation(spoil: bool) -> np.ndarray:
        mean = np.ones(4)
        optimiser = XNES(mean, seed=0)
        individuals = optimiser.ask()
        fitness = individuals[:, 1].copy()
        optimiser.tell(individuals, fitness)
        if spoil:
            for array in (mean, individuals, fitness, optimiser.state().mean, optimiser.state().factor):
                array[:] = 1e6
        return optimiser.ask()

    np.testing.assert_array_equal(second_generation(spoil=True), second_generation(spoil=False))


@pytest.mark.parametrize(
    ("individuals", "fitness"), [((5, 4), 6), ((6, 3), 6), ((6, 4), 5), ((4, 6), 6), ((24,), 6), ((6, 4), 7)]
)
def test_wrong_shapes_are_refused(individuals, fitness):
    optimiser = XNES(np.zeros(4), population=6)
    with pytest.raises(ValueError, match="6 individuals of 4"):
        optimiser.tell(np.zeros(individuals), np.zeros(fitness))
    assert optimiser.generation == 0


@pytest.mark.parametrize("smallest", [0.0, -0.5])
def test_a_covariance_that_is_none_is_refused(smallest):
    with pytest.raises(ValueError, match="positive definite"):
        XNES(np.zeros(2), np.diag([1.0, smallest]))


@pytest.mark.parametrize("population", [0, 1])
def test_a_population_that_cannot_be_ranked_is_refused(population):
    with pytest.raises(ValueError, match="population"):
        XNES(np.zeros(3), population=population)
