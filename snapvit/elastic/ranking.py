"""One ranking for all neurons, one for all heads, and the cut that a pair of sparsities takes from them."""

from __future__ import annotations

import math

import numpy as np

from snapvit.artifacts import Curvature, Cut, Doubles, Floors, Ints, Ranking, Scores
from snapvit.errors import InputError

# 0.29 * 100 is 28.999999999999996 in binary; a product that is a whole number on paper must not fall below it.
ROUNDING = 1e-9


def final_scores(curvature: Curvature, factors: Doubles) -> Scores:
    """Local curvature times the absolute factor (S,) of the structure that each neuron or head belongs to."""
    blocks, heads = curvature.head.shape
    size = np.abs(np.asarray(factors, dtype=np.float64))
    return Scores(
        mlp=curvature.mlp * size[:blocks, None],
        head=curvature.head * size[blocks:].reshape(blocks, heads),
    )


def rank(scores: Scores, floors: Floors) -> Ranking:
    """Order all neurons and all heads by score, lowest first; the best of every block are protected.

    Ties go by index, so a score table gives the same model everywhere. Raises InputError for NaN or infinite scores.
    """
    for name, table in (("MLP", scores.mlp), ("head", scores.head)):
        bad = int((~np.isfinite(table)).sum())
        if bad:
            raise InputError(f"{bad} of {table.size} {name} scores are not finite numbers, so they cannot be ranked.")
    mlp, mlp_protected = _order(scores.mlp, floors.neurons)
    head, head_protected = _order(scores.head, floors.heads)
    return Ranking(mlp, head, mlp_protected, head_protected, blocks=len(scores.mlp))


def _order(scores: Doubles, floor: float) -> tuple[Ints, int]:
    """Flat indices of (L, W) scores, first to go first, and how many at the end are protected."""
    blocks, width = scores.shape
    # A floor promises that every block keeps something, also where a share of few heads is less than one.
    protected = max(1, math.floor(floor * width + ROUNDING)) if floor > 0 else 0
    rank_in_block = np.argsort(np.argsort(scores, axis=1, kind="stable"), axis=1, kind="stable")
    is_protected = (rank_in_block >= width - protected).ravel()
    order = np.lexsort((np.arange(scores.size), scores.ravel(), is_protected))
    return order.astype(np.int64), protected * blocks


def check_ratio(name: str, ratio: float) -> None:
    """Raise InputError unless 0 <= ratio < 1."""
    if not 0 <= ratio < 1:
        raise InputError(f"The {name} sparsity is {ratio}; it must be at least 0 and below 1.")


def cut_at(ranking: Ranking, mlp: float, heads: float) -> Cut:
    """Remove floor(ratio * count) neurons and heads, fewer where only protected ones are left."""
    check_ratio("MLP", mlp)
    check_ratio("head", heads)
    return Cut(
        mlp,
        heads,
        _kept(ranking.mlp, ranking.mlp_protected, ranking.blocks, mlp),
        _kept(ranking.head, ranking.head_protected, ranking.blocks, heads),
    )


def _removed(count: int, protected: int, ratio: float) -> int:
    return min(math.floor(ratio * count + ROUNDING), count - protected)


def _kept(order: Ints, protected: int, blocks: int, ratio: float) -> tuple[int, ...]:
    staying = order[_removed(len(order), protected, ratio) :]
    return tuple(np.bincount(staying // (len(order) // blocks), minlength=blocks).tolist())


def removal_sparsity(order: Ints, protected: int, blocks: int) -> Doubles:
    """(L, W) the smallest share removed at which each structure is gone; NaN for protected ones, which never go."""
    share = (np.arange(len(order)) + 1) / len(order)
    share[len(order) - protected :] = np.nan
    by_index = np.empty(len(order))
    by_index[order] = share
    return by_index.reshape(blocks, -1)
