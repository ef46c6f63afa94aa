"""Exponential natural evolution strategy (Glasmachers et al., 2010, algorithm 1 with one step size), ask and tell."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np

from snapvit.artifacts import Doubles
from snapvit.method.one_thread import ONE_THREAD


@dataclass(frozen=True)
class XnesState:
    """Everything a strategy needs to go on exactly where it stopped."""

    mean: Doubles  # (S,)
    factor: Doubles  # (S, S) A, the covariance being A A'
    generation: int
    rng: str  # state of the bit generator, as JSON


def default_population(dimension: int) -> int:
    """4 + floor(3 ln S)."""
    return 4 + math.floor(3 * math.log(dimension))


def utilities(population: int) -> Doubles:
    """(p,) weight with which each individual, best first, pulls the search towards itself. They sum to 0."""
    ranks = np.arange(1, population + 1)
    raw = np.maximum(0.0, math.log(population / 2 + 1) - np.log(ranks))
    return raw / raw.sum() - 1 / population


class XNES:
    """Minimises a function of S numbers by sampling from a normal distribution that learns its own covariance.

    opt = XNES(mean, covariance, seed=0)
    xs = opt.ask()                              # (p, S)
    opt.tell(xs, [f(x) for x in xs])            # lower is better; non-finite ranks last
    """

    @ONE_THREAD
    def __init__(
        self, mean: Doubles, covariance: Doubles | None = None, population: int | None = None, seed: int = 0
    ) -> None:
        dimension = len(mean)
        self.mean = np.array(mean, dtype=np.float64)
        self.factor = np.eye(dimension) if covariance is None else _symmetric_root(covariance)
        self.population = default_population(dimension) if population is None else population
        if self.population < 2:
            raise ValueError(f"a population of {self.population} cannot be ranked; at least 2 are needed")
        self.generation = 0
        self._rng = np.random.default_rng(seed)
        self._eta = 0.6 * (3 + math.log(dimension)) / (dimension * math.sqrt(dimension))
        self._utilities = utilities(self.population)

    @property
    @ONE_THREAD
    def covariance(self) -> Doubles:
        """(S, S) A A'."""
        return self.factor @ self.factor.T

    @ONE_THREAD
    def ask(self) -> Doubles:
        """(p, S) new individuals, x = mean + A z with z ~ N(0, I)."""
        z = self._rng.standard_normal((self.population, len(self.mean)))
        return self.mean + z @ self.factor.T

    @ONE_THREAD
    def tell(self, individuals: Doubles, fitness: Doubles | list[float]) -> Doubles:
        """Learn from the fitness (p,) of `individuals` (p, S). Lower is better; ties keep the order asked.

        Returns W (p, p), which says how: the covariance grows by D' W D, D (p, S) being how far the individuals lie
        from the mean that they were drawn around.
        """
        if np.shape(individuals) != (self.population, len(self.mean)) or len(fitness) != self.population:
            raise ValueError(
                f"{self.population} individuals of {len(self.mean)} numbers were asked; got {np.shape(individuals)} "
                f"and {len(fitness)} fitness values"
            )
        z = np.linalg.solve(self.factor, (individuals - self.mean).T)  # (S, p)
        order = np.argsort(np.where(np.isfinite(fitness), fitness, np.inf), kind="stable")
        weights = np.empty(self.population)
        weights[order] = self._utilities
        # sum_k u_k (z_k z_k' - I) is sum_k u_k z_k z_k', as the utilities sum to 0. So it acts within the p directions
        # drawn, and its exponential is the identity everywhere else: eigenvalues of a (p, p) matrix are enough.
        within, coordinates = np.linalg.qr(z)  # (S, m), (m, p), m = min(S, p)
        values, vectors = np.linalg.eigh(self._eta * (coordinates * weights) @ coordinates.T)
        stretched = within @ vectors
        self.mean = self.mean + self.factor @ (z @ weights)
        self.factor = self.factor + (self.factor @ stretched * np.expm1(values / 2)) @ stretched.T
        self.generation += 1
        back = np.linalg.pinv(coordinates) @ vectors  # z @ back is `stretched`
        return (back * np.expm1(values)) @ back.T

    def state(self) -> XnesState:
        """Snapshot; `restored` continues from it to the same numbers."""
        rng = json.dumps(self._rng.bit_generator.state)
        return XnesState(self.mean.copy(), self.factor.copy(), self.generation, rng)

    @classmethod
    def restored(cls, state: XnesState, population: int | None = None) -> XNES:
        """The strategy that `state` was taken from."""
        strategy = cls(state.mean, population=population)
        strategy.factor = state.factor.copy()
        strategy.generation = state.generation
        strategy._rng.bit_generator.state = json.loads(state.rng)
        return strategy


def _symmetric_root(covariance: Doubles) -> Doubles:
    values, vectors = np.linalg.eigh(covariance)
    if values[0] <= 0:
        raise ValueError(f"the covariance is not positive definite: its smallest eigenvalue is {values[0]:.3g}")
    return (vectors * np.sqrt(values)) @ vectors.T
