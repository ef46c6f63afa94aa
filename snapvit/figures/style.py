"""What all figures share: colours that colour-blind readers can tell apart (Okabe and Ito), and margins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale, unlabel_rgb

# The blue is lighter than the palette's, so that it stands out on a dark page too.
BLUE, ORANGE, GREEN, GREY = "#2E86C9", "#D55E00", "#009E73", "#8C8C8C"
YELLOW, PURPLE, SKY = "#E69F00", "#CC79A7", "#56B4E9"
SEQUENTIAL = "Viridis"
# Blue, near white, orange red: told apart with every kind of colour blindness. Centre it at 0 with `zmid` or a
# symmetric range.
DIVERGING = [
    [0.0, "#053061"],
    [0.125, "#2166AC"],
    [0.25, "#4393C3"],
    [0.375, "#A6CEE3"],
    [0.5, "#F4F4F4"],
    [0.625, "#F7C39B"],
    [0.75, "#E08214"],
    [0.875, "#B35806"],
    [1.0, "#6B3003"],
]

CLICKED = {"dragmode": "pan", "hovermode": "closest"}  # layout of a figure whose points are there to be clicked

NUMBERED_BLOCKS = 14  # up to so many blocks there is room for numbers in a map's cells
EQUAL_CONTRAST = 0.179  # luminance that black and white stand out from alike: sqrt(1.05 * 0.05) - 0.05


def cell_numbers(heat: go.Heatmap, text: np.ndarray) -> go.Scatter:
    """Write `text` into the cells of a heat map, black or white, whichever its cell's colour shows better.

    Plotly's own choice for `texttemplate` is dark grey on middle colours, which is hard to read.
    """
    values = np.asarray(heat.z, float)
    low = np.nanmin(values) if heat.zmin is None else heat.zmin
    high = np.nanmax(values) if heat.zmax is None else heat.zmax
    row, column = np.nonzero(np.isfinite(values))
    shares = np.clip((values[row, column] - low) / max(high - low, 1e-12), 0, 1)
    scale = [[share, colour] for share, colour in heat.colorscale]
    black = [_luminance(colour) > EQUAL_CONTRAST for colour in sample_colorscale(scale, shares)]
    return go.Scatter(
        x=np.asarray(heat.x)[column],
        y=np.asarray(heat.y)[row],
        mode="text",
        text=text[row, column],
        textfont={"color": np.where(black, "black", "white"), "size": 11},
        hoverinfo="skip",
        showlegend=False,
    )


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of `rgb(r, g, b)`, 0 black to 1 white."""
    part = np.array(unlabel_rgb(colour)) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def accuracy_range(percent: Sequence[float], zoomed: bool) -> list[float]:
    """Ends of an axis of accuracies in percent: all of it, or the fives around these values."""
    if not zoomed:
        return [0, 100]
    return [max(0, 5 * math.floor(min(percent) / 5)), min(100, 5 * math.ceil(max(percent) / 5))]


def upright(x: float, **line: object) -> dict[str, object]:
    """Layout shape: a line at x through the height of a figure's only panel.

    Plotly's own `add_vline` takes 30 ms, as long as all else of a small figure.
    """
    return {"type": "line", "x0": x, "x1": x, "yref": "y domain", "y0": 0, "y1": 1, "line": line}


def beside_upright(x: float, text: str, y: float, xanchor: str) -> dict[str, object]:
    """Layout annotation: words at the line at x, from y up, a share of the panel's height."""
    place = {"x": x, "xref": "x", "xanchor": xanchor, "y": y, "yref": "y domain", "yanchor": "bottom"}
    return place | {"text": text, "font": {"size": 13}, "showarrow": False}


def finish(figure: go.Figure, title: str, height: int = 380) -> go.Figure:
    """Title, margins and a legend above the plot."""
    return figure.update_layout(
        title={"text": title, "font": {"size": 17}, "x": 0, "xanchor": "left"},
        height=height,
        margin={"l": 70, "r": 20, "t": 78, "b": 55},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        font={"size": 14},
        hoverlabel={"font": {"size": 14}},
    )
