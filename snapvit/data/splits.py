"""Which images calibrate and search, which form the k-NN gallery, and which are queries. No image is in two parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import heappop, heappush

import numpy as np

from snapvit.artifacts import Ints
from snapvit.data.image_source import NAMED, UNLABELLED, Check, ImageSource, Part, Role, go_on
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
    rows = np.argsort(labels, kind="stable")  # class by class
    _, starts, counts = np.unique(labels[rows], return_index=True, return_counts=True)
    turn, size = np.arange(total) - np.repeat(starts, counts), np.repeat(counts, counts)
    first, deadline = turn * total // size, -(-(turn + 1) * total // size)
    coming = np.argsort(first, kind="stable")
    jobs = zip(deadline[coming].tolist(), coin[rows[coming]].tolist(), rows[coming].tolist(), strict=True)
    order, waiting = np.empty(total, np.int64), []
    for place, number in enumerate(np.bincount(first, minlength=total).tolist()):
        for _ in range(number):
            heappush(waiting, next(jobs))
        order[place] = heappop(waiting)[2]
    return ids[order]


def sound_split(source: ImageSource, split: Split, uses: Callable[[Split], Ints], check: Check = go_on) -> Split:
    """The split without those of its images that are asked for and cannot be used, however many they are.

    uses: the ids, of a split, that somebody is going to use. In the place of an image that cannot be used comes the
    next of its class in the part's own order, and so on, so that as many are used, of as many classes, as there are.
    What comes out depends on the files alone, and not on how many were asked for before. `check` may raise to stop.
    Raises InputError where of a part of the split nothing is left.
    """
    while True:
        ids = np.unique(uses(split))
        bad = ids[~source.usable(ids, check)]
        if not len(bad):
            return split
        parts = {"calibration": split.calibration, "gallery": split.gallery, "query": split.query}
        left = {role: _without(part, source.labels, bad) for role, part in parts.items()}
        for role, part in left.items():
            if len(parts[role]) and not len(part):
                last = source.skipped[-1]
                raise InputError(
                    f"{source.name} has 0 usable images left as {_MANY[role]} ({len(source.skipped):,} files were "
                    f"skipped, {last.file} because {last.reason}); name other images."
                )
        split = Split(**left)


def _without(ids: Ints, labels: Ints | None, bad: Ints) -> Ints:
    """`ids` (N,) less the bad ones, those of their classes moving up into the places before them."""
    sound = ~np.isin(ids, bad)
    if sound.all():
        return ids
    own = np.zeros(len(ids), np.int64) if labels is None else labels[ids]
    left, kept = ids.copy(), np.ones(len(ids), bool)
    for label in np.unique(own[~sound]):
        places = np.flatnonzero(own == label)
        moved = ids[places[sound[places]]]
        left[places[: len(moved)]] = moved
        kept[places[len(moved) :]] = False
    return left[kept]


def split_counts(source: ImageSource, split: Split) -> Ints:
    """(C, 3) images of each class in calibration, gallery and queries; images without a label are one more row."""
    parts = (split.calibration, split.gallery, split.query)
    if source.labels is None:
        return np.array([[len(part) for part in parts]])
    rows = len(source.class_names) + bool((source.labels == UNLABELLED).any())
    columns = [np.bincount(source.labels[part] % rows, minlength=rows) for part in parts]  # UNLABELLED is the last
    return np.stack(columns, axis=1)


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
