"""k-NN against scikit-learn's, the vote by hand, and the Wilson interval against published values."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.neighbors import KNeighborsClassifier

from snapvit.errors import InputError
from snapvit.evaluation import knn as knn_module
from snapvit.evaluation.features import embeddings, mean_cosine
from snapvit.evaluation.knn import (
    Knn,
    KnnLimits,
    Nearest,
    limits_sentence,
    majority,
    reachable_top1,
    why_no_accuracy,
    wilson_interval,
)


def clouds(seed: int, count: int, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes, so that many votes are close; lengths differ, so that they must not count."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    centres = np.random.default_rng(99).normal(size=(classes, 16))
    rows = (centres[labels] + 1.7 * rng.normal(size=(count, 16))) * rng.lognormal(size=(count, 1))
    return rows.astype(np.float32), labels.astype(np.int64)


def majority_then_nearest(distances: np.ndarray) -> np.ndarray:
    """Weights that make scikit-learn's vote ours: 1 each, and so little for being near that it decides ties alone."""
    ranks = np.arange(distances.shape[1])
    return np.tile(1 + 2.0 ** -(ranks + 1), (len(distances), 1))


@pytest.mark.parametrize("k", [1, 4, 20])
def test_predictions_equal_scikit_learns(k):
    gallery, gallery_labels = clouds(0, 500)
    queries, labels = clouds(1, 400)
    sklearn = KNeighborsClassifier(k, weights=majority_then_nearest, algorithm="brute", metric="cosine")
    sklearn.fit(gallery.astype(np.float64), gallery_labels)
    want = sklearn.predict(queries.astype(np.float64))

    knn = Knn(gallery, gallery_labels, k)
    np.testing.assert_array_equal(knn.predict(queries), want)
    assert knn.hits(queries, labels) == (want == labels).sum()
    assert 0.3 < knn.hits(queries, labels) / 400 < 0.95
    if k > 1:
        votes = gallery_labels[sklearn.kneighbors(queries, return_distance=False)]
        tallies = np.sort([np.bincount(v, minlength=5) for v in votes], axis=1)
        assert (tallies[:, -1] == tallies[:, -2]).sum() > 10, "the example must hold ties"


def test_neighbours_equal_a_dense_search():
    gallery, labels = clouds(0, 300)
    queries, _ = clouds(1, 50)
    unit = [
        x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (queries, gallery)
    ]
    cosines = unit[0] @ unit[1].T
    want = np.argsort(-cosines, axis=1)[:, :7]
    rows, found = Knn(gallery, labels, 7).neighbours(queries)
    np.testing.assert_array_equal(rows, want)
    np.testing.assert_allclose(found, np.take_along_axis(cosines, want, axis=1), atol=1e-6)


def in_pieces(gallery: np.ndarray, size: int) -> Iterator[np.ndarray]:
    yield from (gallery[start : start + size] for start in range(0, len(gallery), size))


@pytest.mark.parametrize("size", [3, 64, 100, 299, 300])
def test_blocks_of_the_gallery_give_what_brute_force_gives(monkeypatch, size):
    """Blocks smaller than k too; and a gallery that comes in pieces."""
    gallery, labels = clouds(0, 300)
    queries, _ = clouds(1, 50)
    monkeypatch.setattr(knn_module, "BLOCK", size)
    unit = [
        x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (queries, gallery)
    ]
    cosines = unit[0] @ unit[1].T
    want = np.argsort(-cosines, axis=1)[:, :7]
    for given in (gallery, in_pieces(gallery, size)):
        rows, found = Knn(given, labels, 7).neighbours(queries)
        np.testing.assert_array_equal(rows, want)
        np.testing.assert_allclose(found, np.take_along_axis(cosines, want, axis=1), atol=1e-6)


def test_equal_images_in_different_blocks_come_in_the_order_of_the_gallery(monkeypatch):
    gallery = np.repeat(clouds(0, 10)[0], 4, axis=0).reshape(10, 4, -1).transpose(1, 0, 2).reshape(40, -1)
    monkeypatch.setattr(knn_module, "BLOCK", 10)
    rows, _ = Nearest(gallery, 4).of(gallery[:10])
    np.testing.assert_array_equal(rows, np.arange(10)[:, None] + [0, 10, 20, 30])


