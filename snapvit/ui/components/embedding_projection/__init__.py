"""The projection of images that moves from the full model to the cut, with lasso and click; drawn in the browser.

Ten thousand points moving smoothly are beyond what plotly animates, so this is a component with a canvas of its own.
The markup, style and scripts are constants; numbers and names reach them only as JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from snapvit.browser import read
from snapvit.ui.components.mounting import component
from snapvit.ui.components.parts import hand_part

_mount = component(
    "embedding_projection",
    html=read(__file__, "embedding_projection.html"),
    css=read(__file__, "embedding_projection.css"),
    script="embedding_projection/embedding_projection.js",
)


@dataclass(frozen=True)
class Group:
    """Points that look alike: a class, or an outcome."""

    name: str
    light: str  # colour on a light page
    dark: str
    shape: str = "circle"  # square, up, down
    size: float = 1.0  # beside the others
    layer: int = 0  # higher ones are painted over lower ones


@dataclass(frozen=True)
class Place:
    """A name written into the projection."""

    text: str
    full: tuple[float, float]
    cut: tuple[float, float]


@dataclass(frozen=True)
class ProjectionPoints:
    """N images: who they are, where they are, and how they look. M of them, the last ones, are queries."""

    ids: NDArray[np.integer]  # (N,)
    full: NDArray[np.floating]  # (N, 2)
    cut: NDArray[np.floating]  # (N, 2)
    group: NDArray[np.integer]  # (N,) index into the groups, below 256
    shown: NDArray[np.bool_]  # (N,) the others are grey and cannot be chosen
    labels: NDArray[np.integer]  # (N,) class numbers, -1 where there are none
    before: NDArray[np.integer] | None  # (M,) class that the full model's neighbours vote for; None where nobody asked
    after: NDArray[np.integer] | None  # (M,) the cut model's
    queries_from: int  # first row that is a query

    def of_full(self) -> dict[str, Any]:
        """Columns that are the same for every cut, each as base64 of a little-endian array, and the layout's box."""
        columns = {"ids": _text(self.ids, "<u4"), "labels": _text(self.labels, "<i2"), "before": _votes(self.before)}
        return columns | {"full": _places(self.full)}

    def of_cut(self) -> dict[str, Any]:
        """Columns of the cut."""
        return {"cut": _places(self.cut), "after": _votes(self.after)}

    def shown_bits(self) -> str:
        """`shown`, a bit an image, as base64."""
        return _text(np.packbits(self.shown, bitorder="little"), "u1")


@dataclass(frozen=True)
class ProjectionWords:
    """What the projection says besides its points."""

    title: str
    cut: str  # name of the cut, `cut at 65 %`
    alt: str
    hint: str  # while nothing is chosen
    below: str  # where the chosen images are shown
    file: str  # of the saved picture, without its ending


def embedding_projection(
    points: ProjectionPoints,
    groups: tuple[Group, ...],
    legend: tuple[int, ...],
    places: tuple[Place, ...],
    classes: tuple[str, ...],
    words: ProjectionWords,
    only: str | None,
    image: int | None,
    chosen: tuple[int, ...],
    key: str,
    on_picked: Callable[[int], None],
    on_chosen: Callable[[tuple[int, ...]], None],
    on_isolated: Callable[[str | None], None],
) -> None:
    """Draw the projection; callbacks are told image ids: of a click, of a lasso, and the group whose name was clicked.

    legend: groups to name beside the projection. only: the group that is shown alone. image, chosen: ids
    of the selected one and of those of the last lasso.
    """
    known = set(points.ids.tolist())

    def picked() -> None:
        found = _sent(key, "picked")
        if found in known:
            on_picked(int(found))

    def lassoed() -> None:
        on_chosen(tuple(i for i in _sent(key, "chosen") or () if i in known))

    def isolated() -> None:
        name = _sent(key, "isolated")
        on_isolated(name if name in {group.name for group in groups} else None)

    counts = np.bincount(points.group, minlength=len(groups))
    hand_part(key, "cut", {"ofCut": points.of_cut()})
    colours = {
        "group": _text(points.group, "u1"),
        "groups": [vars(group) | {"count": int(count)} for group, count in zip(groups, counts, strict=True)],
        "legend": list(legend),
    }
    look = {
        "shown": points.shown_bits(),
        "names": [vars(place) for place in places],
        "only": only,
        "image": image,
        "chosen": list(chosen),
        **vars(words),
    }
    hand_part(key, "colours", colours)
    hand_part(key, "look", look)
    data = {"key": key, "ofFull": points.of_full(), "classes": list(classes), "queriesFrom": points.queries_from}
    _mount(key=key, data=data, on_picked_change=picked, on_chosen_change=lassoed, on_isolated_change=isolated)


def _sent(key: str, name: str) -> Any:
    """What the browser sent last under this name."""
    state = st.session_state.get(key)
    sent = state.get(name) if state else None
    return sent.get("value") if isinstance(sent, dict) else None


def _places(layout: NDArray[np.floating]) -> dict[str, Any]:
    """(N, 2) places in 65,536 steps of their box: more than a screen has."""
    low, high = layout.min(axis=0).astype(float), layout.max(axis=0).astype(float)
    steps = np.round((layout - low) / np.maximum(high - low, 1e-12) * 65535)
    return {"low": low.tolist(), "high": high.tolist(), "x": _text(steps[:, 0], "<u2"), "y": _text(steps[:, 1], "<u2")}


def _votes(named: NDArray[np.integer] | None) -> str:
    return "" if named is None else _text(named, "<i2")


def _text(column: NDArray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(column, kind).tobytes()).decode()
