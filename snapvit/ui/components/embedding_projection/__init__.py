"""The map of images that moves from the full model to the cut, with lasso and click; drawn in the browser.

Ten thousand points moving smoothly are beyond what plotly animates, so this is a component with a canvas of its own.
The markup, style and scripts beside this file are constants; numbers and names reach them only as JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

HERE = Path(__file__).parent


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
    """A name written into the map."""

    text: str
    full: tuple[float, float]
    cut: tuple[float, float]


@dataclass(frozen=True)
class MapPoints:
    """N images: who they are, where they are, and how they look."""

    ids: NDArray[np.integer]  # (N,)
    full: NDArray[np.floating]  # (N, 2)
    cut: NDArray[np.floating]  # (N, 2)
    group: NDArray[np.integer]  # (N,) index into the groups, below 256
    shown: NDArray[np.bool_]  # (N,) the others are grey and cannot be chosen
    labels: NDArray[np.integer]  # (N,) class numbers, -1 where there are none
    before: NDArray[np.integer]  # (N,) class that the full model's neighbours vote for, -1 where nobody asked
    after: NDArray[np.integer]  # (N,) the cut model's
    queries_from: int  # first row that is a query

    def packed(self) -> dict[str, str]:
        """Every column as base64 of a little-endian array."""
        columns = {"fullX": self.full[:, 0], "fullY": self.full[:, 1], "cutX": self.cut[:, 0], "cutY": self.cut[:, 1]}
        packed = {name: _text(column, "<f4") for name, column in columns.items()}
        kinds = {"ids": "<u4", "group": "u1", "shown": "u1", "labels": "<i2", "before": "<i2", "after": "<i2"}
        return packed | {name: _text(getattr(self, name), kind) for name, kind in kinds.items()}


@dataclass(frozen=True)
class MapWords:
    """What the map says besides its points."""

    title: str
    cut: str  # name of the cut, `cut at 65 %`
    alt: str
    hint: str  # while nothing is chosen
    below: str  # where the chosen images are shown
    file: str  # of the saved picture, without its ending


def embedding_projection(
    points: MapPoints,
    groups: tuple[Group, ...],
    legend: tuple[int, ...],
    places: tuple[Place, ...],
    classes: tuple[str, ...],
    words: MapWords,
    only: str | None,
    image: int | None,
    chosen: tuple[int, ...],
    key: str,
    on_picked: Callable[[int], None],
    on_chosen: Callable[[tuple[int, ...]], None],
    on_isolated: Callable[[str | None], None],
) -> None:
    """Draw the map; the callbacks are told image ids: of a click, of a lasso, and the group whose name was clicked.

    legend: groups to name beside the map. only: the group that is shown alone. image, chosen: ids
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
    data = {
        "points": points.packed(),
        "groups": [vars(group) | {"count": int(count)} for group, count in zip(groups, counts, strict=True)],
        "legend": list(legend),
        "names": [vars(place) for place in places],
        "classes": list(classes),
        "queriesFrom": points.queries_from,
        "only": only,
        "image": image,
        "chosen": list(chosen),
        **vars(words),
    }
    _component()(key=key, data=data, on_picked_change=picked, on_chosen_change=lassoed, on_isolated_change=isolated)


def _sent(key: str, name: str) -> Any:
    """What the browser sent last under this name."""
    state = st.session_state.get(key)
    sent = state.get(name) if state else None
    return sent.get("value") if isinstance(sent, dict) else None


def _text(column: NDArray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(column, kind).tobytes()).decode()


@cache
def _component() -> Callable[..., Any]:
    js = "".join(_read(name) for name in ("points.js", "painting.js", "saving.js", "embedding_projection.js"))
    html, css = _read("embedding_projection.html"), _read("embedding_projection.css")
    return st.components.v2.component("snapvit_embedding_projection", html=html, css=css, js=js)


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
