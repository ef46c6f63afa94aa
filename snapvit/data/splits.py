"""Which images calibrate and search, which form the k-NN gallery, and which are queries. No image is in two parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heappop, heappush

import numpy as np

from snapvit.artifacts import Ints
from snapvit.data.image_source import NAMED, UNLABELLED, ImageSource, Part, Role
from snapvit.errors import InputError

WEIGHTS: dict[Role, int] = {"calibration": 1, "gallery": 3, "query": 1}  # 2,000, 6,000 and 2,000 of 10,000
LEAST_IMAGES = 5  # of a part, and of a class where it is divided: one to three of them for each role
_MANY: dict[Role, str] = {"calibration": "calibration images", "gallery": "gallery", "query": "queries"}


@dataclass(frozen=True)
class Split:
    """Image ids of each part, shuffled. Every prefix of gallery and queries has the classes' shares."""

    calibration: Ints
    gallery: Ints
    query: Ints

    def with_calibration(self, seed: int) -> Split:
        """The same parts, the calibration images in another order; 0 leaves theirs."""
        order = np.random.default_rng(seed).permutation(len(self.calibration)) if seed else slice(None)
        return replace(self, calibration=self.calibration[order])


def split_source(source: ImageSource, seed: int) -> Split:
    """Divide each part of the source among its roles, by class where there are labels, the same way for the same seed.

    Without labels there is no gallery: what does not calibrate are queries, whose embeddings are compared with the
    full model's. Raises InputError where a part, or a class in one, would be left empty.
    """
    found: dict[Role, Ints] = {role: np.empty(0, np.int64) for role in WEIGHTS}
    for part in source.parts:
        if part.roles:
            _check_counts(source, part)
            found |= _divided(source, part, seed)
    if source.labels is not None:
        for role in ("gallery", "query"):
            found[role] = interleaved(found[role], source.labels[found[role]], seed)
    return Split(**found)


def _divided(source: ImageSource, part: Part, seed: int) -> dict[Role, Ints]:
    """The part's ids for each of its roles, shuffled."""
    from sklearn.model_selection import train_test_split  # takes a second, which pages that split nothing need not wait

    labels, rest = source.labels, np.arange(part.ids.start, part.ids.stop)
    weights = {role: weight for role, weight in WEIGHTS.items() if role in part.roles}
    if labels is None:
        weights.pop("gallery", None)
    *first, last = weights
    if not first:
        return {last: np.random.default_rng(seed).permutation(rest)}
    if labels is None:
        queries = round(len(rest) * WEIGHTS["query"] / sum(WEIGHTS.values()))
        return dict(zip(weights, train_test_split(rest, test_size=queries, random_state=seed), strict=True))
    total, divided = len(rest), {}
    for role in first:
        size = round(total * weights[role] / sum(weights.values()))
        divided[role], rest = train_test_split(rest, train_size=size, random_state=seed, stratify=labels[rest])
    return divided | {last: rest}


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
    """(C, 3) images of each class in calibration, gallery and queries; images without a label are one more row."""
    parts = (split.calibration, split.gallery, split.query)
    if source.labels is None:
        return np.array([[len(part) for part in parts]])
    rows = [*range(len(source.class_names)), *([UNLABELLED] if (source.labels == UNLABELLED).any() else [])]
    return np.array([[int((source.labels[part] == label).sum()) for part in parts] for label in rows])


def _check_counts(source: ImageSource, part: Part) -> None:
    aside = f" ({part.skipped} files were skipped)" if part.skipped else ""
    needed = "to split them" if len(part.roles) > 1 else f"as {_MANY[min(part.roles)]}"
    if len(part.ids) < LEAST_IMAGES:
        raise InputError(
            f"{part.name} has {len(part.ids)} usable images{aside}; at least {LEAST_IMAGES} are needed {needed}."
        )
    if source.labels is None or len(part.roles) == 1:
        return
    counts = np.bincount(source.labels[part.ids], minlength=len(source.class_names))
    few = [f"{source.class_names[i]!r} ({counts[i]})" for i in np.flatnonzero((counts > 0) & (counts < LEAST_IMAGES))]
    if few:
        others = f" and {len(few) - NAMED} more" if len(few) > NAMED else ""
        raise InputError(
            f"Too few images in some classes of {part.name}{aside}: {', '.join(few[:NAMED])}{others}; each class "
            f"needs at least {LEAST_IMAGES}, so add images or take these classes out."
        )
