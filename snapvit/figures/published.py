"""Accuracies that others published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import plotly.graph_objects as go

from snapvit.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, YELLOW, accuracy_range, finish

# Okabe and Ito; the markers tell the lines apart without colour
LOOKS = (
    (BLUE, "circle"),
    (ORANGE, "square"),
    (GREEN, "diamond"),
    (YELLOW, "triangle-up"),
    (PURPLE, "x"),
    (SKY, "star"),
    (GREY, "cross"),
)


class Accuracy(Protocol):
    """One published number."""

    mlp: float
    dataset: str
    top1: float


def published_curves(rows: Sequence[Accuracy], selected: float, zoomed: bool = False) -> go.Figure:
    """Top-1 against sparsity, a line a data set; `zoomed`: the axis shows where the lines are and no more."""
    figure = go.Figure()
    for i, dataset in enumerate(dict.fromkeys(row.dataset for row in rows)):
        colour, symbol = LOOKS[i % len(LOOKS)]
        points = sorted((row.mlp, row.top1) for row in rows if row.dataset == dataset)
        figure.add_scatter(
            x=[100 * mlp for mlp, _ in points],
            y=[100 * top1 for _, top1 in points],
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"symbol": symbol, "size": 9},
            name=dataset,
            hovertemplate=f"{dataset}<br>MLP sparsity %{{x:.0f}} %<br>top-1 %{{y:.2f}} %<extra></extra>",
        )
    figure.add_vline(x=100 * selected, line={"color": ORANGE, "width": 2})
    figure.update_xaxes(title="Sparsity (% of MLP neurons removed)", range=[-1, 96])
    figure.update_yaxes(
        title="Published k-NN top-1 (%)", range=accuracy_range([100 * row.top1 for row in rows], zoomed)
    )
    # beside the plot: seven names above it would wrap over the title
    finish(figure, "Published accuracy of these scores", height=420)
    return figure.update_layout(legend={"orientation": "v", "x": 1.01, "y": 1, "xanchor": "left", "yanchor": "top"})
