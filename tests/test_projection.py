"""Layouts: the same for the same seed, true to the features, and a cut's layout in the plane of the full one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from snapvit.errors import Cancelled
from snapvit.evaluation.projection import lay_out, refine

CLOUDS, EACH = 4, 30


def clouds(seed: int = 0, swapped: int = 0) -> np.ndarray:
    """(120, 12) four clouds by direction; the first `swapped` images of the first cloud lie in the second instead."""
    rng = np.random.default_rng(seed)
    centres = 4 * np.eye(CLOUDS, 12)
    at = np.arange(CLOUDS).repeat(EACH)
    at[:swapped] = 1
    return (centres[at] + 0.6 * rng.normal(size=(CLOUDS * EACH, 12))).astype(np.float32)


@pytest.fixture(scope="module")
def full() -> np.ndarray:
    return lay_out(clouds(), seed=0)


def test_the_same_seed_gives_the_same_layout_and_another_another(full):
    np.testing.assert_array_equal(lay_out(clouds(), seed=0), full)
    assert not np.array_equal(lay_out(clouds(), seed=1), full)
    again = refine(clouds(1), full, seed=0)
    np.testing.assert_array_equal(refine(clouds(1), full, seed=0), again)


def test_images_that_are_near_in_the_layout_are_near_by_cosine(full):
    assert full.shape == (CLOUDS * EACH, 2)
    assert trustworthiness(clouds(), full, n_neighbors=10, metric="cosine") > 0.85
    stretched = clouds() * np.random.default_rng(3).lognormal(size=(CLOUDS * EACH, 1)).astype(np.float32)
    assert trustworthiness(stretched, lay_out(stretched, 0), n_neighbors=10, metric="cosine") > 0.85


def test_only_images_whose_features_moved_leave_their_place(full):
    rng, swapped = np.random.default_rng(5), 6
    noisy = clouds(swapped=swapped) + 0.05 * rng.normal(size=(CLOUDS * EACH, 12)).astype(np.float32)
    cut = refine(noisy, full, seed=0)
    moved = np.linalg.norm(cut - full, axis=1)
    own, new = full[swapped:EACH].mean(axis=0), full[EACH : 2 * EACH].mean(axis=0)
    gap = np.linalg.norm(new - own)
    assert np.median(moved[swapped:]) < 0.25 * gap
    nearer = np.linalg.norm(cut[:swapped] - new, axis=1) < np.linalg.norm(full[:swapped] - new, axis=1)
    assert nearer.all()
    assert moved[:swapped].min() > np.median(moved[swapped:])


def test_the_second_layout_stays_in_the_plane_of_the_first(full):
    """UMAP's own `init` would stretch any start to a square from 0 to 10; a shifted one must stay where it is."""
    shift = np.float32([40, -300])
    cut = refine(clouds(), full + shift, seed=0)
    assert np.abs(cut.mean(axis=0) - full.mean(axis=0) - shift).max() < 1


def test_the_start_is_not_written_to(full):
    before = full.copy()
    refine(clouds(1), full, seed=0)
    np.testing.assert_array_equal(full, before)


def test_copies_of_one_image_lie_together():
    features = np.vstack([clouds(), np.tile(clouds()[:1], (25, 1))])  # more copies than neighbours
    layout = lay_out(features, seed=0)
    assert np.isfinite(layout).all()
    spread = np.linalg.norm(layout - layout.mean(axis=0), axis=1).mean()
    assert np.linalg.norm(layout[CLOUDS * EACH :] - layout[0], axis=1).max() < spread


def test_progress_rises_to_the_end_and_what_it_raises_stops_the_work(full):
    told: list[float] = []
    refine(clouds(), full, 0, told.append)
    assert told == sorted(told)
    assert told[-1] == 1

    def stop(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        lay_out(clouds(), 0, stop)
    with pytest.raises(Cancelled):
        refine(clouds(), full, 0, stop)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="at least 4"):
        lay_out(clouds()[:3], 0)
