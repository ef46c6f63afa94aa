"""k-nearest-neighbour accuracy on L2-normalised embeddings, exact: by FAISS on the CPU, by products on other devices; a
block of the gallery at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import Floats, Ints
from snapvit.devices import CPU
from snapvit.errors import InputError
from snapvit.formats import decimal

if TYPE_CHECKING:
    import torch

Z_95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution
NAMED = 5  # classes that a sentence lists
BLOCK = 32_768  # rows of the gallery that are normalised and searched at once: of 384 numbers 50 MB
BLOCK_NUMBERS = 64_000_000  # cosines that a GPU holds at once: 256 MB
VOTES = 2**24  # pairs of votes that are compared at once


class Nearest:
    """A gallery of embeddings that finds the k most like a query, by cosine. It needs no labels.

    A gallery of more than `BLOCK` rows is searched block by block, without a copy of it as a whole; one that comes in
    pieces is never whole in memory.
    """

    def __init__(self, gallery: Floats | Iterable[Floats], k: int, device: torch.device | str = CPU) -> None:
        """gallery: (N, D), or pieces of it (n, D), which are used up by the first search; `device` compares. Raises
        InputError where N < k, of pieces when they are searched."""
        self.k, self._blocks, self._unit = k, gallery, _unit_rows
        self._nearest = _by_faiss if str(device) == CPU else partial(_by_products, device=device)
        if isinstance(gallery, np.ndarray):
            self._check_size(len(gallery))
            self._blocks = [gallery[start : start + BLOCK] for start in range(0, len(gallery), BLOCK)]
            if len(self._blocks) == 1:  # small enough to be prepared once for all searches
                self._blocks, self._unit = [_unit_rows(gallery)], np.asarray

    def of(self, queries: Floats) -> tuple[Ints, Floats]:
        """Gallery rows (M, k) of each query, nearest first, and their cosines (M, k). Of equals in different blocks the
        first row comes first."""
        queries, size = _unit_rows(queries), 0
        rows, cosines = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        for block in self._blocks:
            near, those = self._nearest(queries, self._unit(block), min(self.k, len(block)))
            if size:
                near, those = np.hstack([cosines, near]), np.hstack([rows, those + size])
                best = np.argsort(-near, axis=1, kind="stable")[:, : self.k]
                near, those = np.take_along_axis(near, best, axis=1), np.take_along_axis(those, best, axis=1)
            cosines, rows, size = near, those, size + len(block)
        self._check_size(size)
        return rows, cosines

    def _check_size(self, images: int) -> None:
        if images < self.k:
            raise InputError(f"{self.k} nearest neighbours need at least {self.k} gallery images; there are {images}.")


def _by_faiss(queries: Floats, block: Floats, k: int) -> tuple[Floats, Ints]:
    """Cosines (M, k) and rows (M, k) of unit vectors."""
    import faiss  # made where it is used, so that pages without k-NN start without it

    # Products of 1,024 queries with 4,096 rows at a time: a third faster than FAISS's own choice on two cores.
    faiss.cvar.distance_compute_blas_query_bs, faiss.cvar.distance_compute_blas_database_bs = 1024, 4096
    return faiss.knn(queries, block, k, faiss.METRIC_INNER_PRODUCT)


def _by_products(queries: Floats, block: Floats, k: int, device: torch.device | str) -> tuple[Floats, Ints]:
    """The same by one product and the k largest of each of its rows, some queries at a time."""
    import torch

    rows = torch.from_numpy(block).to(device)
    step = max(1, BLOCK_NUMBERS // len(block))
    found = [(part.to(device) @ rows.mT).topk(k, dim=1) for part in torch.from_numpy(queries).split(step)]
    cosines, indices = (torch.cat([one[i].cpu() for one in found]).numpy() for i in (0, 1))
    return cosines, indices


class Knn:
    """A gallery of labelled embeddings that names queries by majority vote of their k nearest."""

    def __init__(
        self, gallery: Floats | Iterable[Floats], labels: Ints, k: int, device: torch.device | str = CPU
    ) -> None:
        """gallery (N, D), or pieces of it for a single search; labels (N,); `device` compares. Raises InputError where
        k-NN would say nothing: one class, or N < k."""
        classes = len(np.unique(labels))
        if classes < 2:
            raise InputError(f"k-NN accuracy needs at least 2 classes in the gallery; it has {classes}.")
        if len(labels) < k:
            raise InputError(f"k-NN with k = {k} needs at least {k} gallery images; there are {len(labels)}.")
        self._labels = labels
        self._nearest = Nearest(gallery, k, device)

    def neighbours(self, queries: Floats) -> tuple[Ints, Floats]:
        """Gallery rows (M, k) of each query, nearest first, and their cosines (M, k)."""
        return self._nearest.of(queries)

    def predict(self, queries: Floats) -> Ints:
        """Class of each query (M,): the most frequent among its neighbours, a tie going to the nearest."""
        return majority(self._labels[self.neighbours(queries)[0]])

    def hits(self, queries: Floats, labels: Ints) -> int:
        """How many queries are named right."""
        return int((self.predict(queries) == labels).sum())


def majority(votes: Ints) -> Ints:
    """Most frequent value of each row of votes (M, k), nearest first; a tie goes to the value seen first."""
    found = np.empty(len(votes), votes.dtype)
    some = max(1, VOTES // votes.shape[1] ** 2)
    for start in range(0, len(votes), some):
        part = votes[start : start + some]
        counts = (part[:, :, None] == part[:, None, :]).sum(axis=2)  # (m, k)
        found[start : start + some] = part[np.arange(len(part)), counts.argmax(axis=1)]  # argmax: the first of equals
    return found


def _unit_rows(rows: Floats) -> Floats:
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    bad = int((~np.isfinite(rows)).any(axis=1).sum())
    if bad:
        raise InputError(f"{bad} of {len(rows)} embeddings are not finite numbers, so they have no neighbours.")
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True)
class KnnLimits:
    """What k-NN can say at most with such a gallery and such queries, whatever the embeddings are."""

    k: int
    gallery: int  # images
    classes: int  # in the gallery
    top1: float  # the highest that can be reached, 0 to 1
    thin: tuple[tuple[int, int], ...]  # (class, its gallery images) of the queries' classes that have under k / 2


def reachable_top1(gallery_labels: Ints, query_labels: Ints, k: int) -> KnnLimits:
    """Limits of a majority vote of k neighbours, a tie going to the nearest.

    gallery_labels (N,), query_labels (M,). With g_j gallery images of class j, a query of class c can be named right
    if and only if g_c >= 1 and sum over j of min(g_j, g_c) >= k. For c wins, a tie as the nearest, if it has v >= 1
    votes and no other class more: then at most sum of min(g_j, v) votes are cast, which grows with v <= g_c; and where
    that sum reaches k, c has its v and the others share what is left.
    """
    classes, counts = np.unique(gallery_labels, return_counts=True)
    images = dict(zip(classes.tolist(), counts.tolist(), strict=True))
    asked, queries = np.unique(query_labels, return_counts=True)
    reached, thin = 0, []
    for label, number in zip(asked.tolist(), queries.tolist(), strict=True):
        own = images.get(label, 0)
        if np.minimum(counts, own).sum() >= k:
            reached += number
        if 2 * own < k:
            thin.append((label, own))
    return KnnLimits(k, len(gallery_labels), len(classes), reached / max(1, len(query_labels)), tuple(thin))


def limits_sentence(limits: KnnLimits, class_names: Sequence[str]) -> str | None:
    """For people: which classes have few gallery images, and what top-1 can reach; None where no class has few.

    The least comes first. Not meant for images on which k-NN says nothing (`why_no_accuracy`).
    """
    if not limits.thin:
        return None
    least = sorted(limits.thin, key=lambda entry: entry[1])
    named = ", ".join(f"{class_names[label]!r} ({images})" for label, images in least[:NAMED])
    others = f" and {len(least) - NAMED} more" if len(least) > NAMED else ""
    kinds = f"{len(least)} classes of the queries have" if len(least) > 1 else "One class of the queries has"
    reach = "100 %, but only with votes at their best"
    if limits.top1 < 1:
        below = math.floor(round(1000 * limits.top1, 6)) / 10  # a bound is never rounded up to what it excludes
        reach = f"at most {decimal(below, 1)} %, whatever the model"
    return (
        f"{kinds} fewer gallery images than half the k = {limits.k} neighbours that vote: {named}{others}; so top-1 "
        f"can reach {reach}."
    )


def why_no_accuracy(classes: int, gallery: int, k: int, reachable: float = 1.0) -> str | None:
    """Why k-NN accuracy says nothing about such images, as the beginning of a sentence; None where it does.

    classes: how many the gallery has, 0 where no image is labelled. reachable: `KnnLimits.top1`, where it is known.
    """
    if classes == 0:
        return "The images have no labels"
    if classes == 1:
        return "All images are of one class"
    if gallery < k:
        return f"The gallery has {gallery} images, fewer than the k = {k} neighbours that vote"
    if reachable == 0:
        return f"The gallery has too few images of the queries' classes for any to win a vote of k = {k} neighbours"
    return None


def wilson_interval(hits: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a share, 95 % unless told (Wilson, 1927)."""
    if not 0 <= hits <= total or total < 1:
        raise ValueError(f"{hits} hits of {total} is not a share")
    share = hits / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
