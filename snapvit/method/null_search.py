"""How much correlation the search's estimate shows by chance: the same search with ranks drawn at random.

The replays start where the search started and draw the same normal numbers, so they differ from it in one thing alone:
which individuals are called good. A pair that moved no further in the search than in the replays says nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from snapvit.artifacts import Doubles, NullSearch, SearchHistory
from snapvit.method.cka import nearest_correlation
from snapvit.method.xnes import XNES

# fine at the top, where the strongest pairs are
LEVELS = np.unique(np.concatenate([np.linspace(0, 0.98, 50), 1 - np.logspace(-1.7, -4, 30), [1.0]]))
OUTLIERS = 0.99


def replay(history: SearchHistory, seed: int) -> XNES:
    """The search's strategy before its first generation; asked with the same seed it draws the same numbers."""
    covariance = history.covariances[0].astype(np.float64)
    if np.linalg.eigvalsh(covariance)[0] <= 0:  # stored in single precision, which may take the last bit of a CKA map
        covariance = nearest_correlation(covariance)
    return XNES(history.means[0], covariance, history.individuals.shape[1], seed)


def null_search(
    history: SearchHistory,
    seed: int,
    replays: int,
    done: Callable[[int], None] = lambda generation: None,
    check: Callable[[], None] = lambda: None,
) -> NullSearch:
    """Replay the search `replays` times under random ranks. `done` is called after each generation of all of them,
    `check` before each of one, and may raise to stop.

    Held are the replays' factors (R, S, S) and one generation's changes (R, pairs), 1.5 R S^2 doubles.

    seed: of the search. The ranks come from a generator of their own, seeded by it too, so the result is reproducible.
    """
    with threadpool_limits(1):  # on matrices of some hundred rows more threads only wait for one another
        return _replayed(history, seed, replays, done, check)


def _replayed(
    history: SearchHistory, seed: int, replays: int, done: Callable[[int], None], check: Callable[[], None]
) -> NullSearch:
    strategies = [replay(history, seed) for _ in range(replays)]
    ranks = np.random.default_rng([seed, replays])
    start = _correlation(strategies[0])
    pairs = np.triu_indices(len(start), 1)
    rows: list[tuple[np.ndarray, ...]] = []
    changes = np.empty((replays, len(pairs[0])))
    for generation in range(history.generations + 1):
        eigenvalues, quantiles = [], []  # of each replay: (S,), (Q,)
        for strategy, change in zip(strategies, changes, strict=True):
            check()
            if generation:
                individuals = strategy.ask()
                strategy.tell(individuals, ranks.permutation(strategy.population))
            correlation = _correlation(strategy)
            change[:] = np.abs(correlation[pairs] - start[pairs])
            eigenvalues.append(np.linalg.eigvalsh(correlation)[::-1])
            quantiles.append(np.quantile(change, LEVELS))
        own = np.stack(quantiles, axis=1)  # (Q, R)
        p99 = np.quantile(changes, OUTLIERS)
        rows.append(
            (
                np.quantile(changes, LEVELS),
                *np.quantile(own, (0.025, 0.975), axis=1),
                changes.max(axis=1),
                p99,
                (changes > p99).sum(axis=1),
                *np.quantile(eigenvalues, (0.025, 0.975), axis=0),
            )
        )
        done(generation)
    quantiles, low, high, strongest, p99s, above, eigen_low, eigen_high = (
        np.stack(column) for column in zip(*rows, strict=True)
    )
    return NullSearch(
        levels=LEVELS,
        quantiles=quantiles.astype(np.float32),
        low=low.astype(np.float32),
        high=high.astype(np.float32),
        strongest=strongest.T.astype(np.float32),
        p99=p99s,
        above=above.T.astype(np.int64),
        eigen_low=eigen_low.astype(np.float32),
        eigen_high=eigen_high.astype(np.float32),
    )


def _correlation(strategy: XNES) -> Doubles:
    covariance = strategy.covariance
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)
