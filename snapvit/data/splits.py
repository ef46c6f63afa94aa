"""Which images calibrate and search, which form the k-NN gallery, and which are queries. No image is in two parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from snapvit.artifacts import Ints
from snapvit.data.sources import ImageSource
from snapvit.errors import InputError

CALIBRATION_SHARE, GALLERY_SHARE = 0.2, 0.6  # the rest are queries: 2,000, 6,000 and 2,000 of 10,000


@dataclass(frozen=True)
class Split:
    """Image ids of each part, shuffled, so that a prefix of a part is a fair sample of it."""

    calibration: Ints
    gallery: Ints
    query: Ints


def split_source(source: ImageSource, seed: int) -> Split:
    """Split by class where there are labels, the same way for the same seed."""
    ids = np.arange(len(source))
    labels = source.labels
    if len(ids) < 5:
        raise InputError(f"{source.name} has {len(ids)} images; at least 5 are needed to split them.")
    if labels is not None:
        classes, counts = np.unique(labels, return_counts=True)
        if counts.min() < 5:
            name = source.class_names[classes[counts.argmin()]]
            raise InputError(f"Class {name!r} of {source.name} has {counts.min()} images; each class needs at least 5.")
    calibrating, in_gallery = round(CALIBRATION_SHARE * len(ids)), round(GALLERY_SHARE * len(ids))
    calibration, rest = train_test_split(ids, train_size=calibrating, random_state=seed, stratify=labels)
    gallery, query = train_test_split(
        rest,
        train_size=in_gallery,
        random_state=seed,
        stratify=None if labels is None else labels[rest],
    )
    return Split(calibration, gallery, query)
