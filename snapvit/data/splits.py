"""Which images calibrate and search, which form the k-NN gallery, and which are queries. No image is in two parts."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from snapvit.artifacts import Ints
from snapvit.data.image_source import NAMED, ImageSource
from snapvit.errors import InputError

CALIBRATION_SHARE, GALLERY_SHARE = 0.2, 0.6  # the rest are queries: 2,000, 6,000 and 2,000 of 10,000
LEAST_IMAGES = 5  # of a class, or of all where there are no labels: one to three of them for each part


@dataclass(frozen=True)
class Split:
    """Image ids of each part, shuffled. Every prefix of gallery and queries has the classes' shares."""

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
    return Split(calibration, interleaved(gallery, labels[gallery], seed), interleaved(query, labels[query], seed))


def interleaved(ids: Ints, labels: Ints, seed: int) -> Ints:
    """`ids` (N,) in an order of which every prefix is stratified: of n images, a class that has g of all N has
    n g / N, rounded down or up. Within a class they stay in the order given; the seed decides between classes.

    Image j = 1, 2, ... of a class may come from place (j - 1) N / g on, rounded down, and must come before j N / g,
    rounded up: the windows of a fair schedule (Baruah et al., Proportionate progress, 1996). Taking the earliest
    deadline first keeps all of them, since unit jobs with whole windows that can be kept at all are kept that way.
    """
    total, coin = len(ids), np.random.default_rng(seed).random(len(ids))
    starting: list[list[tuple[int, float, int]]] = [[] for _ in range(total)]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        for j, row in enumerate(rows.tolist()):
            deadline = -(-(j + 1) * total // len(rows))
            starting[j * total // len(rows)].append((deadline, coin[row], row))
    order, waiting = [], []
    for jobs in starting:
        for job in jobs:
            heappush(waiting, job)
        order.append(heappop(waiting)[2])
    return ids[order]


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
