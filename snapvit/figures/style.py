"""What all figures share: colours that colour-blind readers can tell apart (Okabe and Ito), and margins."""

from __future__ import annotations

import plotly.graph_objects as go

# The blue is lighter than the palette's, so that it stands out on a dark page too.
BLUE, ORANGE, GREEN, GREY = "#2E86C9", "#D55E00", "#009E73", "#8C8C8C"
YELLOW, PURPLE, SKY = "#E69F00", "#CC79A7", "#56B4E9"
BAND = "rgba(46, 134, 201, 0.25)"
SEQUENTIAL = "Viridis"


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
