"""What a cut does to the queries' nearest neighbours, and so to what k-NN calls them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from snapvit.artifacts import Ints
from snapvit.evaluation.knn import majority
from snapvit.image_artifacts import EmbeddingProjection

STILL_RIGHT, NEWLY_WRONG, NEWLY_RIGHT, STILL_WRONG = range(4)


def outcomes(truth: Ints, before: Ints, after: Ints) -> Ints:
    """(M,) how the answer to each query changed: STILL_RIGHT, NEWLY_WRONG, NEWLY_RIGHT or STILL_WRONG.

    truth, before, after (M,): the query's class, and what the full and the cut model call it. A wrong answer that
    becomes another wrong one is still wrong.
    """
    was, is_right = before == truth, after == truth
    return np.where(was, np.where(is_right, STILL_RIGHT, NEWLY_WRONG), np.where(is_right, NEWLY_RIGHT, STILL_WRONG))


def predictions(found: EmbeddingProjection) -> tuple[Ints, Ints] | None:
    """(M,) classes that the full and the cut model's neighbours vote for; None without labels."""
    if found.labels is None:
        return None
    gallery = found.labels[: found.gallery].astype(np.int64)
    return majority(gallery[found.full_neighbours]), majority(gallery[found.cut_neighbours])


def stayed(found: EmbeddingProjection) -> NDArray[np.bool_]:
    """(M, k) whether each neighbour of a query in the full model is among its neighbours in the cut one."""
    return _among(found.full_neighbours, found.cut_neighbours)


def was_there(found: EmbeddingProjection) -> NDArray[np.bool_]:
    """(M, k) whether each neighbour of a query in the cut model was among its neighbours in the full one."""
    return _among(found.cut_neighbours, found.full_neighbours)


def _among(rows: Ints, others: Ints) -> NDArray[np.bool_]:
    return (rows[:, :, None] == others[:, None, :]).any(axis=2)
