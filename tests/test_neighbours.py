"""What becomes of neighbours and answers, against plain loops."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from snapvit.errors import InputError
from snapvit.evaluation.knn import Nearest
from snapvit.image_artifacts import EmbeddingProjection
from snapvit.ui.embedding.neighbours import (
    NEWLY_RIGHT,
    NEWLY_WRONG,
    STILL_RIGHT,
    STILL_WRONG,
    outcomes,
    predictions,
    stayed,
    was_there,
)

GALLERY, QUERIES, K, CLASSES = 50, 40, 7, 3


@pytest.fixture
def found() -> EmbeddingProjection:
    rng = np.random.default_rng(0)
    rows = [np.stack([rng.permutation(GALLERY)[:K] for _ in range(QUERIES)]).astype(np.uint8) for _ in range(2)]
    return EmbeddingProjection(
        ids=rng.permutation(200)[: GALLERY + QUERIES].astype(np.uint8),
        gallery=GALLERY,
        labels=rng.integers(0, CLASSES, GALLERY + QUERIES).astype(np.int16),
        full_layout=rng.normal(size=(GALLERY + QUERIES, 2)).astype(np.float16),
        cut_layout=rng.normal(size=(GALLERY + QUERIES, 2)).astype(np.float16),
        full_neighbours=rows[0],
        cut_neighbours=rows[1],
        full_cosines=np.zeros((QUERIES, K), np.float32),
        cut_cosines=np.zeros((QUERIES, K), np.float32),
    )


def test_outcomes_equal_a_loop():
    rng = np.random.default_rng(1)
    truth, before, after = rng.integers(0, 3, (3, 300))
    names = {(True, True): STILL_RIGHT, (True, False): NEWLY_WRONG, (False, True): NEWLY_RIGHT}
    want = [names.get((b == t, a == t), STILL_WRONG) for t, b, a in zip(truth, before, after, strict=True)]
    np.testing.assert_array_equal(outcomes(truth, before, after), want)
    assert len(set(want)) == 4


def test_predictions_equal_a_count_with_ties_to_the_nearest(found):
    before, after = predictions(found)
    for named, neighbours in ((before, found.full_neighbours), (after, found.cut_neighbours)):
        for row, answer in zip(neighbours, named, strict=True):
            votes = [int(found.labels[i]) for i in row]
            most = max(Counter(votes).values())
            assert answer == next(v for v in votes if Counter(votes)[v] == most)


def test_what_stayed_and_what_was_there_equal_sets(found):
    kept, old = stayed(found), was_there(found)
    for q in range(QUERIES):
        full, cut = set(found.full_neighbours[q].tolist()), set(found.cut_neighbours[q].tolist())
        assert kept[q].tolist() == [i in cut for i in found.full_neighbours[q].tolist()]
        assert old[q].tolist() == [i in full for i in found.cut_neighbours[q].tolist()]
        assert kept[q].sum() == old[q].sum() == len(full & cut)
    assert 0 < kept.sum() < kept.size


def test_without_labels_nobody_is_named(found):
    assert predictions(replace(found, labels=None)) is None


def test_nearest_needs_no_labels_and_equals_scikit_learns():
    rng = np.random.default_rng(2)
    gallery, queries = rng.normal(size=(80, 6)).astype(np.float32), rng.normal(size=(30, 6)).astype(np.float32)
    rows, cosines = Nearest(gallery, 9).of(queries)
    brute = NearestNeighbors(n_neighbors=9, algorithm="brute", metric="cosine").fit(gallery.astype(np.float64))
    distances, want = brute.kneighbors(queries.astype(np.float64))
    np.testing.assert_array_equal(rows, want)
    np.testing.assert_allclose(cosines, 1 - distances, atol=1e-6)


def test_nearest_says_how_many_images_it_needs():
    with pytest.raises(InputError, match="20 nearest neighbours need at least 20 gallery images; there are 19"):
        Nearest(np.ones((19, 4), np.float32), 20)
