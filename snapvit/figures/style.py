"""What all figures share: colours that colour-blind readers can tell apart (Okabe and Ito), and margins."""

from __future__ import annotations

import plotly.graph_objects as go

# The blue is lighter than the palette's, so that it stands out on a dark page too.
BLUE, ORANGE, GREEN, GREY = "#2E86C9", "#D55E00", "#009E73", "#8C8C8C"
YELLOW, PURPLE, SKY = "#E69F00", "#CC79A7", "#56B4E9"
BAND = "rgba(46, 134, 201, 0.25)"
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
