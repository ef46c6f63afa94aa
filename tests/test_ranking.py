"""Ranking, floors and cuts against sorting plain lists with exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from snapvit.artifacts import Curvature, Floors, Ranking, Scores
from snapvit.elastic.ranking import cut_at, final_scores, rank, removal_sparsity
from snapvit.errors import InputError

RATIOS = (0.0, 0.07, 0.15, 0.29, 0.35, 0.5, 0.55, 0.65, 0.8, 0.95, 0.999)


def random_scores(kind: str) -> Scores:
    rng = np.random.default_rng(0)
    if kind == "ties":  # many equal scores, in all blocks
        return Scores(rng.integers(0, 4, (3, 20)).astype(float), rng.integers(0, 2, (3, 6)).astype(float))
    if kind == "all equal":
        return Scores(np.ones((3, 20)), np.ones((3, 6)))
    return Scores(rng.exponential(size=(3, 20)) * [[1], [1e-3], [1e3]], rng.normal(size=(3, 6)))


@pytest.mark.parametrize("floors", [Floors(), Floors(0, 0), Floors(0.29, 0.5), Floors(1, 1)], ids=str)
@pytest.mark.parametrize("kind", ["apart", "ties", "all equal"])
def test_cuts_equal_a_sort_by_hand(naive_kept, kind, floors):
    scores = random_scores(kind)
    ranking = rank(scores, floors)
    for ratio in RATIOS:
        cut = cut_at(ranking, ratio, ratio)
        for table, floor, counts, order in (
            (scores.mlp, floors.neurons, cut.kept_neurons, ranking.neuron_order()),
            (scores.head, floors.heads, cut.kept_heads, ranking.head_order()),
        ):
            kept = [sorted(o[:n].tolist()) for o, n in zip(order, counts, strict=True)]
            assert kept == naive_kept(table, floor, ratio), ratio


def test_floors_stop_a_cut_and_zero_lets_a_block_go():
    scores = Scores(np.arange(40.0).reshape(2, 20), np.arange(10.0).reshape(2, 5))
    held = cut_at(rank(scores, Floors()), 0.99, 0.99)
    assert held.kept_neurons == (1, 1)
    assert held.kept_heads == (1, 1)
    free = cut_at(rank(scores, Floors(0, 0)), 0.5, 0.5)
    assert free.kept_neurons == (0, 20)
    assert free.kept_heads == (0, 5)
    nearly_all = cut_at(rank(scores, Floors(0, 0)), 0.99, 0.99)
    assert nearly_all.kept_neurons == (0, 1)
    assert nearly_all.kept_heads == (0, 1)


def test_ranking_is_a_permutation_with_protected_ones_last():
    scores = random_scores("ties")
    ranking = rank(scores, Floors(0.29, 0.5))
    for order, table, protected in (
        (ranking.mlp, scores.mlp, 3 * 5),
        (ranking.head, scores.head, 3 * 3),
    ):
        assert sorted(order.tolist()) == list(range(table.size))
        free = table.ravel()[order[: len(order) - protected]]
        assert (np.diff(free) >= 0).all()
        blocks = order[len(order) - protected :] // table.shape[1]
        assert np.bincount(blocks).tolist() == [protected // 3] * 3
    assert (ranking.mlp_protected, ranking.head_protected) == (15, 9)


def test_orders_put_the_best_of_each_block_first():
    scores = random_scores("apart")
    ranking = rank(scores, Floors())
    np.testing.assert_array_equal(ranking.neuron_order(), np.argsort(-scores.mlp, axis=1))
    np.testing.assert_array_equal(ranking.head_order(), np.argsort(-scores.head, axis=1))


@pytest.mark.parametrize("kind", ["apart", "ties"])
def test_a_larger_cut_keeps_nothing_that_a_smaller_one_removed(kind):
    ranking = rank(random_scores(kind), Floors())
    before = None
    for ratio in np.linspace(0, 0.99, 67):
        cut = cut_at(ranking, ratio, ratio)
        counts = np.array(cut.kept_neurons + cut.kept_heads)
        assert before is None or (counts <= before).all()
        before = counts


@pytest.mark.parametrize("blocks_and_width", [(12, 576), (10, 10), (3, 7), (12, 6)], ids=str)
def test_the_count_removed_is_exactly_the_floor(blocks_and_width):
    """In binary 0.29 * 100 is 28.999...; decimals are what people and files write."""
    table = np.random.default_rng(0).random(blocks_and_width)
    ranking = rank(Scores(table, table), Floors(0, 0))
    for hundredths in range(100):
        ratio = hundredths / 100
        want = int(Fraction(hundredths, 100) * table.size)
        cut = cut_at(ranking, ratio, ratio)
        assert table.size - sum(cut.kept_neurons) == want
        assert table.size - sum(cut.kept_heads) == want


def test_known_counts():
    ranking = rank(Scores(np.random.default_rng(0).random((12, 576)), np.ones((10, 10))), Floors())
    assert 6912 - sum(cut_at(ranking, 0.35, 0).kept_neurons) == 2419
    assert 100 - sum(cut_at(ranking, 0, 0.29).kept_heads) == 29
    assert 100 - sum(cut_at(ranking, 0, 0.29 - 1e-6).kept_heads) == 28


def test_every_count_can_be_asked_for_as_a_share():
    table = np.random.default_rng(0).random((7, 11))
    ranking = rank(Scores(table, table), Floors(0, 0))
    for gone in range(77):
        assert sum(cut_at(ranking, gone / 77, 0).kept_neurons) == 77 - gone


@pytest.mark.parametrize("floors", [Floors(0, 0), Floors(0.29, 0.5)], ids=str)
@pytest.mark.parametrize("shape", [(3, 7), (12, 31)], ids=str)
def test_removal_sparsity_says_when_each_structure_goes(shape, floors):
    blocks, width = shape
    table = np.random.default_rng(1).random(shape)
    ranking = rank(Scores(table, table), floors)

    def kept(sparsity: float) -> np.ndarray:
        counts = cut_at(ranking, sparsity, 0).kept_neurons
        there = np.zeros(shape, bool)
        for b, (order, count) in enumerate(zip(ranking.neuron_order(), counts, strict=True)):
            there[b, order[:count]] = True
        return there

    when = removal_sparsity(ranking.mlp, ranking.mlp_protected, blocks)
    assert when.shape == shape
    never = np.isnan(when)
    assert (never.sum(axis=1) == int(Fraction(str(floors.neurons)) * width)).all()
    assert (kept(0.999999)[never]).all()
    for unit in np.argwhere(~never):
        sparsity = float(when[*unit])
        assert kept(sparsity - 0.5 / table.size)[*unit], "gone before that"
        if sparsity < 1:
            assert not kept(sparsity)[*unit], "still there at that sparsity"


def test_score_is_curvature_times_the_size_of_its_factor():
    rng = np.random.default_rng(0)
    curvature = Curvature(rng.random((3, 5), np.float32), rng.random((3, 2), np.float32), images=1)
    factors = rng.normal(size=9)
    scores = final_scores(curvature, factors)
    for b in range(3):
        for f in range(5):
            assert scores.mlp[b, f] == float(curvature.mlp[b, f]) * abs(factors[b])
        for h in range(2):
            assert scores.head[b, h] == float(curvature.head[b, h]) * abs(factors[3 + b * 2 + h])
    again = final_scores(curvature, -factors)
    np.testing.assert_array_equal(again.mlp, scores.mlp)
    np.testing.assert_array_equal(again.head, scores.head)


def test_ranking_leaves_scores_as_they_were():
    scores = random_scores("apart")
    given = scores.mlp.copy(), scores.head.copy()
    ranking = rank(scores, Floors())
    orders = ranking.mlp.copy(), ranking.head.copy()
    cut_at(ranking, 0.5, 0.5)
    np.testing.assert_array_equal(scores.mlp, given[0])
    np.testing.assert_array_equal(scores.head, given[1])
    np.testing.assert_array_equal(ranking.mlp, orders[0])
    np.testing.assert_array_equal(ranking.head, orders[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["MLP", "head"])
def test_scores_that_are_no_numbers_are_refused(name, bad):
    mlp, head = np.ones((2, 10)), np.ones((2, 5))
    (mlp if name == "MLP" else head)[1, 2:4] = bad
    with pytest.raises(InputError, match=rf"2 of \d+ {name} scores"):
        rank(Scores(mlp, head), Floors())


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
def test_ratios_outside_0_to_1_are_refused(ratio):
    ranking = Ranking(np.arange(8), np.arange(4), 0, 0, blocks=2)
    with pytest.raises(InputError, match="MLP sparsity"):
        cut_at(ranking, ratio, 0)
    with pytest.raises(InputError, match="head sparsity"):
        cut_at(ranking, 0, ratio)


@pytest.mark.parametrize("heads", [1, 2, 3, 4])
def test_a_floor_protects_at_least_one_of_few_heads(heads):
    """20 % of three heads is less than one, but a block that may lose them all has no floor."""
    table = np.random.default_rng(0).random((5, heads))
    scores = Scores(np.random.default_rng(1).random((5, 20)), table)
    kept = cut_at(rank(scores, Floors(0.05, 0.2)), 0.99, 0.99)
    assert min(kept.kept_heads) == 1
    assert min(kept.kept_neurons) == 1
    assert (rank(scores, Floors(0.05, 0.2)).head_order()[:, 0] == table.argmax(axis=1)).all()
    assert min(cut_at(rank(scores, Floors(0, 0)), 0.99, 0.99).kept_heads) == 0 or heads == 1


@pytest.mark.parametrize("floor", [-0.01, 1.01, float("nan")])
@pytest.mark.parametrize("name", ["neurons", "heads"])
def test_floors_outside_0_to_1_are_refused(name, floor):
    with pytest.raises(InputError, match=f"floor for {name}"):
        Floors(**{name: floor})