def test_a_large_gallery_is_never_copied_as_a_whole(monkeypatch):
    monkeypatch.setattr(knn_module, "BLOCK", 1000)
    gallery = np.random.default_rng(0).standard_normal((40_000, 64), dtype=np.float32)  # 10 MB
    nearest = Nearest(gallery, 5)
    nearest.of(gallery[:2])
    tracemalloc.start()
    nearest.of(gallery[:100])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2e6


def test_pieces_with_fewer_images_than_neighbours_are_refused():
    gallery, _ = clouds(0, 6)
    with pytest.raises(InputError, match="7 nearest neighbours need at least 7 gallery images; there are 6"):
        Nearest(in_pieces(gallery, 4), 7).of(gallery)


def test_votes_are_counted_alike_however_many_queries_go_at_once(monkeypatch):
    votes = np.random.default_rng(0).integers(0, 4, (50, 9))
    whole = majority(votes)
    monkeypatch.setattr(knn_module, "VOTES", 100)
    np.testing.assert_array_equal(majority(votes), whole)


def test_the_gallery_is_its_own_nearest_neighbour_and_stays_as_it_was():
    gallery, labels = clouds(0, 100)
    given = gallery.copy()
    rows, cosines = Knn(gallery, labels, 3).neighbours(gallery)
    np.testing.assert_array_equal(rows[:, 0], np.arange(100))
    np.testing.assert_allclose(cosines[:, 0], 1, atol=1e-6)
    np.testing.assert_array_equal(gallery, given)


