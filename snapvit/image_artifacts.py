"""What a run holds of single images: where heads look, where a cut moves them, and what the lessons show of them.

Letters as in `artifacts`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snapvit.artifacts import Bytes, Doubles, Floats, Ints


@dataclass(frozen=True)
class AttentionShares:
    """Shares of attention that one cut model gives to each patch of N images; R x C patches.

    They are the class token's, or those of the mean over all patches where there is none. What is missing to 1 goes
    to class, distillation and register tokens.
    """

    images: Ints  # (N,) ids in the source
    labels: Ints  # (N,) class numbers, -1 where there are none
    pictures: NDArray[np.uint8]  # (N, 3, h, w) as the model sees them, shrunk where large
    heads: NDArray[np.float16]  # (N, L, H, R, C), NaN where the cut removes the head
    rollout: NDArray[np.float16]  # (N, R, C) through the whole model (Abnar and Zuidema, 2020)
    by_class_token: bool


@dataclass(frozen=True)
class EmbeddingProjection:
    """Where one cut moves the images: full and cut features laid out in one plane, and the neighbours behind them.

    N images, the gallery first and then the M queries; k neighbours of each query, nearest first. Kept small, as it
    lies on disk: whole numbers in as few bytes as hold them, places in half precision.
    """

    ids: NDArray[np.unsignedinteger]  # (N,) in the image source
    gallery: int  # how many of them are the gallery
    labels: NDArray[np.signedinteger] | None  # (N,) class numbers, None where nobody labelled the images
    full_layout: NDArray[np.float16]  # (N, 2)
    cut_layout: NDArray[np.float16]  # (N, 2), in the same plane
    full_neighbours: NDArray[np.unsignedinteger]  # (M, k) rows of the gallery, by cosine of the full model's features
    cut_neighbours: NDArray[np.unsignedinteger]  # (M, k), by the cut model's
    full_cosines: Floats  # (M, k)
    cut_cosines: Floats  # (M, k)

    @property
    def queries(self) -> int:
        """M."""
        return len(self.ids) - self.gallery

    @property
    def k(self) -> int:
        """Neighbours of a query."""
        return self.full_neighbours.shape[1]


@dataclass(frozen=True)
class ImageLesson:
    """One image's views and what its loss is made of. V views, the first K of them global; D embedding width."""

    image: int  # its id
    label: int  # class number, -1 where nobody labelled it
    size: tuple[int, int]  # height and width of the image as stored
    picture: Bytes  # (3, h, w), shrunk for display
    boxes: Ints  # (V, 4) top, left, height and width of each crop, in pixels of the stored image
    views: Bytes  # (V, 3, h, w), shrunk for display
    shares: Floats  # (V, D) softmax of each view's normalised embedding; the teacher's are the first K
    terms: Doubles  # (K, V) -<t_k, s_m>, NaN where m is k
    loss: float  # sum of the terms


@dataclass(frozen=True)
class HeadGradients:
    """What the curvature of the heads is made of: the gradients of N calibration images, one by one."""

    ids: Ints  # (N,) image ids
    labels: Ints  # (N,) class numbers, -1 where nobody labelled them
    losses: Doubles  # (N,)
    squares: Floats  # (N, L, H) mean squared gradient of each image; their mean is the Fisher curvature
    accumulated: Floats  # (L, H) mean square of the mean gradient of all N images


@dataclass(frozen=True)
class PixelAnswers:
    """What k-NN names the queries by their pixels alone, with the same gallery and k, and without any model."""

    ids: Ints  # (M,) image ids of the queries, in the order of every measurement's answers
    labels: Ints  # (M,) class numbers, -1 where nobody labelled the images
    answers: Bytes  # (ceil(M / 8),) whether each is named right, packed; (0,) where k-NN says nothing
    side: int  # images are averaged down to squares of at most so many pixels a side
