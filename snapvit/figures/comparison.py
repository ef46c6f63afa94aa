"""Rankings beside one another: curves with bands over seeds, differences with intervals, what a search buys."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from snapvit.artifacts import Doubles
from snapvit.figures.published import LOOKS
from snapvit.figures.style import BLUE, GREY, ORANGE, accuracy_range, finish, upright

DASHES = ("solid", "dash", "dot")
MOST_WITHIN = 9  # lines whose legend has room in the plot
Axis = Literal["sparsity", "macs"]
AXES: dict[Axis, str] = {"sparsity": "Sparsity (% of MLP neurons removed)", "macs": "MACs (% of the full model's)"}


@dataclass(frozen=True)
class Line:
    """A contender's curve: shares on both axes, from the mildest cut on."""

    label: str
    look: int  # its colour and marker, the same on every figure
    sparsity: Doubles  # (P,)
    macs: Doubles  # (P,) of the full model's
    mean: Doubles  # (P,)
    low: Doubles  # (P,)
    high: Doubles  # (P,)
    band: str  # what low and high are: `5 seeds`; empty where there is none


@dataclass(frozen=True)
class Gap:
    """A difference to the reference, in shares, with its 95 % interval."""

    label: str
    look: int
    mean: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def contender_curves(
    lines: Sequence[Line], axis: Axis, measure: str, in_percent: bool, title: str, zoomed: bool, selected: float | None
) -> go.Figure:
    """A curve a contender, with a band from the lowest to the highest of its seeds."""
    figure, scale = go.Figure(), 100.0 if in_percent else 1.0
    for line in lines:
        x = 100 * (line.sparsity if axis == "sparsity" else line.macs)
        colour, symbol, dash = _look(line.look)
        if line.band:
            _add_band(figure, x, scale * line.low, scale * line.high, line.label, colour, {"width": 0})
        unit = " %" if in_percent else ""
        figure.add_scatter(
            x=x,
            y=scale * line.mean,
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"symbol": symbol, "size": 7},
            name=line.label,
            legendgroup=line.label,
            customdata=[[low, high] for low, high in zip(scale * line.low, scale * line.high, strict=True)],
            hovertemplate=f"{line.label}<br>%{{x:.1f}} %: %{{y:.2f}}{unit}"
            + (f"<br>{line.band}: %{{customdata[0]:.2f}} to %{{customdata[1]:.2f}}" if line.band else "")
            + "<extra></extra>",
        )
    shown = [scale * float(v) for line in lines for v in (*line.low, *line.high)]
    figure.update_xaxes(title=AXES[axis])
    limits = accuracy_range([min(value, 100) for value in shown], zoomed) if in_percent else None
    if limits is not None and max(shown) > 100:  # a share of another accuracy may be more than whole
        limits[1] = max(shown) + 2
    figure.update_yaxes(title=f"{measure} (%)" if in_percent else measure, range=limits)
    if selected is not None and axis == "sparsity":
        figure.update_layout(shapes=[upright(100 * selected, color=ORANGE, width=2)])
    finish(figure, title, height=400)
    # in the corner that falling curves leave free
    side = ("left", 0.01) if axis == "sparsity" else ("right", 0.99)
    within = {"xanchor": side[0], "x": side[1], "y": 0.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"}
    beside = {"x": 1.01, "y": 1, "xanchor": "left", "yanchor": "top"}  # more would hide the lines
    place = within if len(lines) <= MOST_WITHIN else beside
    legend = {"orientation": "v", "font": {"size": 11}, "tracegroupgap": 0} | place
    return figure.update_layout(legend=legend, margin={"l": 60, "r": 10, "t": 46, "b": 50})


def contender_gaps(gaps: Sequence[Gap], reference: str, title: str) -> go.Figure:
    """A dot a contender with its interval; filled where it excludes 0, the line of the reference."""
    figure = go.Figure()
    for gap in gaps:
        colour, symbol, _ = _look(gap.look)
        figure.add_scatter(
            x=[100 * gap.mean],
            y=[gap.label],
            mode="markers",
            marker={"symbol": symbol if gap.decided else f"{symbol}-open", "size": 11, "color": colour},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [100 * (gap.high - gap.mean)],
                "arrayminus": [100 * (gap.mean - gap.low)],
                "color": colour,
            },
            hovertemplate=f"{gap.label}<br>%{{x:+.2f}} points, {100 * gap.low:+.2f} to {100 * gap.high:+.2f}"
            "<extra></extra>",
            showlegend=False,
        )
    figure.update_layout(shapes=[upright(0, color=GREY, width=2)])
    figure.update_xaxes(title=f"Points of accuracy more than {reference}", zeroline=False)
    figure.update_yaxes(autorange="reversed", automargin=True)
    return finish(figure, title, height=400).update_layout(margin={"l": 10, "r": 10, "t": 46, "b": 50})


