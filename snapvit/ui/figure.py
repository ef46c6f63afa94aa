"""How every figure stands on a page: the chart, a sentence on how to read it, and ways to take it along."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from snapvit.ui.components.page_tools import picture_buttons
from snapvit.ui.tables import csv_button

CONFIG = {"displaylogo": False, "displayModeBar": True}


def show_figure(
    figure: go.Figure,
    key: str,
    reading: str,
    alt: str,
    table: pd.DataFrame | None = None,
    file: str = "",
    on_click: Callable[[], None] | None = None,
    selection_mode: str | tuple[str, ...] = "points",
) -> None:
    """Draw `figure` with its reading sentence below and buttons for PNG, SVG and, with a `table`, CSV.

    key: of the chart, unique on the page; `st.session_state[key]` holds its selection when `on_click` is called.
    alt: the chart in words for those who do not see it. file: name of what is saved, without its ending.
    """
    file = file or key
    st.plotly_chart(
        figure,
        key=key,
        alt=alt,
        config=CONFIG,
        on_select=on_click if on_click is not None else "ignore",
        selection_mode=selection_mode,
    )
    st.caption(reading)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"take_{key}"):
        picture_buttons(key, file)
        if table is not None:
            csv_button(table, file, key=f"csv_{key}", help="The numbers of this figure")
