"""Maps of how structures depend on one another, and how well one map's pairs agree with another's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from snapvit.artifacts import Doubles, Ints, Topology
from snapvit.figures.structures import MAP_MARGIN, StructureOrder, bar_above, low_map, matrix_trace, structure_axes
from snapvit.figures.style import BLUE, CLICKED, DIVERGING, GREEN, GREY, ORANGE, SEQUENTIAL, finish

SHOWN_PAIRS = 500  # dots of a scatter; the numbers beside it are of all pairs
MAP = 340  # px, of a map where it is wide
KINDS = (("two heads", BLUE, "circle"), ("MLP and head", ORANGE, "diamond"), ("two MLPs", GREEN, "square"))


@dataclass(frozen=True)
class PairCloud:
    """Pairs of structures by two maps."""

    first: Ints  # (P,)
    second: Ints  # (P,)
    x: Doubles  # (P,)
    y: Doubles  # (P,)


def interaction_map(
    values: np.ndarray, order: StructureOrder, label: str, title: str, bound: float, signed: bool, verdict: str
) -> go.Figure:
    """Map (S, S) of one way to say how structures depend on one another; what is not known stays empty.

    bound: where the colours end, at -bound and bound, or at 0 and bound where values have no sign.
    """
    look = {"colorscale": DIVERGING, "zmin": -bound} if signed else {"colorscale": SEQUENTIAL, "zmin": 0}
    trace = matrix_trace(order.take(values), order.names, label, zmax=bound, colorbar=bar_above(label), **look)
    figure = go.Figure(trace)
    structure_axes(figure, order)
    return low_map(finish(figure, title).update_layout(margin=MAP_MARGIN), MAP, verdict)


def agreement_scatter(
    cloud: PairCloud, topology: Topology, names: tuple[str, str], by_rank: bool, title: str
) -> go.Figure:
    """Pairs by the one map (across) and the other (up), as shares of all pairs below or as values.

    names: of the two maps. A dot's customdata are block and head of both its structures, as people count them, 0 for an
    MLP; of many pairs a part is drawn.
    """
    shown = np.sort(np.random.default_rng(0).permutation(len(cloud.first))[:SHOWN_PAIRS])
    pairs = np.column_stack([cloud.first, cloud.second])[shown]
    heads = (pairs - topology.blocks) % topology.heads + 1
    places = np.where(pairs < topology.blocks, 0, heads)  # (n, 2)
    places = np.stack([topology.structure_depth()[pairs] + 1, places], axis=2).reshape(-1, 4)
    mlps, unit = (pairs < topology.blocks).sum(axis=1), " (%)" if by_rank else ""
    figure = go.Figure()
    for number, (words, colour, symbol) in enumerate(KINDS):
        some = mlps == number
        one, other = ("MLP" if at < number else f"head %{{customdata[{2 * at + 1}]}}" for at in (0, 1))
        figure.add_trace(
            go.Scatter(
                x=cloud.x[shown[some]].astype(np.float32),
                y=cloud.y[shown[some]].astype(np.float32),
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.55},
                unselected={"marker": {"opacity": 0.55}},
                name=words,
                customdata=places[some].tolist(),
                hovertemplate=f"<b>Block %{{customdata[0]}} {one}</b><br>"
                f"with <b>block %{{customdata[2]}} {other}</b><br>"
                f"{names[0]} %{{x:.4~g}}{unit}<br>{names[1]} %{{y:.4~g}}{unit}<extra></extra>",
            )
        )
    ends = {"range": [-2, 102]} if by_rank else {}
    below = ", pairs below (%)" if by_rank else ""
    figure.update_xaxes(title=names[0] + below, zeroline=not by_rank, zerolinecolor=GREY, **ends)
    figure.update_yaxes(title=names[1] + below, zeroline=not by_rank, zerolinecolor=GREY, **ends)
    # On a narrow page the legend takes two lines below the title.
    return finish(figure, title, height=430).update_layout(margin_t=98, **CLICKED)
