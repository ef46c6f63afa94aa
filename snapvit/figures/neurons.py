"""The neurons of every block: how their scores fall, and how many stay."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from snapvit.artifacts import Doubles
from snapvit.figures.style import CLICKED, GREY, ORANGE, SEQUENTIAL, beside_upright, finish, upright

POINTS = 160  # of a curve; a wide MLP has thousands of neurons


def neuron_profile(
    scores: Doubles, label: str, threshold: float | None = None, selected: int | None = None
) -> go.Figure:
    """Sorted scores (L, F) of each block's neurons, best first, one line a block, coloured by depth.

    threshold: score under which the cut removes. selected: a block to stand out. Markers carry the block.
    """
    blocks, hidden = scores.shape
    place = np.unique(np.linspace(0, hidden - 1, min(POINTS, hidden)).round().astype(int))
    falling = np.maximum(-np.sort(-scores, axis=1), np.finfo(np.float64).tiny)[:, place]
    # The ends of the scale would vanish on a dark and on a white page.
    colours = sample_colorscale(SEQUENTIAL, np.linspace(0.12, 0.88, blocks).tolist())
    lines = []  # one figure of all: each trace that is added to one is checked again
    for block in range(blocks):
        chosen = block == selected
        line = go.Scatter(
            x=100 * (place + 1) / hidden,
            y=falling[block],
            mode="lines+markers",
            line={"color": ORANGE if chosen else colours[block], "width": 5 if chosen else 2},
            marker={"size": 9, "opacity": 0},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
            customdata=[block] * len(place),
            showlegend=False,
            hovertemplate=f"<b>Block {block + 1}</b><br>best %{{x:.0f}} % of its neurons<br>{label} %{{y:.2e}} or more"
            "<extra></extra>",
        )
        lines.append(line)
    # A line without points that shows the scale of depths.
    scale = go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={
            "color": [1],
            "cmin": 1,
            "cmax": blocks,
            "colorscale": [[i / max(1, blocks - 1), c] for i, c in enumerate(colours)] if blocks > 1 else SEQUENTIAL,
            "colorbar": {
                "title": {"text": "block", "font": {"size": 13}},
                "thickness": 14,
                "tick0": 1,
                "dtick": 1 if blocks <= 12 else 4,
            },
            "showscale": True,
        },
        hoverinfo="skip",
        showlegend=False,
    )
    figure = go.Figure([*lines, scale])
    if threshold is not None:
        figure.add_scatter(
            x=[0, 101],
            y=[threshold, threshold],
            mode="lines",
            line={"color": GREY, "dash": "dash", "width": 2},
            name="this cut removes what is below",
            hoverinfo="skip",
        )
    figure.update_xaxes(title="Neurons of the block, best first (%)", range=[0, 101])
    figure.update_yaxes(title=f"{label.capitalize()} (log scale)", type="log", exponentformat="power")
    return finish(figure, "How the neurons' scores fall in each block", height=420).update_layout(**CLICKED)


def kept_share(shares: Doubles, sparsity: Doubles, selected_sparsity: float) -> go.Figure:
    """Map of the share of neurons (L, N) that each block keeps at N sparsities of the path.

    A transparent layer of markers carries the block.
    """
    blocks, steps = shares.shape
    every = max(1, steps // 24)
    block, step = (grid.ravel() for grid in np.meshgrid(np.arange(blocks), np.arange(0, steps, every), indexing="ij"))
    percent = 100 * np.asarray(sparsity)
    figure = go.Figure(
        [
            go.Heatmap(
                z=np.round(100 * shares, 1),
                x=percent,
                y=np.arange(1, blocks + 1),
                zmin=0,
                zmax=100,
                colorscale=SEQUENTIAL,
                ygap=1,
                hoverinfo="skip",
                colorbar={"title": {"text": "kept (%)", "font": {"size": 13}}, "thickness": 14},
            ),
            go.Scatter(
                x=percent[step],
                y=block + 1,
                mode="markers",
                marker={"symbol": "square", "size": 14, "opacity": 0},
                selected={"marker": {"opacity": 0}},
                unselected={"marker": {"opacity": 0}},
                customdata=block.tolist(),
                text=np.round(100 * shares[block, step], 1),
                hovertemplate="<b>Block %{y}</b><br>sparsity %{x:.1f} %<br>%{text} % of its neurons kept"
                "<extra></extra>",
                showlegend=False,
            ),
        ]
    )
    at = 100 * selected_sparsity
    figure.update_layout(
        shapes=[upright(at, color="white", width=5), upright(at, color=ORANGE, width=3)],
        annotations=[beside_upright(at, "this cut", 1, "center")],
    )
    figure.update_xaxes(title="Sparsity (% of MLP neurons removed)", showgrid=False)
    figure.update_yaxes(
        title="Block (1 is nearest the image)",
        dtick=1 if blocks <= 12 else 4,
        tick0=1,
        showgrid=False,
        range=[blocks + 0.5, 0.5],
    )
    return finish(figure, "Which blocks keep their neurons", height=420).update_layout(**CLICKED)


def share_marks(sparsity: Doubles, blocks: int, selected: int | None) -> list[dict[str, object]]:
    """Shapes that frame the row of the selected block in a `kept_share` of so many; none where it is not in it."""
    if selected is None or selected >= blocks:
        return []
    ends = {"x0": 100 * float(sparsity[0]), "x1": 100 * float(sparsity[-1])}
    return [{"type": "rect", **ends, "y0": selected + 0.5, "y1": selected + 1.5, "line": {"color": ORANGE, "width": 3}}]
