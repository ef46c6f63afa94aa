"""Attention drawn over the pictures it was given to."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image

from snapvit.artifacts import Doubles
from snapvit.figures.names import as_plotly, shortened
from snapvit.figures.style import CLICKED, SEQUENTIAL, finish

SMALL = 112  # px, of a picture in the row of examples
VEIL = 0.72  # of the heat over the picture
COLUMN = 11  # characters of a name above a picture of a row
ROWS = ("Picture", "Full model", "This cut")


def attention_overlay(
    pictures: NDArray[np.uint8],
    full: Doubles,
    cut: Doubles,
    names: Sequence[str],
    ids: Sequence[int],
    title: str,
    most: float,
    selected: int | None = None,
) -> go.Figure:
    """Each of N pictures (N, 3, h, w), raw, under the full model's attention and under the cut one's (N, R, C).

    A column a picture; one picture alone lies in a row instead, large. names: of their classes, as typed; may be empty.
    Where `cut` is NaN the head is gone. Colours go
    from 0 to `most`, a share, and are given in percent of the attention on one patch. Markers carry the image's id.
    """
    one = len(pictures) == 1
    rows, columns = (1, 3) if one else (3, len(pictures))
    traces, layout = [], {}
    for n, picture in enumerate(pictures):
        shown = picture if one else _small(picture)
        for kind, heat in enumerate((None, full[n], cut[n])):
            row, column = (0, kind) if one else (kind, n)
            axis = row * columns + column + 1
            traces += _cell(axis, shown, heat, names[n], ids[n])
            text = ROWS[kind] if one else (_column_title(names[n], ids[n]) if kind == 0 else "")
            if ids[n] == selected and not one:
                text = f"<b>{text}</b>"
            layout |= _axes(axis, _place(column, columns, 0.012), _place(rows - 1 - row, rows, 0.03))
            layout[f"xaxis{axis}"]["title"] = {"text": text, "font": {"size": 13}, "standoff": 6}
            layout[f"yaxis{axis}"]["title"] = {"text": ROWS[kind] if not one and n == 0 else "", "standoff": 4}
    bar = {"orientation": "h", "thickness": 12, "y": -0.03, "yanchor": "top"}
    bar["title"] = {"text": "attention on one patch (%)", "side": "bottom", "font": {"size": 13}}
    layout["coloraxis"] = {"colorscale": SEQUENTIAL, "cmin": 0, "cmax": 100 * most, "colorbar": bar}
    # One call for all: plotly checks each change of a figure's axes against all of them, half a second for 24 panels.
    figure = finish(go.Figure(traces, layout), title, height=410 if one else 520)
    return figure.update_layout(margin={"l": 34, "r": 10, "t": 92, "b": 78}, plot_bgcolor="rgba(0, 0, 0, 0)", **CLICKED)


def _column_title(name: str, image: int) -> str:
    return f"{as_plotly(shortened(name, COLUMN))}<br>{image}" if name else f"image {image}"


def _place(at: int, count: int, gap: float) -> list[float]:
    """Where one of `count` panels begins and ends, as a share of the figure."""
    size = (1 - gap * (count - 1)) / count
    return [at * (size + gap), at * (size + gap) + size]


def _axes(axis: int, across: list[float], up: list[float]) -> dict[str, dict[str, object]]:
    bare = {"showticklabels": False, "ticks": "", "showgrid": False, "zeroline": False}
    return {
        f"xaxis{axis}": bare | {"domain": across, "anchor": f"y{axis}", "side": "top", "visible": True},
        f"yaxis{axis}": bare | {"domain": up, "anchor": f"x{axis}"},
    }


def _cell(
    axis: int, shown: NDArray[np.uint8], heat: Doubles | None, name: str, image: int
) -> list[go.Image | go.Heatmap | go.Scatter]:
    """One picture, one unit wide and high, with its heat; a removed head leaves it pale."""
    height, width = shown.shape[1:]
    gone = heat is not None and bool(np.isnan(heat).any())
    step = 1 / max(height, width)
    place = {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
    picture = go.Image(
        source=_data_url(shown),
        x0=step / 2,
        y0=step / 2,
        dx=step,
        dy=step,
        opacity=0.25 if gone else 1,
        hoverinfo="skip",
        **place,
    )
    heats = np.full((1, 1), np.nan) if heat is None else heat
    rows, columns = heats.shape
    wide, high = step * width / columns, step * height / rows
    veil = go.Heatmap(
        z=np.round(100 * heats.astype(np.float64), 2).tolist(),
        x0=wide / 2,
        dx=wide,
        y0=high / 2,
        dy=high,
        coloraxis="coloraxis",
        opacity=VEIL,
        hoverongaps=False,
        hovertemplate=f"{as_plotly(name)} · {image}<br>%{{z:.1f}} % of the attention<extra></extra>",
        **place,
    )
    mark = go.Scatter(
        x=[step * width / 2],
        y=[step * height / 2],
        mode="text+markers" if gone else "markers",
        text=["removed"] if gone else None,
        textfont={"size": 14},
        marker={"size": 40, "opacity": 0, "symbol": "square"},
        customdata=[int(image)],
        hoverinfo="none",  # "skip" would take the clicks away too
        showlegend=False,
        **place,
    )
    return [picture, *([] if heat is None else [veil]), mark]


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(3, h, w) with at most SMALL pixels along its longer side."""
    step = -(-max(picture.shape[1:]) // SMALL)
    return picture[:, ::step, ::step]


def _data_url(picture: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
