"""How every figure stands on a page: the chart, a sentence on how to read it, and ways to take it along."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from snapvit.ui.components.chart_events import chart_events
from snapvit.ui.components.matrix_stack import Numbers
from snapvit.ui.components.page_tools import svg_button
from snapvit.ui.selection import visit
from snapvit.ui.tables import csv_button

CONFIG = {"displaylogo": False, "displayModeBar": True}
PNG = {"format": "png", "scale": 3}  # sharp on a slide, a narrow figure too
SENT = "figures_sent"  # session key: {key of a chart: the Drawn that is on the page}
WORTH = 0.5  # of a figure's size; changes larger than that are no gain

Change = dict[str, Any]  # `path` into a figure and the `value` there, which is missing where there is none any more


@dataclass(frozen=True)
class Drawn:
    """A figure and what is sent of it; not to be changed any more."""

    figure: go.Figure
    spec: dict[str, Any]  # as the browser gets it
    size: int  # bytes
    name: str  # of its content
    visit: int = -1  # during which it came to the page
    alt: str = ""  # with which it came
    file: str = ""  # under which its own button saves it

    @classmethod
    def of(cls, figure: go.Figure) -> Drawn:
        """Write the figure down; it must not be changed after that."""
        text = figure.to_json(validate=False)
        name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        figure.layout.meta = {"base": name}
        return cls(figure, json.loads(text), len(text), name)


def show_figure(
    figure: go.Figure | Drawn,
    key: str,
    reading: str,
    alt: str,
    table: pd.DataFrame | Callable[[], pd.DataFrame] | None = None,
    file: str = "",
    marks: Sequence[dict[str, Any]] = (),
    numbers: Numbers | None = None,
    jump: tuple[str, int] | None = None,
    on_point: Callable[[Any], None] | None = None,
    on_cell: Callable[[int, int], None] | None = None,
    on_frame: Callable[[str], None] | None = None,
) -> None:
    """Draw `figure` with its reading sentence below and buttons for SVG and, with a `table`, CSV; PNG is plotly's own.

    key: of the chart, unique on the page. alt: the chart in words for those who do not see it. file: name of what is
    saved, without its ending. marks: shapes over the figure. Of a figure that changes between two reruns only the
    difference is sent, as long as its file has the same name.
    numbers, jump, on_point, on_cell, on_frame: see `chart_events`.
    """
    drawn = figure if isinstance(figure, Drawn) else Drawn.of(figure)
    file = file or key
    base, changes = _difference(key, drawn, alt, file)
    if marks:
        changes = [*changes, _marked(drawn, marks)]
    _chart(key, base.name, base.alt, base.file, _base=base)
    title = drawn.spec["layout"]["title"]["text"]
    chart_events(key, base.name, alt, title, changes, numbers, jump, on_point, on_cell, on_frame)
    st.caption(reading)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"take_{key}"):
        svg_button(key, file, title)
        if table is not None:
            csv_button(table, file, key=f"csv_{key}", help="The numbers of this figure")


def kept_figure(name: str, *of: Hashable, make: Callable[[], go.Figure]) -> Drawn:
    """The figure that `make` makes, which depends on nothing but `name` and `of`; made once for all sessions."""
    return _kept(name, of, make)


@st.cache_resource(show_spinner=False, max_entries=300)
def _kept(name: str, of: tuple[Hashable, ...], _make: Callable[[], go.Figure]) -> Drawn:
    return Drawn.of(_make())


# The element is kept with its content, so that a rerun does not write the same figure down again.
@st.cache_resource(show_spinner=False, max_entries=100)
def _chart(key: str, name: str, alt: str, file: str, _base: Drawn) -> None:
    config = CONFIG | {"toImageButtonOptions": PNG | {"filename": file}}
    st.plotly_chart(_base.figure, key=key, alt=alt, config=config)


def _marked(drawn: Drawn, marks: Sequence[dict[str, Any]]) -> Change:
    return {"path": ["layout", "shapes"], "value": [*drawn.spec["layout"].get("shapes", ()), *marks]}


def _difference(key: str, new: Drawn, alt: str, file: str) -> tuple[Drawn, list[Change]]:
    """The figure that is to be on the page, and what is different in the new one; all of that anew if it is much."""
    sent: dict[str, Drawn] = st.session_state.setdefault(SENT, {})
    old = sent.get(key)
    if old is not None and (old.visit, old.file) == (visit(), file) and _alike(old.spec, new.spec):
        changes = [] if old.name == new.name else list(differences(old.spec, new.spec))
        if len(json.dumps(changes)) < WORTH * new.size:
            return old, changes
    sent[key] = replace(new, visit=visit(), alt=alt, file=file)
    return sent[key], []


def _alike(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether the one figure can become the other: traces, frames and height are the same ones."""
    kinds = [[trace["type"] for trace in spec["data"]] for spec in (old, new)]
    height = [spec["layout"].get("height") for spec in (old, new)]
    return kinds[0] == kinds[1] and height[0] == height[1] and old.get("frames") == new.get("frames")


def differences(old: Any, new: Any, path: tuple[str | int, ...] = ()) -> Iterator[Change]:
    """What to write into the figure `old` to make it `new`; traces must be as many. Arrays change as a whole."""
    if isinstance(old, dict) and isinstance(new, dict) and "bdata" not in old and "bdata" not in new:
        for name in [*old, *(name for name in new if name not in old)]:
            if name not in new:
                yield {"path": [*path, name]}
            elif name not in old:
                yield {"path": [*path, name], "value": new[name]}
            else:
                yield from differences(old[name], new[name], (*path, name))
    elif path == ("data",):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, ("data", i))
    elif old != new:
        yield {"path": list(path), "value": new}
