"""The search for factors: xNES over one factor a structure, recorded generation by generation, resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from snapvit.artifacts import Doubles, SearchHistory, Topology
from snapvit.method.xnes import XNES, XnesState


@dataclass(frozen=True)
class SearchState:
    """Where a search stands after a whole generation: enough to go on to the same result."""

    history: SearchHistory
    strategy: XnesState


def start_mean(topology: Topology) -> Doubles:
    """(S,) 1.2 at the first block falling to 0.8 at the last, the same for a block's MLP and its heads."""
    by_block = np.linspace(1.2, 0.8, topology.blocks)
    return by_block[topology.structure_depth()]


def start_search(
    mean: Doubles, covariance: Doubles | None, population: int | None, pairs: int, seed: int
) -> SearchState:
    """A search before its first generation. covariance (S, S), None for the identity; `pairs` sparsity pairs."""
    strategy = XNES(mean, covariance, population, seed)
    count, size = strategy.population, len(mean)
    history = SearchHistory(
        factors=np.abs(strategy.mean),
        means=strategy.mean[None],
        covariances=strategy.covariance[None].astype(np.float32),
        individuals=np.empty((0, count, size), np.float32),
        fitness=np.empty((0, count, pairs)),
        mixings=np.empty((0, count, count)),
    )
    return SearchState(history, strategy.state())


def search(
    state: SearchState,
    objective: Callable[[Doubles], Doubles],
    generations: int,
    over: Callable[[Callable[[Doubles], Doubles], Doubles], Iterable[Doubles]] = map,
) -> Iterator[SearchState]:
    """Yield the state after each generation until there are `generations`.

    objective: individual (S,) to its value at each pair (P,). The best individual seen is kept as absolute factors.
    over: has the objective judge the individuals (p, S) of a generation, in their order.
    An exception from the objective leaves the last state yielded valid.
    """
    population = state.history.individuals.shape[1]
    strategy = XNES.restored(state.strategy, population)
    history = state.history
    while strategy.generation < generations:
        individuals = strategy.ask()
        fitness = np.stack(list(over(objective, individuals)))
        mixing = strategy.tell(individuals, fitness.mean(axis=1))
        history = _recorded(history, strategy, individuals, fitness, mixing)
        yield SearchState(history, strategy.state())


def rewound(start: SearchState, longer: SearchState, generations: int) -> SearchState:
    """The state that the search which became `longer` was in after so many generations, to the last bit.

    start: of the same search, before its first generation. Nothing is evaluated: the strategy draws the same
    individuals again and is told what was measured of them.
    """
    strategy, history = XNES.restored(start.strategy, start.history.individuals.shape[1]), start.history
    for fitness in longer.history.fitness[:generations]:
        individuals = strategy.ask()
        mixing = strategy.tell(individuals, fitness.mean(axis=1))
        history = _recorded(history, strategy, individuals, fitness, mixing)
    return SearchState(history, strategy.state())


def _recorded(
    history: SearchHistory, strategy: XNES, individuals: Doubles, fitness: Doubles, mixing: Doubles
) -> SearchHistory:
    means = fitness.mean(axis=1)
    means = np.where(np.isfinite(means), means, np.inf)
    earlier = history.individual_fitness
    best_before = np.min(earlier, where=np.isfinite(earlier), initial=np.inf)
    best = int(means.argmin())
    return replace(
        history,
        factors=np.abs(individuals[best]) if means[best] < best_before else history.factors,
        means=np.concatenate([history.means, strategy.mean[None]]),
        individuals=np.concatenate([history.individuals, individuals[None].astype(np.float32)]),
        fitness=np.concatenate([history.fitness, fitness[None]]),
        mixings=np.concatenate([history.mixings.reshape(-1, *mixing.shape), mixing[None]]),
    )
