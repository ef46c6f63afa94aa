"""Reading maps between structures, against loops, brute force and scipy."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from snapvit.artifacts import Topology
from snapvit.method.structure_maps import block_means, cluster_order, depth_order, robust_range, strongest_pairs

TOPOLOGY = Topology(blocks=3, heads=2, hidden=8, width=4, head_width=2, tokens=5)


def symmetric(size: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(0, 1, (size, size)).astype(np.float32)
    values = (values + values.T) / 2
    np.fill_diagonal(values, 1)
    return values


def test_depth_order_names_each_block_in_turn():
    assert [TOPOLOGY.structure_name(i) for i in depth_order(TOPOLOGY)[:4]] == [
        "Block 1 MLP",
        "Block 1 head 1",
        "Block 1 head 2",
        "Block 2 MLP",
    ]
    assert sorted(depth_order(TOPOLOGY)) == list(range(9))
    assert depth_order(TOPOLOGY, "mlp").tolist() == [0, 1, 2]
    assert depth_order(TOPOLOGY, "heads").tolist() == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("absent", [[], [4], [1, 5, 6]])
def test_block_means_equal_naive_loops(absent):
    values = symmetric(9)
    values[absent], values[:, absent] = np.nan, np.nan
    given = values.copy()
    found = block_means(values, TOPOLOGY)
    depth = TOPOLOGY.structure_depth()
    for a in range(3):
        for b in range(3):
            pairs = [
                float(values[i, j])
                for i in range(9)
                for j in range(9)
                if depth[i] == a and depth[j] == b and i != j and i not in absent and j not in absent
            ]
            if pairs:
                assert found[a, b] == pytest.approx(sum(pairs) / len(pairs), rel=1e-6)
            else:
                assert np.isnan(found[a, b])
    np.testing.assert_array_equal(values, given)


def test_cluster_order_keeps_the_clusters_of_scipy_together():
    rng = np.random.default_rng(3)
    group = rng.integers(0, 3, 12)
    values = np.where(group[:, None] == group, 0.8, 0.1) + 0.05 * symmetric(12, 4)
    np.fill_diagonal(values, 1)
    members = np.arange(12)[::-1]
    order = cluster_order(values, members)
    assert sorted(order) == list(range(12))
    distance = 1 - values
    np.fill_diagonal(distance, 0)
    labels = fcluster(linkage(squareform(distance, checks=False), "average"), 3, "maxclust")
    changes = sum(labels[a] != labels[b] for a, b in pairwise(order))
    assert changes == 2
    assert sum(group[a] != group[b] for a, b in pairwise(order)) == 2


def test_no_order_that_the_tree_allows_has_nearer_neighbours():
    values, members = symmetric(7, 5), np.arange(7)
    distance = 1 - values.astype(np.float64)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    clusters = [{i} for i in range(7)]
    for left, right, *_ in tree:
        clusters.append(clusters[int(left)] | clusters[int(right)])

    def allowed(order: tuple[int, ...]) -> bool:
        return all(
            max(order.index(i) for i in c) - min(order.index(i) for i in c) == len(c) - 1
            for c in clusters
            if len(c) > 1
        )

    def length(order: tuple[int, ...]) -> float:
        return sum(distance[a, b] for a, b in pairwise(order))

    best = min(length(order) for order in permutations(range(7)) if allowed(order))
    found = tuple(int(i) for i in cluster_order(values, members))
    assert allowed(found)
    assert length(found) == pytest.approx(best)


@pytest.mark.parametrize("few", [[], [2], [5, 1]])
def test_few_structures_need_no_clustering(few):
    members = np.array(few, dtype=np.int64)
    assert cluster_order(symmetric(9), members).tolist() == few


def test_strongest_pairs_are_those_of_a_sorted_list():
    values = symmetric(9, 6) - 0.5
    values[2], values[:, 2] = np.nan, np.nan
    members = np.array([1, 2, 4, 7, 8])
    naive = sorted(
        ((i, j) for n, i in enumerate(members) for j in members[n + 1 :] if 2 not in (i, j)),
        key=lambda pair: -abs(values[pair]),
    )
    assert [tuple(p) for p in strongest_pairs(values, members, 4)] == naive[:4]
    assert len(strongest_pairs(values, members, 100)) == 6


def test_robust_range_leaves_out_the_diagonal_and_a_hundredth():
    values = np.eye(101)
    values[0, 1:] = np.arange(1, 101) / 1000
    values[1:, 0] = -values[0, 1:]
    off = np.sort(np.abs(values[~np.eye(101, dtype=bool)]))
    assert robust_range(values) == pytest.approx(np.quantile(off, 0.99))
    assert robust_range(np.eye(4)) == 1.0
    assert robust_range(np.full((2, 2), np.nan)) == 1.0
