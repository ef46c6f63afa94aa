"""The live sparsity slider: everything in it follows the thumb while it is held, Python hears of its release.

Streamlit's own slider answers on release only, so this is a component that draws in the browser: exact numbers from
the ranking at every thumb position, measured ones (accuracy, cosine, latency) from a grid, interpolated in between and
labelled so. The markup, style and scripts are constants; numbers reach them only as JSON.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Any

import streamlit as st

from snapvit.ui.components.mounting import component, read
from snapvit.ui.components.parts import hand_part

_mount = component(
    "live_sparsity",
    html=read(__file__, "live_sparsity.html"),
    css=read(__file__, "live_sparsity.css", "charts.css", "layout.css"),
    script="live_sparsity/live_sparsity.js",
)


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


@dataclass
class _Thumb:
    """What the session remembers of one slider."""

    sparsity: float
    turn: int = 0  # rises when Python moves the thumb: the browser obeys a new turn and ignores an old one


def live_sparsity(
    data: LiveSparsity,
    value: float,
    key: str,
    on_release: Callable[[float], None],
    file: str = "sparsity",
    zoomed: bool = False,
    on_zoom: Callable[[bool], None] | None = None,
) -> None:
    """Draw the component. A released thumb calls on_release(sparsity), snapped to a step, before the next run.

    `value` is what the page has selected: while it is what the last release said, the thumb stays where it is; any
    other value (a deep link, a button) moves the thumb there, unless a person is holding it. `file` begins the names of
    saved pictures. While `zoomed`, the curve's axis shows where the curve is and no more; the switch calls on_zoom.
    """
    memory = f"_{key}_thumb"
    asked = data.snap(value)
    is_new = memory not in st.session_state
    thumb: _Thumb = st.session_state.setdefault(memory, _Thumb(asked))
    if asked != data.snap(thumb.sparsity):
        thumb = st.session_state[memory] = _Thumb(asked, thumb.turn + 1)

    def released() -> None:
        sparsity = _released(st.session_state.get(key))
        if sparsity is not None:
            # The browser's thumb is there already, so this is no new turn.
            st.session_state[memory] = _Thumb(data.snap(sparsity), st.session_state[memory].turn)
            on_release(data.snap(sparsity))

    def switched() -> None:
        asked = (st.session_state.get(key) or {}).get("zoomed")
        if on_zoom is not None and isinstance(asked, bool):
            on_zoom(asked)

    told = {"on_released_change": released, "on_zoomed_change": switched}
    result = _mount(key=key, data=_payload(data) | {"key": key, "file": file}, **told)
    # After a restart of the server a release may be the first that the new session hears, which has nobody yet to call.
    if is_new and _released(result, "was") == asked != _released(result):
        released()
        st.rerun()
    hand_part(key, "thumb", {"value": thumb.sparsity, "turn": thumb.turn, "zoomed": zoomed})


def _released(component: Any, part: str = "sparsity") -> float | None:
    """Where the thumb was let go, or where it `was` by what Python had told."""
    released = component.get("released") if component else None
    try:
        return float(released[part])
    except (TypeError, KeyError, ValueError):  # it comes from a browser
        return None


def _payload(data: LiveSparsity) -> dict[str, Any]:
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
