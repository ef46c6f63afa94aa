"""Attention drawn over the pictures it was given to."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image
from plotly.subplots import make_subplots

from snapvit.artifacts import Doubles
from snapvit.figures.style import SEQUENTIAL, finish

SMALL = 112  # px, of a picture in the row of examples
VEIL = 0.72  # of the heat over the picture
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

    A column a picture; one picture alone lies in a row instead, large. Where `cut` is NaN the head is gone. Colours go
    from 0 to `most`, a share, and are given in percent of the attention on one patch. Markers carry the image's id.
    """
    one = len(pictures) == 1
    rows, columns = (1, 3) if one else (3, len(pictures))
    figure = make_subplots(rows, columns, horizontal_spacing=0.012, vertical_spacing=0.03)
    for n, picture in enumerate(pictures):
        shown = picture if one else _small(picture)
        for kind, heat in enumerate((None, full[n], cut[n])):
            place = {"row": 1, "col": kind + 1} if one else {"row": kind + 1, "col": n + 1}
            _cell(figure, place, shown, heat, names[n], ids[n])
            edge = ids[n] == selected and not one
            text = ROWS[kind] if one else (names[n] if kind == 0 else "")
            figure.update_xaxes(
                title={"text": f"<b>{text}</b>" if edge else text, "font": {"size": 13}, "standoff": 6},
                side="top",
                visible=True,
                showticklabels=False,
                ticks="",
                showgrid=False,
                zeroline=False,
                **place,
            )
            figure.update_yaxes(
                title={"text": ROWS[kind] if not one and n == 0 else "", "standoff": 4},
                showticklabels=False,
                ticks="",
                showgrid=False,
                zeroline=False,
                **place,
            )
    bar = {"orientation": "h", "thickness": 12, "y": -0.03, "yanchor": "top"}
    bar["title"] = {"text": "attention on one patch (%)", "side": "bottom", "font": {"size": 13}}
    figure.update_layout(coloraxis={"colorscale": SEQUENTIAL, "cmin": 0, "cmax": 100 * most, "colorbar": bar})
    finish(figure, title, height=410 if one else 520)
    return figure.update_layout(margin={"l": 34, "r": 10, "t": 92, "b": 78}, plot_bgcolor="rgba(0, 0, 0, 0)")


def _cell(
    figure: go.Figure,
    place: dict[str, int],
    shown: NDArray[np.uint8],
    heat: Doubles | None,
    name: str,
    image: int,
) -> None:
    """One picture, one unit wide and high, with its heat; a removed head leaves it pale."""
    height, width = shown.shape[1:]
    gone = heat is not None and np.isnan(heat).any()
    step = 1 / max(height, width)
    figure.add_trace(
        go.Image(
            source=_data_url(shown),
            x0=step / 2,
            y0=step / 2,
            dx=step,
            dy=step,
            opacity=0.25 if gone else 1,
            hoverinfo="skip",
        ),
        **place,
    )
    if heat is not None and not gone:
        rows, columns = heat.shape
        wide, high = step * width / columns, step * height / rows
        figure.add_trace(
            go.Heatmap(
                z=np.round(100 * heat.astype(np.float64), 2),
                x0=wide / 2,
                dx=wide,
                y0=high / 2,
                dy=high,
                coloraxis="coloraxis",
                opacity=VEIL,
                hovertemplate=f"{name}<br>%{{z:.1f}} % of the attention<extra></extra>",
            ),
            **place,
        )
    figure.add_trace(
        go.Scatter(
            x=[step * width / 2],
            y=[step * height / 2],
            mode="text+markers" if gone else "markers",
            text=["removed"] if gone else None,
            textfont={"size": 14},
            marker={"size": 40, "opacity": 0, "symbol": "square"},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
            customdata=[int(image)],
            hoverinfo="none",  # "skip" would take the clicks away too
            showlegend=False,
        ),
        **place,
    )


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(3, h, w) with at most SMALL pixels along its longer side."""
    step = -(-max(picture.shape[1:]) // SMALL)
    return picture[:, ::step, ::step]


def _data_url(picture: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
