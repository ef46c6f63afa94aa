"""What the live sparsity slider shows and is drawn with, on pages as in a notebook.

It draws in the browser: exact numbers from the ranking at every thumb position, measured ones (accuracy, cosine,
latency) from a grid, interpolated in between and labelled so. Markup, style and scripts are constants; numbers reach
them only as JSON.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Any

from snapvit.browser import read

SCRIPT = "live_sparsity/live_sparsity.js"
HTML = read(__file__, "live_sparsity.html")
CSS = read(__file__, "live_sparsity.css", "charts.css", "layout.css")


@dataclass(frozen=True)
class LivePoint:
    """One measured point of the slider path."""

    sparsity: float  # all but the last are shares in [0, 1]
    top1: float | None  # None where the images allow no accuracy
    low: float | None  # 95 % interval of top1
    high: float | None
    cosine: float  # mean cosine between the cut and the full model's embeddings
    gain: float | None = None  # top1 less the full model's on the same queries; None where that is not measured
    gain_low: float | None = None  # its 95 % interval
    gain_high: float | None = None
    latency_ms: float | None = None  # one image; None where it is not timed
    latency_ratio: float | None = None  # to the full model's


@dataclass(frozen=True)
class LiveStep:
    """One position of the thumb; exact, from the ranking alone."""

    sparsity: float
    mlp: float  # share of all MLP neurons removed
    heads: float  # share of all heads removed
    params: int
    macs: int  # of one image
    neurons: tuple[int, ...]  # (L,) kept in each block
    head_counts: tuple[int, ...]  # (L,)


@dataclass(frozen=True)
class LiveSparsity:
    """Everything that the component shows. `points` may still be few, or none, while a job measures the grid."""

    steps: tuple[LiveStep, ...]  # at least two, evenly spaced, the first at sparsity 0 (the full model)
    points: tuple[LivePoint, ...]  # sorted by sparsity
    hidden: int  # F, a block's full width
    num_heads: int  # H
    chance: float | None  # top-1 of guessing; None hides the line
    k: int  # neighbours that vote
    queries: int
    accuracy_missing: str | None = None  # why there is no accuracy; then the curve is the cosine's
    timed_here: bool = True  # whether latencies are this computer's
    corrected: bool = False  # whether the points are of cuts whose weights are corrected
    other: tuple[tuple[float, float], ...] = ()  # sparsity and the curve's quantity of the other way, by sparsity

    def __post_init__(self) -> None:
        where = [step.sparsity for step in self.steps]
        if len(where) < 2 or where[0] != 0:
            raise ValueError(f"the slider needs at least two steps from sparsity 0 on, not {where[:3]}")
        gaps = [right - left for left, right in pairwise(where)]
        if min(gaps) <= 0 or max(gaps) - min(gaps) > 1e-6:
            raise ValueError(f"the slider's steps must be evenly spaced, not {min(gaps)} to {max(gaps)} apart")
        measured = [point.sparsity for point in self.points]
        if measured != sorted(measured):
            raise ValueError("measured points must be sorted by sparsity")
        if not all(math.isfinite(n) for point in self.points for n in astuple(point) if n is not None):
            raise ValueError("every measured point must be finite")
        if any((point.top1 is None) != (self.accuracy_missing is not None) for point in self.points):
            raise ValueError("points have an accuracy exactly where the images allow one")

    def snap(self, sparsity: float) -> float:
        """The step nearest to `sparsity`."""
        if math.isnan(sparsity):
            return self.steps[0].sparsity
        where = [step.sparsity for step in self.steps]
        right = min(max(bisect_left(where, sparsity), 1), len(where) - 1)
        return min(where[right - 1], where[right], key=lambda step: abs(step - sparsity))


def payload(data: LiveSparsity) -> dict[str, Any]:
    """The same as JSON, as the script takes it."""
    steps, points = data.steps, data.points
    return {
        "steps": {
            "sparsity": [round(step.sparsity, 6) for step in steps],
            "mlp": [round(step.mlp, 6) for step in steps],
            "heads": [round(step.heads, 6) for step in steps],
            "params": [step.params for step in steps],
            "macs": [step.macs for step in steps],
            "neurons": [list(step.neurons) for step in steps],
            "headCounts": [list(step.head_counts) for step in steps],
        },
        "points": [
            {
                "sparsity": round(point.sparsity, 6),
                "top1": point.top1,
                "low": point.low,
                "high": point.high,
                "cosine": point.cosine,
                "gain": point.gain,
                "gainLow": point.gain_low,
                "gainHigh": point.gain_high,
                "latency": point.latency_ms,
                "latencyRatio": point.latency_ratio,
            }
            for point in points
        ],
        "hidden": data.hidden,
        "numHeads": data.num_heads,
        "chance": data.chance,
        "k": data.k,
        "queries": data.queries,
        "accuracyMissing": data.accuracy_missing,
        "timedHere": data.timed_here,
        "corrected": data.corrected,
        "other": [[round(sparsity, 6), value] for sparsity, value in data.other],
    }
