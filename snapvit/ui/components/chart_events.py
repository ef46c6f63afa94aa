"""What Streamlit does not do for a plotly chart: small changes without sending it again, clicks on heat maps, frames.

Streamlit's chart is its content: a changed frame around one cell would bring all of the figure again, without the
person's zoom. Here the chart that is on the page is told what is different. For clicks one could lay a transparent
marker over every cell instead, but a map of 156 structures would carry 24,336 of them.
The scripts are constants; names reach them only as JSON, and what they send is checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from snapvit.ui.components import UNSEEN
from snapvit.ui.components.matrix_stack import Numbers
from snapvit.ui.components.mounting import component

EVENTS = ("point", "cell", "frame")

_mount = component("chart_events", html="<div class='events'></div>", script="chart_events/chart_events.js")


def chart_events(
    chart: str,
    base: str,
    alt: str,
    title: str,
    changes: Sequence[dict[str, Any]] = (),
    numbers: Numbers | None = None,
    jump: tuple[str, int] | None = None,
    on_point: Callable[[Any], None] | None = None,
    on_cell: Callable[[int, int], None] | None = None,
    on_frame: Callable[[str], None] | None = None,
) -> None:
    """Watch the chart with key `chart`, whose figure has `base` as its layout's `meta`, and change it.

    changes: each a `path` of names and indices into the figure, and the `value` there; without one it is taken away.
    alt: the chart in words. title: what its buttons are called by. numbers: of its heat map. jump: the frame to show
    now, and the number of this wish, so that it is granted once, and again to a chart that the browser drew anew.
    on_point: told the customdata of a point that is clicked. on_cell: row and column, counted from 0, of a heat map.
    on_frame: the name of a frame that an animated chart has shown for a moment.
    """
    key = f"{UNSEEN}events_{chart}"

    def sent(name: str) -> Any:
        return (st.session_state.get(key) or {}).get(name)

    def pointed() -> None:
        if on_point is not None and sent("point") is not None:
            on_point(sent("point"))

    def clicked() -> None:
        cell = sent("cell")
        is_cell = isinstance(cell, list) and len(cell) == 2 and all(isinstance(i, int) and i >= 0 for i in cell)
        if on_cell is not None and is_cell:
            on_cell(*cell)

    def rested() -> None:
        if on_frame is not None and isinstance(sent("frame"), str):
            on_frame(sent("frame"))

    wanted = zip(EVENTS, (on_point, on_cell, on_frame), strict=True)
    data = {
        "chart": chart,
        "base": base,
        "alt": alt,
        "title": title,
        "changes": list(changes),
        "numbers": None if numbers is None else vars(numbers),
        "jump": jump,
        "events": [name for name, act in wanted if act is not None],
    }
    told = {f"on_{name}_change": act for name, act in zip(EVENTS, (pointed, clicked, rested), strict=True)}
    _mount(key=key, data=data, height=1, **told)
