"""A button that turns the page from light to dark and back. Streamlit's own switch is in the menu that pages hide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent


def theme_switch(pages: Sequence[str]) -> None:
    """Draw the button; once a page. pages: the last part of every page's address."""
    _component()(key="theme_switch", data={"pages": list(pages)}, width="content")


@cache
def _component() -> Callable[..., Any]:
    css = (HERE.parent / "page_tools" / "page_tools.css").read_text(encoding="utf-8")
    js = (HERE / "theme_switch.js").read_text(encoding="utf-8")
    html = '<div class="tools"><button type="button">Light / dark</button></div>'
    return st.components.v2.component("snapvit_theme_switch", html=html, css=css, js=js)