def search_gain(
    evaluations: Sequence[Sequence[int]], lines: Sequence[Line], measure: str, shares: bool, title: str
) -> go.Figure:
    """A measure by the number of individuals that a search judged, one line a start: each Line's points are numbers of
    evaluations, which `evaluations` gives, in the place of sparsities. shares: whether it is told in percent.

    The axis is of log(1 + evaluations), with 0 on it; lines stand beside one another, so that no bar hides one.
    """
    figure, scale = go.Figure(), 100 if shares else 1
    number = ".2f} %" if shares else ".4f}"
    for i, (x, line) in enumerate(zip(evaluations, lines, strict=True)):
        colour, symbol, dash = _look(line.look)
        figure.add_scatter(
            x=np.log1p(x) + 0.08 * (i - (len(lines) - 1) / 2),
            customdata=list(x),
            y=scale * line.mean,
            mode="lines+markers",
            error_y={
                "type": "data",
                "symmetric": False,
                "array": scale * (line.high - line.mean),
                "arrayminus": scale * (line.mean - line.low),
            },
            line={"color": colour, "width": 2, "dash": dash},
            marker={"symbol": symbol, "size": 8},
            name=line.label,
            hovertemplate=f"{line.label}<br>%{{customdata}} evaluations: %{{y:{number}<extra></extra>",
        )
    figure.update_yaxes(title=f"{measure} (%)" if shares else measure)
    return _by_judged(figure, {number for x in evaluations for number in x}, len(lines), title)


def search_fitness(evaluations: Sequence[Sequence[int]], lines: Sequence[Line], ticks: Collection[int]) -> go.Figure:
    """Best fitness so far by the number of individuals that a search judged, as in `search_gain`, as shares of what
    none has: the mean of seeds, with a band from the lowest to the highest. Lower is better."""
    figure = go.Figure()
    for x, line in zip(evaluations, lines, strict=True):
        colour, symbol, dash = _look(line.look)
        places, steps = np.log1p(x), {"shape": "hv", "width": 2, "color": colour, "dash": dash}
        if line.band:
            _add_band(figure, places, 100 * line.low, 100 * line.high, line.label, colour, steps | {"width": 0})
        figure.add_scatter(
            x=places,
            customdata=[[*row] for row in zip(x, 100 * line.low, 100 * line.high, strict=True)],
            y=100 * line.mean,
            mode="lines+markers",
            line=steps,
            marker={"symbol": symbol, "size": [8 * (number in ticks) for number in x], "opacity": 1},  # not a bubble's
            name=line.label,
            legendgroup=line.label,
            hovertemplate=f"{line.label}<br>%{{customdata[0]}} evaluations: %{{y:.1f}} %"
            + (f"<br>{line.band}: %{{customdata[1]:.1f}} to %{{customdata[2]:.1f}}" if line.band else "")
            + "<extra></extra>",
        )
    figure.update_yaxes(title="Best fitness (% of that without a search)")
    return _by_judged(figure, ticks, len(lines), "Fitness by length of the search")


def _by_judged(figure: go.Figure, ticks: Collection[int], lines: int, title: str) -> go.Figure:
    figure.update_xaxes(
        title="Individuals judged by the search (log scale)",
        tickvals=np.log1p(sorted(ticks)),
        ticktext=[f"{tick:,}" for tick in sorted(ticks)],
    )
    # Below, a row a line: names of starts are long, and above they would run into the title.
    legend = {"orientation": "v", "x": 0, "xanchor": "left", "y": -0.3, "yanchor": "top", "tracegroupgap": 0}
    return finish(figure, title, height=380 + 20 * lines).update_layout(legend=legend)


def _add_band(
    figure: go.Figure, x: Doubles, low: Doubles, high: Doubles, group: str, colour: str, line: dict[str, Any]
) -> None:
    band = {"mode": "lines", "line": line, "hoverinfo": "skip", "showlegend": False, "legendgroup": group}
    figure.add_scatter(x=x, y=high, **band)
    figure.add_scatter(x=x, y=low, fill="tonexty", fillcolor=f"rgba{(*_rgb(colour), 0.15)}", **band)


def _look(number: int) -> tuple[str, str, str]:
    colour, symbol = ((BLUE, "circle"), *LOOKS[1:])[number % len(LOOKS)]
    return colour, symbol, DASHES[number // len(LOOKS) % len(DASHES)]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
