"""Accuracy against sparsity."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from snapvit.artifacts import Floats
from snapvit.figures.style import BAND, BLUE, GREEN, GREY, ORANGE, finish


def accuracy_curve(
    sparsity: Floats,
    top1: Floats,
    low: Floats,
    high: Floats,
    chance: float | None = None,
    selected: float | None = None,
) -> go.Figure:
    """k-NN top-1 along the slider's path with its 95 % band. All shares in [0, 1], sorted by sparsity."""
    percent = 100 * np.asarray(sparsity)
    band_x = np.concatenate([percent, percent[::-1]])
    band_y = 100 * np.concatenate([high, np.asarray(low)[::-1]])
    figure = go.Figure(
        [
            go.Scatter(
                x=band_x, y=band_y, fill="toself", fillcolor=BAND, line_width=0, name="95 % interval", hoverinfo="skip"
            ),
            go.Scatter(
                x=percent,
                y=100 * np.asarray(top1),
                mode="lines+markers",
                line={"color": BLUE, "width": 3},
                marker={"size": 7},
                name="cut model, measured",
                customdata=100 * np.stack([low, high], axis=1),
                hovertemplate="sparsity %{x:.1f} %<br>top-1 %{y:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f})"
                "<extra></extra>",
            ),
        ]
    )
    if len(top1) and percent[0] == 0:
        _level(figure, float(top1[0]), "full model", GREEN, "dash", "top right")
    if chance is not None:
        _level(figure, chance, "guessing", GREY, "dot", "top left")
    if selected is not None:
        figure.add_vline(x=100 * selected, line={"color": ORANGE, "width": 2})
    figure.update_xaxes(title="Sparsity (% of MLP neurons removed)", range=[-1, 96])
    figure.update_yaxes(title="k-NN top-1 (%)", range=[0, 100])
    return finish(figure, "What each cut costs in accuracy")


def cosine_curve(sparsity: Floats, cosine: Floats) -> go.Figure:
    """Mean cosine of the cut models' embeddings to the full model's along the slider's path, sorted by sparsity."""
    figure = go.Figure(
        go.Scatter(
            x=100 * np.asarray(sparsity),
            y=cosine,
            mode="lines+markers",
            line={"color": BLUE, "width": 3},
            marker={"size": 7},
            hovertemplate="sparsity %{x:.1f} %<br>cosine %{y:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="Sparsity (% of MLP neurons removed)", range=[-1, 96])
    figure.update_yaxes(title="Mean cosine to the full model", range=[min(0.0, *cosine), 1.02])
    return finish(figure, "How close each cut stays to the full model")


def _level(figure: go.Figure, share: float, name: str, colour: str, dash: str, place: str) -> None:
    """A horizontal line named beside itself, so that the legend stays short."""
    figure.add_hline(
        y=100 * share,
        line={"color": colour, "dash": dash, "width": 2},
        annotation={"text": f"{name} {share:.1%}", "font": {"size": 13}},
        annotation_position=place,
    )
