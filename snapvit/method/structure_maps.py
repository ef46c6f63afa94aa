"""What one reads out of a map between structures (S, S): block means, an order by similarity, its strongest pairs."""

from __future__ import annotations

from typing import Literal

import numpy as np

from snapvit.artifacts import Doubles, Ints, Topology

Kind = Literal["all", "mlp", "heads"]


def depth_order(topology: Topology, kind: Kind = "all") -> Ints:
    """(n,) the structures of this kind from the first block to the last, each block's MLP before its heads."""
    blocks, heads = topology.blocks, topology.heads
    head_table = blocks + np.arange(blocks * heads).reshape(blocks, heads)
    parts = {
        "all": np.column_stack([np.arange(blocks), head_table]),
        "mlp": np.arange(blocks),
        "heads": head_table,
    }
    return parts[kind].ravel().astype(np.int64)


def cluster_order(cka: np.ndarray, members: Ints) -> Ints:
    """(n,) `members` of the map (S, S) reordered so that similar ones are neighbours.

    Hierarchical clustering with average linkage on the distance 1 - CKA; among the orders that the tree allows, the one
    with the smallest sum of distances between neighbours (Bar-Joseph et al., 2001).
    """
    if len(members) < 3:
        return members
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    inside = cka[np.ix_(members, members)].astype(np.float64)
    distance = 1 - (inside + inside.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return members[leaves_list(tree)]


def block_means(values: np.ndarray, topology: Topology) -> Doubles:
    """(L, L) mean of the map over all pairs of one structure of block a and one of block b.

    A structure is not paired with itself. NaN entries, of structures that are cut away, are left out; a pair of blocks
    of which nothing is left is NaN.
    """
    pairs = values.astype(np.float64)
    np.fill_diagonal(pairs, np.nan)
    member = topology.structure_depth() == np.arange(topology.blocks)[:, None]  # (L, S)
    there = np.isfinite(pairs)
    counts = member.astype(np.float64) @ there @ member.T
    sums = member.astype(np.float64) @ np.where(there, pairs, 0) @ member.T
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def strongest_pairs(values: np.ndarray, members: Ints, count: int) -> Ints:
    """(count or fewer, 2) pairs of different `members` with the largest absolute values of the map (S, S)."""
    first, second = np.triu_indices(len(members), 1)
    pairs = np.column_stack([members[first], members[second]])
    size = np.abs(values[pairs[:, 0], pairs[:, 1]])
    finite = np.flatnonzero(np.isfinite(size))
    return pairs[finite[np.argsort(-size[finite], kind="stable")[:count]]]


def robust_range(values: np.ndarray, share: float = 0.99) -> float:
    """A bound that `share` of the absolute off-diagonal values of (..., n, n) do not exceed; positive."""
    off = ~np.eye(values.shape[-1], dtype=bool)
    size = np.abs(values[..., off])
    size = size[np.isfinite(size)]
    bound = float(np.quantile(size, share)) if len(size) else 0.0
    return bound if bound > 0 else 1.0
