"""Which images calibrate and search, which form the k-NN gallery, and which are queries. No image is in two parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snapvit.artifacts import Ints
from snapvit.data.image_source import ImageSource
from snapvit.errors import InputError

CALIBRATION_SHARE, GALLERY_SHARE = 0.2, 0.6  # the rest are queries: 2,000, 6,000 and 2,000 of 10,000


LEAST_IMAGES = 5  # of a class, or of all where there are no labels: one to three of them for each part
NAMED = 5  # classes that a message lists


@dataclass(frozen=True)
class Split:
    """Image ids of each part, shuffled, so that a prefix of a part is a fair sample of it."""

    calibration: Ints
    gallery: Ints
    query: Ints


def split_source(source: ImageSource, seed: int) -> Split:
    """Split by class where there are labels, the same way for the same seed.

    Without labels there is no gallery: what does not calibrate are queries, whose embeddings are compared with the
    full model's. Raises InputError where a part, or a class in one, would be left empty.
    """
    from sklearn.model_selection import train_test_split  # takes a second, which pages that split nothing need not wait

    _check_counts(source)
    ids, labels = np.arange(len(source)), source.labels
    if labels is None:
        queries = round((1 - CALIBRATION_SHARE - GALLERY_SHARE) * len(ids))
        calibration, query = train_test_split(ids, test_size=queries, random_state=seed)
        return Split(calibration, np.empty(0, np.int64), query)
    calibrating, in_gallery = round(CALIBRATION_SHARE * len(ids)), round(GALLERY_SHARE * len(ids))
    calibration, rest = train_test_split(ids, train_size=calibrating, random_state=seed, stratify=labels)
    gallery, query = train_test_split(rest, train_size=in_gallery, random_state=seed, stratify=labels[rest])
    return Split(calibration, gallery, query)


def split_counts(source: ImageSource, split: Split) -> Ints:
    """(C, 3) images of each class in calibration, gallery and queries; one row where there are no labels."""
    parts = (split.calibration, split.gallery, split.query)
    if source.labels is None:
        return np.array([[len(part) for part in parts]])
    classes = len(source.class_names)
    return np.stack([np.bincount(source.labels[part], minlength=classes) for part in parts], axis=1)


def _check_counts(source: ImageSource) -> None:
    aside = f" ({len(source.skipped)} files were skipped)" if source.skipped else ""
    if len(source) < LEAST_IMAGES:
        raise InputError(
            f"{source.name} has {len(source)} usable images{aside}; at least {LEAST_IMAGES} are needed to split them."
        )
    if source.labels is None:
        return
    counts = np.bincount(source.labels, minlength=len(source.class_names))
    few = [f"{source.class_names[i]!r} ({counts[i]})" for i in np.flatnonzero((counts > 0) & (counts < LEAST_IMAGES))]
    if few:
        others = f" and {len(few) - NAMED} more" if len(few) > NAMED else ""
        raise InputError(
            f"Too few images in some classes of {source.name}{aside}: {', '.join(few[:NAMED])}{others}; each class "
            f"needs at least {LEAST_IMAGES}, so add images or take these classes out."
        )
