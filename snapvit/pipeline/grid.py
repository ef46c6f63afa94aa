"""A grid of cuts with the two ratios set apart, measured coarse first."""

from __future__ import annotations

from snapvit.pipeline.config import HEAD_LAG, PATH_END

HEADS_END = round(PATH_END - HEAD_LAG, 4)  # as far as the path takes the heads
COARSE, FINE = 5, 9  # cuts along each side; the fine grid holds the coarse one


def grid_pairs(side: int) -> list[tuple[float, float]]:
    """The (mlp, heads) of `side` x `side` evenly spaced cuts: corners first, then halving the gaps."""
    pairs = [(i, j) for i in range(side) for j in range(side)]
    ordered = sorted(pairs, key=lambda pair: (max(_level(i, side) for i in pair), pair))
    last = side - 1
    return [(round(PATH_END * i / last, 4), round(HEADS_END * j / last, 4)) for i, j in ordered]


def _level(place: int, side: int) -> int:
    """How often 0..side-1 must be halved until `place` is met; side - 1 is a power of two."""
    level, step = 0, side - 1
    while place % step:
        level, step = level + 1, step // 2
    return level
