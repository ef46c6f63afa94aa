"""Cuts with the two ratios set apart: neurons across, heads up."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from snapvit.artifacts import Doubles
from snapvit.figures.style import CLICKED, GREY, ORANGE, SEQUENTIAL, finish


@dataclass(frozen=True)
class CostGrid:
    """Share of the full model's multiply-accumulates left, exact at every pair of ratios."""

    mlp: Doubles  # (M,)
    heads: Doubles  # (K,)
    macs: Doubles  # (K, M)


def ratio_plane(
    measured: Doubles,
    unmeasured: Doubles,
    path: Doubles,
    costs: CostGrid,
    selected: tuple[float, float],
    quality: str,
) -> go.Figure:
    """Measured cuts (N, 3) of mlp ratio, head ratio and quality, all shares; unmeasured ones (U, 2) hollow.

    path: (P, 2), the slider's. quality: what colours the points. Points carry their pair as customdata.
    """
    contours = {"coloring": "lines", "showlabels": True, "start": 20, "end": 90, "size": 10}
    contours |= {"labelformat": ".0f", "labelfont": {"size": 12, "color": GREY}}
    figure = go.Figure(
        [
            go.Contour(
                x=100 * costs.mlp,
                y=100 * costs.heads,
                z=100 * costs.macs,
                contours=contours,
                colorscale=[[0, GREY], [1, GREY]],
                line={"width": 1, "dash": "dot"},
                showscale=False,
                hoverinfo="skip",
                name="% of MACs left",
                showlegend=True,
            ),
            go.Scatter(
                x=100 * path[:, 0],
                y=100 * path[:, 1],
                mode="lines",
                line={"color": GREY, "width": 2},
                name="the slider's path",
                hoverinfo="skip",
            ),
            go.Scatter(
                x=100 * unmeasured[:, 0],
                y=100 * unmeasured[:, 1],
                mode="markers",
                marker={"symbol": "square-open", "size": 15, "color": GREY, "line": {"width": 2}},
                unselected={"marker": {"opacity": 1}},
                customdata=unmeasured.tolist(),
                name="not measured yet",
                hovertemplate="neurons %{x:.1f} %, heads %{y:.1f} %<br>not measured yet<extra></extra>",
            ),
            go.Scatter(
                x=100 * measured[:, 0],
                y=100 * measured[:, 1],
                mode="markers",
                marker={
                    "symbol": "square",
                    "size": 17,
                    "color": 100 * measured[:, 2],
                    "colorscale": SEQUENTIAL,
                    "colorbar": {"title": {"text": quality, "font": {"size": 13}}, "thickness": 14},
                    "line": {"width": 1, "color": "white"},
                },
                unselected={"marker": {"opacity": 1}},
                customdata=measured[:, :2].tolist(),
                name="measured",
                hovertemplate=f"neurons %{{x:.1f}} %, heads %{{y:.1f}} %<br>{quality} %{{marker.color:.1f}}"
                "<extra></extra>",
            ),
            go.Scatter(
                x=[100 * selected[0]],
                y=[100 * selected[1]],
                mode="markers",
                marker={"symbol": "circle-open", "size": 27, "color": ORANGE, "line": {"width": 4}},
                unselected={"marker": {"opacity": 1}},
                name="this cut",
                hoverinfo="skip",
            ),
        ]
    )
    figure.update_xaxes(title="MLP neurons removed (%)", range=[-4, 99], zeroline=False)
    figure.update_yaxes(title="Heads removed (%)", range=[-5, 85], zeroline=False)
    return finish(figure, "What each pair of ratios costs", height=500).update_layout(**CLICKED)
