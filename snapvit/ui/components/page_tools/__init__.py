"""Small buttons that work in the browser alone: save a figure as SVG, copy the address of the view, light or dark.

Streamlit has no widget for any of them. The scripts are constants; names reach them only as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence

from snapvit.browser import read
from snapvit.ui.components.mounting import component

CSS = read(__file__, "page_tools.css")

_svg = component("svg_button", html="<button type='button'></button>", css=CSS)
_link = component("copy_link", html="<button type='button'></button>", css=CSS)
_theme = component("theme_switch", html="<button type='button'></button>", css=CSS)


def svg_button(chart: str, file: str, title: str) -> None:
    """A button that saves the plotly chart with key `chart` as `file` and an ending; title: what it is called by."""
    _svg(key=f"svg_{chart}", data={"chart": chart, "file": file, "title": title}, width="content")


def copy_link() -> None:
    """A button that copies the address, which holds the whole selection."""
    _link(key="copy_link", width="content")


def theme_switch(pages: Sequence[str]) -> None:
    """A button that turns all pages light or dark; once a page. pages: the last part of each one's address."""
    _theme(key="theme_switch", data={"pages": list(pages)}, width="content")
