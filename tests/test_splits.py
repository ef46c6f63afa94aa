"""Splits: no image in two parts, every class in each, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from snapvit.data.image_source import ImageSource
from snapvit.data.sources import open_source
from snapvit.data.splits import split_source
from snapvit.errors import InputError


class Labelled(ImageSource):
    """Images that are nothing but their labels."""

    name, class_names = "labelled", ("cat", "dog", "emu")

    def __init__(self, labels: list[int] | None, count: int = 0) -> None:
        self.labels = None if labels is None else np.array(labels)
        self._count = count if labels is None else len(labels)

    def __len__(self) -> int:
        return self._count

    def image(self, index: int) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)

    def content(self, index: int) -> str:
        return str(index)


def parts(source: object, seed: int) -> list[np.ndarray]:
    split = split_source(source, seed)
    return [split.calibration, split.gallery, split.query]


def test_bundled_images_are_split_in_2000_6000_and_2000_of_equal_classes():
    source = open_source("bundled")
    found = parts(source, 0)
    assert [len(p) for p in found] == [2000, 6000, 2000]
    for part in found:
        np.testing.assert_array_equal(np.bincount(source.labels[part], minlength=10), len(part) // 10)
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(10_000))


@pytest.mark.parametrize("counts", [(50, 30, 20), (5, 5, 5), (101, 5, 7), (13, 8, 5)], ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_parts_are_disjoint_and_stratified(counts, seed):
    labels = np.repeat([0, 1, 2], counts)
    source = Labelled(np.random.default_rng(3).permutation(labels).tolist())
    found = parts(source, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(len(labels)))
    for part, share in zip(found, (0.2, 0.6, 0.2), strict=True):
        assert abs(len(part) - share * len(labels)) <= 1
        for label, count in enumerate(counts):
            there = int((source.labels[part] == label).sum())
            assert there >= 1
            assert abs(there - share * count) < 2


def test_unlabelled_images_are_split_too():
    found = parts(Labelled(None, count=101), 0)
    assert [len(p) for p in found] == [81, 0, 20]
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(101))


def test_the_seed_decides():
    source = open_source("bundled")
    first, again, other = (parts(source, seed) for seed in (7, 7, 8))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


COUNTS = [(5, 5, 5), (101, 7, 13), (400, 5, 90), (6, 5, 250), (5,) * 40, (300, *(5,) * 30), (37,), range(5, 60)]


@pytest.mark.parametrize("counts", COUNTS, ids=lambda counts: f"{len(counts)} classes of {sum(counts)}")
@pytest.mark.parametrize("seed", [0, 1])
def test_every_prefix_is_stratified_as_well_as_whole_numbers_allow(counts, seed):
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(len(counts)), counts))
    source = Labelled(labels.tolist())
    for part in parts(source, seed)[1:]:
        there = np.eye(len(counts), dtype=int)[labels[part]].cumsum(axis=0)  # (N, C) of each class so far
        prefixes = np.arange(1, len(part) + 1)[:, None]
        assert (there >= prefixes * there[-1] // len(part)).all()
        assert (there <= -(-prefixes * there[-1] // len(part))).all()


def test_images_are_shuffled_within_their_class_and_classes_take_turns_in_no_fixed_order():
    source = open_source("bundled")
    for part in parts(source, 0):
        of_class = [part[source.labels[part] == label] for label in range(10)]
        for ids in of_class:
            assert abs(np.corrcoef(np.arange(len(ids)), ids)[0, 1]) < 0.25  # 3.5 standard deviations of 200 images
    rounds = source.labels[parts(source, 0)[1]].reshape(-1, 10)
    assert (np.sort(rounds, axis=1) == np.arange(10)).all()
    assert len(np.unique(rounds, axis=0)) > 500  # of 600


def test_the_global_random_state_is_left_alone():
    np.random.seed(3)
    want = np.random.rand(2)
    np.random.seed(3)
    split_source(Labelled([0, 1] * 10), 0)
    np.testing.assert_array_equal(np.random.rand(2), want)


def test_a_class_with_too_few_images_is_named():
    with pytest.raises(InputError, match=r"classes of labelled: 'dog' \(4\); each class needs at least 5"):
        split_source(Labelled([0] * 20 + [1] * 4 + [2] * 9), 0)
