"""The importance of every head, one cell a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from snapvit.artifacts import Doubles
from snapvit.figures.style import CLICKED, ORANGE, SEQUENTIAL, finish
from snapvit.formats import score, tick

CELL = 30  # px, height of a head's cell where there is room
ALL_CELLS = 250  # px that all together may take, so that the map and its scale fit one screen


@dataclass(frozen=True)
class Measure:
    """One way of looking at a head's importance."""

    label: str
    logarithmic: bool
    meaning: str


MEASURES = {
    "local": Measure(
        "Local curvature",
        True,
        "Mean squared gradient of the self-supervised loss over the head's value weights: how strongly a small change "
        "of this head alone would be felt.",
    ),
    "factor": Measure(
        "Search factor",
        False,
        "What the evolution strategy multiplies the curvature by: above 1 it lifts a head that matters together with "
        "others, below 1 it lets one go earlier.",
    ),
    "slope": Measure(
        "Squared slope",
        True,
        "How fast the embedding moves as a mask on the head leaves 1, squared.",
    ),
    "score": Measure(
        "Final score",
        True,
        "Curvature × factor. Heads leave in the order of this score, lowest first, over all blocks at once.",
    ),
}


def head_map(values: Doubles, kept: np.ndarray, measure: str) -> go.Figure:
    """Map of `values` (L, H), one column a block; crosses mark heads that the cut removes.

    kept: (L, H) bool. A transparent layer of markers carries block * H + head, both counted from 0, as customdata:
    Streamlit reports no clicks on heat maps.
    """
    look = MEASURES[measure]
    blocks, heads = values.shape
    colour = np.log10(_above_zero(values)) if look.logarithmic else values
    block, head = np.divmod(np.arange(blocks * heads), heads)
    cut = ~kept.ravel()
    hover = [
        f"<b>Block {b + 1}, head {h + 1}</b><br>{look.label.lower()} {score(values[b, h])}<br>"
        + ("removed by this cut" if c else "kept by this cut")
        for b, h, c in zip(block, head, cut, strict=True)
    ]
    size = min(11, 140 / blocks)
    crosses = {"symbol": "x", "size": size, "color": "white", "line": {"color": "black", "width": 1.2}}
    figure = go.Figure(
        [
            go.Heatmap(
                z=colour.T,
                x=np.arange(1, blocks + 1),
                y=np.arange(1, heads + 1),
                colorscale=SEQUENTIAL,
                xgap=2,
                ygap=2,
                hoverinfo="skip",
                colorbar=_colour_bar(colour, look),
            ),
            go.Scatter(
                x=block[cut] + 1,
                y=head[cut] + 1,
                mode="markers",
                marker=crosses,
                unselected={"marker": {"opacity": 1}},
                name="removed by this cut",
                hoverinfo="skip",
                showlegend=True,
            ),
            go.Scatter(
                x=block + 1,
                y=head + 1,
                mode="markers",
                marker={"symbol": "square", "size": min(28, 340 / blocks), "opacity": 0},
                selected={"marker": {"opacity": 0}},
                unselected={"marker": {"opacity": 0}},
                customdata=list(range(blocks * heads)),
                text=hover,
                hovertemplate="%{text}<extra></extra>",
                showlegend=False,
            ),
        ]
    )
    every = 1 if blocks <= 12 else 4
    figure.update_xaxes(
        title="Block (1 is nearest the image)", tick0=1, dtick=every, showgrid=False, range=[0.5, blocks + 0.5]
    )
    figure.update_yaxes(title="Head", dtick=1 if heads <= 12 else 4, tick0=1, showgrid=False, range=[heads + 0.5, 0.5])
    finish(figure, f"{look.label} of every head", height=max(380, 225 + min(CELL * heads, ALL_CELLS)))
    return figure.update_layout(margin={"l": 55, "r": 10}, **CLICKED)


def head_marks(blocks: int, heads: int, selected: tuple[int, int] | None) -> list[dict[str, object]]:
    """Shapes that frame the selected (block, head) in a map of so many; none where it is not in it."""
    if selected is None or selected[0] >= blocks or selected[1] >= heads:
        return []
    b, h = selected
    corners = {"x0": b + 0.5, "x1": b + 1.5, "y0": h + 0.5, "y1": h + 1.5}
    return [{"type": "rect", **corners, "line": {"color": ORANGE, "width": 4}}]


def _above_zero(values: Doubles) -> Doubles:
    """Zeros become the least value above it, which alone a logarithmic scale can show."""
    above = values[values > 0]
    return np.maximum(values, above.min() if len(above) else 1.0)


def _colour_bar(colour: np.ndarray, look: Measure) -> dict[str, object]:
    bar: dict[str, object] = {
        "orientation": "h",
        "thickness": 12,
        "y": -0.3,
        "yanchor": "top",
        "title": {
            "text": look.label.lower() + (" (log scale)" if look.logarithmic else ""),
            "side": "top",
            "font": {"size": 13},
        },
    }
    if look.logarithmic:
        # ticks at 1, 2 and 5 times powers of ten inside the range, as plain numbers
        low, high = float(colour.min()), float(colour.max())
        powers = range(int(np.floor(low)) - 1, int(np.ceil(high)) + 1)
        for steps in ((1, 2, 5), (1, 3), (1,)):
            inside = [m * 10.0**e for e in powers for m in steps if low <= np.log10(m * 10.0**e) <= high]
            if len(inside) <= 4:
                break
        bar |= {"tickvals": np.log10(inside).tolist(), "ticktext": [tick(m) for m in inside]}
    return bar