@pytest.mark.parametrize(
    ("votes", "winner"),
    [
        ([7], 7),
        ([1, 2, 2], 2),
        ([1, 2, 2, 1], 1),
        ([2, 1, 1, 2], 2),
        ([3, 1, 2, 2, 1], 1),
        ([3, 2, 1, 1, 2, 3], 3),
        ([0, 0, 9, 9, 9], 9),
        ([5, 4, 3, 2, 1], 5),
    ],
)
def test_majority_by_hand(votes, winner):
    assert majority(np.array([votes])).tolist() == [winner]
    assert majority(np.array([votes, votes[:1] * len(votes)])).tolist() == [winner, votes[0]]


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_equals_published_values(hits, total, low, high):
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    found = wilson_interval(hits, total)
    assert found == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(total - hits, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize(("hits", "total"), [(0, 1), (1, 1), (3, 7), (1713, 2000), (2000, 2000)])
def test_wilson_interval_equals_scipys(hits, total):
    want = binomtest(hits, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, total) == pytest.approx((want.low, want.high), abs=1e-12)


@pytest.mark.parametrize(("hits", "total"), [(-1, 10), (11, 10), (0, 0)])
def test_wilson_interval_of_what_is_no_share_is_refused(hits, total):
    with pytest.raises(ValueError, match="not a share"):
        wilson_interval(hits, total)


def can_win(counts: tuple[int, ...], own: int, k: int) -> bool:
    """Whether any k of the gallery's images name class `own`, in any order: all of them, through `majority`."""
    for votes in product(*(range(count + 1) for count in counts)):
        if sum(votes) == k:
            cast = np.repeat(np.arange(len(counts)), votes)
            if any((majority(np.roll(cast, shift)[None]) == own).any() for shift in range(k)):
                return True
    return False


GALLERIES = [counts for size in (1, 2, 3) for counts in product(range(5), repeat=size)] + [
    (1, 1, 2, 6),
    (2, 2, 2, 2, 1),
]


@pytest.mark.parametrize("k", [1, 2, 3, 5, 7])
def test_what_can_be_reached_equals_a_search_of_all_votes(k):
    for counts in GALLERIES:
        gallery = np.repeat(np.arange(len(counts)), counts)
        want = [can_win(counts, own, k) for own in range(len(counts))]
        for own, possible in enumerate(want):
            assert reachable_top1(gallery, np.array([own]), k).top1 == possible, (counts, own)
        queries = np.repeat(np.arange(len(counts)), np.arange(1, len(counts) + 1))
        assert reachable_top1(gallery, queries, k).top1 == pytest.approx(np.mean(np.array(want)[queries]))


def test_rolling_the_votes_is_as_good_as_every_order():
    for cast in ([0, 0, 1, 1, 2], [0, 1, 2, 3], [0, 1, 1, 2, 2]):
        rolled = {int(majority(np.roll(cast, shift)[None])[0]) for shift in range(len(cast))}
        assert rolled == {int(majority(np.array([order]))[0]) for order in permutations(cast)}


def test_embeddings_at_their_best_reach_the_bound_and_no_more():
    """Queries that lie on their class's axis, nearest to their own images, then to each other class in turn."""
    counts, k = (9, 4, 2, 1), 7
    gallery_labels = np.repeat(np.arange(4), counts)
    rank = np.concatenate([np.arange(count) for count in counts])  # j-th image of its class
    for own in range(4):
        distance = np.where(gallery_labels == own, rank - 0.5, rank)  # turns, own first
        angle = 0.1 * (1 + distance)
        rows = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        hit = Knn(rows, gallery_labels, k).hits(np.array([[1.0, 0.0]], np.float32), np.array([own]))
        assert hit == reachable_top1(gallery_labels, np.array([own]), k).top1


def test_limits_name_the_classes_with_under_half_of_k():
    limits = reachable_top1(np.repeat([0, 1, 2], [30, 10, 9]), np.array([0, 1, 2, 2, 5]), 20)
    assert limits == KnnLimits(k=20, gallery=49, classes=3, top1=0.8, thin=((2, 9), (5, 0)))
    names = ("auk", "owl", "wren", "x", "y", "emu")
    assert limits_sentence(limits, names) == (
        "2 classes of the queries have fewer gallery images than half the k = 20 neighbours that vote: 'emu' (0), "
        "'wren' (9); so top-1 can reach at most 80.0 %, whatever the model."
    )


@pytest.mark.parametrize(
    ("top1", "thin", "said"),
    [
        (1.0, (), None),
        (1.0, ((1, 4),), "One class of the queries has fewer.* the k = 9 .*'b' .4.; .*can reach 100 %, but"),
        (0.9999, ((1, 1), (0, 2)), "2 classes.*'b' .1., 'a' .2.; .*at most 99.9 %"),
        (0.5, tuple((i, i) for i in range(7)), r"'e' \(4\) and 2 more; "),
    ],
)
def test_the_sentence_on_limits(top1, thin, said):
    sentence = limits_sentence(KnnLimits(9, 100, 8, top1, thin), "abcdefgh")
    assert sentence is None if said is None else re.search(said, sentence)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0, 0, 5), "have no labels"),
        ((1, 30, 5), "of one class"),
        ((2, 4, 5), "has 4 images, fewer than the k = 5"),
        ((2, 30, 5, 0.0), "too few images of the queries' classes"),
        ((2, 30, 5, 0.1), None),
        ((2, 5, 5), None),
    ],
)
def test_why_there_is_no_accuracy(given, said):
    found = why_no_accuracy(*given)
    assert found is None if said is None else said in found


def test_one_class_is_refused():
    with pytest.raises(InputError, match=r"at least 2 classes.*has 1"):
        Knn(np.eye(30, dtype=np.float32), np.full(30, 4), 20)


def test_fewer_gallery_images_than_k_are_refused():
    labels = np.arange(19) % 2
    with pytest.raises(InputError, match="at least 20 gallery images; there are 19"):
        Knn(np.eye(19, dtype=np.float32), labels, 20)
    Knn(np.eye(19, dtype=np.float32), labels, 19)


def test_embeddings_are_what_comes_before_the_classifier(tiny_vit, images):
    normed = tiny_vit.forward_features(images)
    found = embeddings(tiny_vit, images.split([4, 2]))
    torch.testing.assert_close(found, normed[:, 0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        found @ tiny_vit.head.weight.T + tiny_vit.head.bias, tiny_vit(images), rtol=1e-5, atol=1e-5
    )


def test_mean_cosine_by_hand():
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    b = torch.tensor([[5.0, 0.0], [7.0, 0.0], [-1.0, 0.0]])
    assert mean_cosine(a, b) == pytest.approx(0.0, abs=1e-7)
    assert mean_cosine(a, a) == pytest.approx(1.0)
    assert mean_cosine(a[:1], torch.tensor([[1.0, 1.0]])) == pytest.approx(0.5**0.5)
