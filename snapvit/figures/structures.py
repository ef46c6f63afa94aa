"""Maps between structures: what their axes, colours and marks have in common."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from snapvit.artifacts import Ints, Topology
from snapvit.figures.style import ORANGE

LINE = "rgba(140, 140, 140, 0.9)"
# Room above a map for its title and colour bar. Fixed, because plotly misplaces the axes' titles when it makes room.
MAP_MARGIN = {"t": 125, "autoexpand": False}
LETTERS = 58  # of a line of a verdict that a narrow figure has room for
TITLE, VERDICT_LINE, COLOUR_BAR = 30, 18, 70  # px
NAMED_BLOCKS = 16  # with more blocks only every second one, and so on, is named


@dataclass(frozen=True)
class StructureOrder:
    """Which structures a map shows, first to last, and how one says so."""

    topology: Topology
    indices: Ints  # (n,) search indices
    by_depth: bool  # else neighbours are similar

    @property
    def names(self) -> list[str]:
        """Names of the structures in this order."""
        return [self.topology.structure_name(int(i)) for i in self.indices]

    def take(self, values: np.ndarray) -> np.ndarray:
        """(..., n, n) of a map (..., S, S)."""
        return values[..., self.indices[:, None], self.indices]

    @property
    def boundaries(self) -> list[int]:
        """Where in the order one block ends and the next begins; none where blocks are mixed or single."""
        if not self.by_depth or len(self.indices) == self.topology.blocks:
            return []
        depth = self.topology.structure_depth()[self.indices]
        return (np.flatnonzero(np.diff(depth)) + 1).tolist()


def matrix_trace(values: np.ndarray, names: list[str], bar: str, **look: object) -> go.Heatmap:
    """Heat map of (n, n) values whose hover names both structures."""
    return go.Heatmap(
        z=values.astype(np.float32),
        x=names,
        y=names,
        hoverongaps=False,
        hovertemplate="<b>%{y}</b><br>with <b>%{x}</b><br>" + bar + " %{z:.3f}<extra></extra>",
        **look,
    )


def bar_above(label: str, top: float = 1.0) -> dict[str, object]:
    """A colour bar that lies above the map, so that a narrow page keeps its width for the map itself."""
    return {
        "title": {"text": label, "side": "top"},
        "orientation": "h",
        "thickness": 10,
        "len": 0.8,
        "x": 0.5,
        "xanchor": "center",
        "y": top,
        "yanchor": "bottom",
    }


def structure_axes(figure: go.Figure, order: StructureOrder) -> None:
    """Square cells, block names where blocks stand together, and lines between blocks, for the figure's first axes."""
    n, topology = len(order.indices), order.topology
    title = "Structure, by block" if order.by_depth else "Structures, similar ones side by side"
    common = {"title": {"text": title}, "type": "category", "showgrid": False, "tickmode": "array"}
    ticks: list[float] = []
    labels: list[str] = []
    if order.by_depth:
        depth = topology.structure_depth()[order.indices]
        every = -(-topology.blocks // NAMED_BLOCKS)
        for block in range(0, topology.blocks, every):
            # Just beside the cell's centre: at the centre the label would take the place of the hover's name.
            ticks.append(float(np.flatnonzero(depth == block).mean()) + 0.05)
            labels.append(str(block + 1))
    shown = common | {"tickvals": ticks, "ticktext": labels, "showticklabels": bool(ticks), "ticks": ""}
    figure.update_layout(
        xaxis=shown | {"range": [-0.5, n - 0.5], "constrain": "domain"},
        yaxis=shown | {"range": [n - 0.5, -0.5], "constrain": "domain", "scaleanchor": "x", "scaleratio": 1},
    )
    line = {"type": "line", "line": {"color": LINE, "width": 1}}
    upright = [line | {"x0": at - 0.5, "x1": at - 0.5, "y0": -0.5, "y1": n - 0.5} for at in order.boundaries]
    level = [line | {"x0": -0.5, "x1": n - 0.5, "y0": at - 0.5, "y1": at - 0.5} for at in order.boundaries]
    figure.update_layout(shapes=upright + level)


def pair_marks(order: StructureOrder, pair: tuple[int, int] | None) -> list[dict[str, object]]:
    """Shapes that frame the two cells of a pair of search indices; none where the map does not show both."""
    if pair is None:
        return []
    places = [np.flatnonzero(order.indices == i) for i in pair]
    if any(len(p) == 0 for p in places):
        return []
    row, column = (int(p[0]) for p in places)
    margin = 0.5 + len(order.indices) / 150  # the frame is to be seen around a cell of a few pixels
    line = {"color": ORANGE, "width": 3}
    return [
        {"type": "rect", "x0": x - margin, "x1": x + margin, "y0": y - margin, "y1": y + margin, "line": line}
        for y, x in sorted({(row, column), (column, row)})
    ]


def low_map(figure: go.Figure, plot: int, verdict: str = "") -> go.Figure:
    """Under the figure's title a sentence, and below both the map as near as it goes, so that all is on one screen.

    plot: px, of all that is drawn between the margins.

    Of plotly's buttons some are left out, so that a narrow figure has room for its title beside them.
    """
    lines = textwrap.wrap(verdict, LETTERS)
    above = TITLE + VERDICT_LINE * len(lines) + COLOUR_BAR
    height = above + plot + figure.layout.margin.b
    figure.update_layout(height=height, margin_t=above, modebar_remove=["zoomin", "zoomout", "autoscale"])
    # Streamlit moves a title up by 25 pixels.
    figure.layout.title.update(y=1 - (TITLE + 25) / height, yref="container", yanchor="bottom")
    figure.add_annotation(
        text="<br>".join(lines),
        showarrow=False,
        align="left",
        font={"size": 13},
        **{"x": 0, "xref": "paper", "xanchor": "left", "xshift": -figure.layout.margin.l},
        **{"y": 1, "yref": "paper", "yanchor": "bottom", "yshift": COLOUR_BAR},
    )
    return figure.update_layout(yaxis_constraintoward="top")
