"""CKA maps: between blocks, between structures, before and after a cut; and the activations of a pair."""

from __future__ import annotations

from typing import Literal

import numpy as np
import plotly.graph_objects as go

from snapvit.artifacts import Doubles, Floats
from snapvit.figures.structures import MAP_MARGIN, StructureOrder, bar_above, low_map, matrix_trace, structure_axes
from snapvit.figures.style import BLUE, DIVERGING, NUMBERED_BLOCKS, SEQUENTIAL, cell_numbers, finish
from snapvit.formats import percent

MAP = 400  # px, of the map where it is wide

View = Literal["before", "after", "difference"]
TITLES = {
    "before": "How alike two structures are",
    "after": "How alike what is left is",
    "difference": "What the cut changes",
}


def block_map(means: Doubles) -> go.Figure:
    """Map of (L, L) mean CKA between the structures of two blocks; NaN where nothing is left."""
    blocks = len(means)
    numbers = [str(b + 1) for b in range(blocks)]
    trace = go.Heatmap(
        z=means.astype(np.float32),
        x=numbers,
        y=numbers,
        colorscale=SEQUENTIAL,
        xgap=1,
        ygap=1,
        hoverongaps=False,
        hovertemplate="block %{y} with block %{x}<br>mean CKA %{z:.3f}<extra></extra>",
        colorbar=bar_above("mean CKA"),
    )
    figure = go.Figure(trace)
    if blocks <= NUMBERED_BLOCKS:
        figure.add_trace(cell_numbers(figure.data[0], np.vectorize("{:.2f}".format)(means)))
    axis = {"type": "category", "showgrid": False, "constrain": "domain"}
    figure.update_xaxes(title="Block (1 is nearest the image)", **axis)
    figure.update_yaxes(title="Block", autorange="reversed", scaleanchor="x", **axis)
    return finish(figure, "How alike two blocks are", height=580).update_layout(margin=MAP_MARGIN)


def cka_map(values: np.ndarray, order: StructureOrder, view: View, bound: float) -> go.Figure:
    """Map of CKA (S, S), or of its difference, between the structures of `order`; NaN cells stay empty.

    bound: where the colours end, at 0 to `bound`, or at -bound to `bound` of a difference.
    """
    scale = {"colorscale": DIVERGING, "zmin": -bound} if view == "difference" else {"colorscale": SEQUENTIAL, "zmin": 0}
    label = "change of CKA" if view == "difference" else "CKA"
    figure = go.Figure(
        matrix_trace(order.take(values), order.names, label, zmax=bound, colorbar=bar_above(label), **scale)
    )
    structure_axes(figure, order)
    return low_map(finish(figure, TITLES[view]).update_layout(margin=MAP_MARGIN), MAP)


def pair_scatter(first: Floats, second: Floats, names: tuple[str, str], shares: tuple[float, float]) -> go.Figure:
    """Two structures' activations (N,) on their main directions, one point an image, in standard deviations.

    shares: of each structure's variance that its direction carries. The second is turned so that both rise together.
    """
    if float(np.dot(first, second)) < 0:  # the sign of a direction means nothing
        second = -second
    figure = go.Figure(
        go.Scatter(
            x=first,
            y=second,
            mode="markers",
            marker={"color": BLUE, "size": 5, "opacity": 0.5},
            hovertemplate="%{x:.2f}, %{y:.2f}<extra></extra>",
        )
    )
    figure.update_xaxes(
        title=f"{names[0]}, main direction (SD)<br>{percent(shares[0], 0)} of its variance", zeroline=False
    )
    figure.update_yaxes(
        title=f"{names[1]}, main direction (SD)<br>{percent(shares[1], 0)} of its variance", zeroline=False
    )
    return finish(figure, "Do the two respond to the same images?", height=430)
