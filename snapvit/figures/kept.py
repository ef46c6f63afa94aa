"""What a cut keeps and what is left of the model's costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from snapvit.artifacts import Doubles
from snapvit.figures.style import BLUE, GREY, ORANGE, YELLOW, finish


def kept_by_block(kept: Sequence[int], full: int, name: str) -> go.Figure:
    """A bar a block: kept neurons or heads (`name`) of its `full` ones; what is gone is hatched."""
    blocks = np.arange(1, len(kept) + 1)
    gone = full - np.asarray(kept)
    hover = f"block %{{x}}<br>%{{y:,}} of {full:,} {name} "
    figure = go.Figure(
        [
            go.Bar(x=blocks, y=list(kept), name="kept", marker_color=BLUE, hovertemplate=f"{hover}kept<extra></extra>"),
            go.Bar(
                x=blocks,
                y=gone,
                name="removed",
                marker={"color": "rgba(0, 0, 0, 0)", "pattern": {"shape": "/", "fgcolor": GREY, "size": 6}},
                hovertemplate=f"{hover}removed<extra></extra>",
            ),
        ]
    )
    figure.update_layout(barmode="stack", bargap=0.15)
    figure.update_xaxes(title="Block (1 is nearest the image)", dtick=1 if len(kept) <= 16 else 4, showgrid=False)
    figure.update_yaxes(title=name.capitalize(), range=[0, full])
    return finish(figure, f"Kept {name} by block", height=330)


def cost_curves(sparsity: Doubles, params: Doubles, macs: Doubles, selected: float) -> go.Figure:
    """Shares of the full model's parameters and multiply-accumulates that are left along the slider's path."""
    # Both fall nearly alike: the narrow dashes lie on the broad line, so that each can be seen.
    lines = (("parameters", params, BLUE, "solid", 8), ("multiply-accumulates", macs, YELLOW, "dash", 3))
    figure = go.Figure(
        [
            go.Scatter(
                x=100 * np.asarray(sparsity),
                y=100 * np.asarray(share),
                mode="lines",
                line={"color": colour, "width": width, "dash": dash},
                name=name,
                hovertemplate=f"sparsity %{{x:.1f}} %<br>%{{y:.1f}} % of the {name} left<extra></extra>",
            )
            for name, share, colour, dash, width in lines
        ]
    )
    figure.add_vline(x=100 * selected, line={"color": ORANGE, "width": 2})
    figure.update_xaxes(title="Sparsity (% of MLP neurons removed)", range=[-1, 96])
    figure.update_yaxes(title="Left of the full model (%)", range=[0, 103])
    return finish(figure, "What is left along the path")
