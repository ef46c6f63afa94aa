"""What Streamlit does not report of a plotly chart: a click on a cell of a heat map, and where an animation rests.

One could lay a transparent marker over every cell instead, but a map of 156 structures would carry 24,336 of them.
The script beside this file is a constant; names reach it only as JSON, and what it sends is checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent


def on_cell(chart: str, act: Callable[[int, int], None]) -> None:
    """Call act(row, column), counted from 0, when a cell of the heat map in the chart with this key is clicked."""
    key = f"cells_{chart}"

    def clicked() -> None:
        cell = st.session_state[key].get("cell")
        if isinstance(cell, list) and len(cell) == 2 and all(isinstance(i, int) and i >= 0 for i in cell):
            act(*cell)

    _component()(key=key, data={"chart": chart}, on_cell_change=clicked, on_frame_change=_nothing, height=1)


def on_frame(chart: str, act: Callable[[str], None]) -> None:
    """Call act(name) when the animated chart with this key has shown the frame with this name for a moment."""
    key = f"frames_{chart}"

    def rested() -> None:
        name = st.session_state[key].get("frame")
        if isinstance(name, str):
            act(name)

    _component()(key=key, data={"chart": chart}, on_cell_change=_nothing, on_frame_change=rested, height=1)


def _nothing() -> None:
    """Naming a trigger is how the component is told that it has one."""


@cache
def _component() -> Callable[..., Any]:
    script = (HERE / "chart_events.js").read_text(encoding="utf-8")
    return st.components.v2.component("snapvit_chart_events", html="<div class='events'></div>", js=script)
