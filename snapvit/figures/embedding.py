"""How many of their nearest neighbours the queries keep after a cut, and the colours of the projection of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from snapvit.artifacts import Ints
from snapvit.figures.style import BLUE, GREEN, GREY, ORANGE, finish


@dataclass(frozen=True)
class Look:
    """How one kind of point looks, on a light and on a dark page."""

    name: str
    light: str
    dark: str
    shape: str = "circle"  # square, up, down


# In the order of evaluation.neighbours: STILL_RIGHT, NEWLY_WRONG, NEWLY_RIGHT, STILL_WRONG.
OUTCOMES = (
    Look("still right", BLUE, "#56B4E9"),
    Look("newly wrong", ORANGE, "#E8743B", "down"),
    Look("newly right", GREEN, "#2CC295", "up"),
    Look("still wrong", "#7A3E9D", "#C79BE0", "square"),
)
GALLERY = Look("gallery", "#B4B7BD", "#5E636D")

# Paul Tol's `muted` scheme and a brown, told apart by colour-blind readers; lighter on a dark page.
CLASS_COLOURS = (
    ("#332288", "#8C82E8"),
    ("#CC6677", "#E58A99"),
    ("#117733", "#4DB36B"),
    ("#DDAA33", "#DDCC77"),
    ("#88CCEE", "#88CCEE"),
    ("#882255", "#C75B94"),
    ("#44AA99", "#44AA99"),
    ("#999933", "#BDBD4F"),
    ("#AA4499", "#D17AC4"),
    ("#6B4C2A", "#B58B5F"),
)


def class_looks(names: tuple[str, ...]) -> tuple[Look, ...]:
    """One look a class; colours repeat after ten."""
    return tuple(Look(name, *CLASS_COLOURS[i % len(CLASS_COLOURS)]) for i, name in enumerate(names))


def kept_neighbours(kept: Ints, outcome: Ints | None, k: int) -> go.Figure:
    """Queries by how many of their k neighbours stay in a cut, stacked by what became of the answer.

    kept (M,) in [0, k]; outcome (M,) indices into OUTCOMES, None without labels.
    """
    looks = OUTCOMES if outcome is not None else (Look("queries", GREY, GREY),)
    groups = outcome if outcome is not None else np.zeros(len(kept), np.int64)
    figure = go.Figure()
    for i, look in enumerate(looks):
        counts = np.bincount(kept[groups == i], minlength=k + 1)
        figure.add_bar(
            x=np.arange(k + 1),
            y=counts,
            name=look.name,
            marker={"color": look.light, "line": {"width": 0}},
            hovertemplate="%{x} of " + str(k) + f" neighbours stay: %{{y}} queries, {look.name}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.15)
    figure.update_xaxes(title=f"Neighbours that stay among the nearest {k} (images)", range=[-0.7, k + 0.7])
    figure.update_yaxes(title="Queries (images)")
    finish(figure, "Neighbours each query keeps", height=400)
    # Below the plot, where four names may wrap without covering the title.
    return figure.update_layout(legend={"y": -0.25, "yanchor": "top"}, margin={"t": 50, "b": 120})
