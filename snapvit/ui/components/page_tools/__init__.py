"""Small buttons that work in the browser alone: save a figure as a picture, copy the address of the view.

Streamlit has no widget for either. The script beside this file is a constant; names reach it only as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent


def picture_buttons(chart: str, file: str, title: str) -> None:
    """Buttons that save the plotly chart with key `chart` as PNG and as SVG, named `file` and an ending."""
    _component()(key=f"pictures_{chart}", data={"chart": chart, "file": file, "title": title}, width="content")


def copy_link() -> None:
    """A button that copies the address, which holds the whole selection."""
    _component()(key="copy_link", data={"chart": None, "file": None, "title": None}, width="content")


@cache
def _component() -> Callable[..., Any]:
    read = {kind: (HERE / f"page_tools.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")}
    return st.components.v2.component("snapvit_page_tools", **read)
