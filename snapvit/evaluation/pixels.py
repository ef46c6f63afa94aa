"""Images as vectors without any model: what they give away by their pixels alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from snapvit.artifacts import Floats

SIDE = 32  # pixels; more say little more of what an image shows, and take a hundred times the memory


def pixel_features(batches: Iterable[Tensor], side: int = SIDE) -> Iterator[Floats]:
    """Channel values in [0, 1] of (B, 3, h, w) uint8 batches, (B, 3 s s) each: areas averaged to s x s,
    s = min(side, h, w)."""
    for batch in batches:
        size = min(side, *batch.shape[-2:])
        yield adaptive_avg_pool2d(batch.float() / 255, size).flatten(1).numpy()
