"""The Hessian correlation estimate by generation, its eigenvalues, and what it would be by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from snapvit.artifacts import Doubles, Floats, SearchHistory
from snapvit.figures.interactions import MAP
from snapvit.figures.search import fitness_curve
from snapvit.figures.structures import MAP_MARGIN, StructureOrder, bar_above, low_map, matrix_trace, structure_axes
from snapvit.figures.style import BLUE, DIVERGING, GREEN, GREY, ORANGE, beside_upright, finish, upright
from snapvit.formats import decimal

FRAME_NUMBERS = 1_000_000  # of all frames together; in single precision about 5.4 MB on their way to the browser
# Panels of the player: pixels of each, and below it.
MAP_PANEL, FITNESS, AGREEMENT = (MAP, 186), (120, 26), (120, 0)
SCRUBBER = 46  # px below the map: of the scrubber and its buttons
BAND = "rgba(140, 140, 140, 0.35)"
NO_WAIT = {"frame": {"duration": 0, "redraw": True}, "mode": "immediate", "transition": {"duration": 0}}
PLAY = {"frame": {"duration": 250, "redraw": True}, "fromcurrent": True, "transition": {"duration": 0}}


def frame_generations(generations: int, structures: int) -> list[int]:
    """Which of the generations 0 to G get a frame: all, or evenly spaced ones with both ends where there are many."""
    room = max(2, FRAME_NUMBERS // structures**2)
    count = min(generations + 1, room)
    return sorted({round(g) for g in np.linspace(0, generations, count)})


@dataclass(frozen=True)
class AgreementCurve:
    """How well each generation's estimate agrees with a map that does not change."""

    against: str  # name of that map
    rho: Doubles  # (frames,) rank correlation over pairs; NaN where the estimate has none yet
    others: Mapping[str, float]  # the same of estimates that the search does not make, by name


def correlation_player(
    maps: Floats,
    generations: list[int],
    start: int,
    history: SearchHistory,
    order: StructureOrder,
    label: str,
    title: str,
    bound: float,
    verdict: str = "",
    curve: AgreementCurve | None = None,
) -> go.Figure:
    """The map at every one of `generations` with a scrubber, above the fitness with a marker that moves along, and
    below it how well the estimate agrees with another map, with a point that moves along.

    maps: (frames, n, n) in the order of `order`. start: the generation shown first, one of `generations`.
    bound: the colours end at -bound and bound, in all frames. verdict: a sentence under the title.
    """
    panels = (MAP_PANEL, FITNESS, AGREEMENT)[: 2 if curve is None else 3]
    figure = make_subplots(rows=len(panels), cols=1)
    figure.add_trace(
        matrix_trace(
            maps[generations.index(start)],
            order.names,
            label,
            colorscale=DIVERGING,
            zmin=-bound,
            zmax=bound,
            colorbar=bar_above(label),
        ),
        row=1,
        col=1,
    )
    fitness = fitness_curve(history)
    for trace in fitness.data:
        figure.add_trace(trace, row=2, col=1)
    moving = {0: [go.Heatmap(z=values.astype(np.float32)) for values in maps]}
    if curve is not None:
        moving |= _add_agreement(figure, generations, start, curve)
    finite = history.individual_fitness[np.isfinite(history.individual_fitness)]
    figure.add_trace(
        go.Scatter(
            x=[start, start],
            y=[float(finite.min()) / 1.1, float(finite.max()) * 1.1],
            mode="lines",
            line={"color": GREY, "width": 5},
            opacity=0.6,
            name="shown",
            hoverinfo="skip",
        ),
        row=2,
        col=1,
    )
    moving[len(figure.data) - 1] = [go.Scatter(x=[g, g]) for g in generations]
    figure.frames = [
        go.Frame(name=str(g), data=list(data), traces=list(moving))
        for g, *data in zip(generations, *moving.values(), strict=True)
    ]
    last = generations[-1]
    for row in range(2, len(panels) + 1):
        figure.update_xaxes(range=[-0.3, last + 0.3], nticks=min(last + 1, 10), row=row, col=1)
    # The axis' title, as a note: plotly draws that of a lower panel over its numbers when the page is first laid out.
    figure.add_annotation(text="Generation", showarrow=False, x=0.5, y=0, xref="paper", yref="paper", yshift=-46)
    axis = fitness.layout.yaxis
    figure.update_yaxes(
        title="1 − cosine (log)", type="log", tickvals=axis.tickvals, ticktext=axis.ticktext, row=2, col=1
    )
    finish(figure, title)
    structure_axes(figure, order)
    top = plot = sum(height + below for height, below in panels)
    low_map(figure.update_layout(margin=MAP_MARGIN | {"b": 56}), plot, verdict)
    for row, (height, below) in enumerate(panels, 1):
        figure.update_yaxes(domain=[(top - height) / plot, top / plot], row=row, col=1)
        top -= height + below
    foot = figure.layout.yaxis.domain[0]
    figure.update_layout(
        legend={"y": figure.layout.yaxis2.domain[1] + 4 / plot, "font": {"size": 12}},
        sliders=[_scrubber(generations, start, foot)],
        updatemenus=[_buttons(foot)],
    )
    return figure


def _add_agreement(
    figure: go.Figure, generations: list[int], start: int, curve: AgreementCurve
) -> dict[int, list[go.Scatter]]:
    """Draw the third panel; what moves in it, by the number of its trace."""
    ends = [generations[0], generations[-1]]
    for name, rho in curve.others.items():
        figure.add_trace(
            go.Scatter(
                x=ends,
                y=[rho, rho],
                mode="lines+text",
                line={"color": GREEN, "width": 2, "dash": "dot"},
                text=["", f"{name} {decimal(rho, 2)}"],
                textposition="top left",
                textfont={"color": GREEN, "size": 12},
                showlegend=False,
                hovertemplate=f"{name}: {rho:.3f}<extra></extra>",
            ),
            row=3,
            col=1,
        )
    hover = f"generation %{{x}}<br>rank correlation with {curve.against} %{{y:.3f}}<extra></extra>"
    line = go.Scatter(x=generations, y=curve.rho, mode="lines", line={"color": BLUE, "width": 3})
    figure.add_trace(line.update(showlegend=False, hovertemplate=hover), row=3, col=1)
    at = float(curve.rho[generations.index(start)])
    point = go.Scatter(x=[start], y=[at], mode="markers", marker={"color": ORANGE, "size": 11})
    figure.add_trace(point.update(showlegend=False, hoverinfo="skip"), row=3, col=1)
    low = min(-0.1, *(float(rho) - 0.1 for rho in curve.rho if np.isfinite(rho)), 0)
    figure.update_yaxes(title="rank corr.", range=[low, 1.05], zeroline=True, zerolinecolor=GREY, row=3, col=1)
    return {
        len(figure.data) - 1: [
            go.Scatter(x=[g], y=[round(rho, 4)]) for g, rho in zip(generations, curve.rho.tolist(), strict=True)
        ]
    }


def _scrubber(generations: list[int], start: int, foot: float) -> dict[str, object]:
    steps = [{"label": str(g), "method": "animate", "args": [[str(g)], NO_WAIT]} for g in generations]
    return {
        "active": generations.index(start),
        "steps": steps,
        "x": 0.0,
        "len": 1.0,
        "y": foot,
        "pad": {"t": SCRUBBER + 8, "b": 0},
        "currentvalue": {"prefix": "Generation: ", "xanchor": "right", "font": {"size": 14}},
        "bgcolor": GREY,
        "activebgcolor": ORANGE,
        "bordercolor": GREY,
        "tickcolor": GREY,
        "font": {"size": 11},
    }


def _buttons(foot: float) -> dict[str, object]:
    return {
        "type": "buttons",
        "direction": "left",
        "x": 0,
        "xanchor": "left",
        "y": foot,
        "yanchor": "top",
        "pad": {"t": SCRUBBER, "l": 0},
        "showactive": False,
        "bgcolor": "rgba(0,0,0,0)",
        "bordercolor": GREY,
        "font": {"color": BLUE, "size": 13},  # read on the light and on the dark page, and when pointed at
        "buttons": [
            {"label": "▶ Play", "method": "animate", "args": [None, PLAY]},
            {"label": "❚❚ Pause", "method": "animate", "args": [[None], NO_WAIT]},
        ],
    }


def spectrum(
    start: Doubles, chosen: Doubles, generation: int, low: Floats | None = None, high: Floats | None = None
) -> go.Figure:
    """Eigenvalues (S,) of the correlation at the start and at a generation, largest first.

    low, high: (S,) where 95 % of replays under random ranks lie.
    """
    number = np.arange(1, len(start) + 1)
    figure = go.Figure()
    if low is not None and high is not None:
        figure.add_trace(_band(np.concatenate([number, number[::-1]]), np.concatenate([high, low[::-1]])))
    for values, name, line in (
        (start, "start", {"color": GREY, "width": 2, "dash": "dash"}),
        (chosen, f"generation {generation}", {"color": BLUE, "width": 3}),
    ):
        figure.add_trace(
            go.Scatter(
                x=number,
                y=values,
                mode="lines",
                line=line,
                name=name,
                hovertemplate=name + ", number %{x}<br>eigenvalue %{y:.3f}<extra></extra>",
            )
        )
    figure.update_xaxes(title="Eigenvalue, largest first")
    figure.update_yaxes(title="Size (all would be 1 without correlation)")
    return _legend_inside(finish(figure, "Does any direction stand out?", height=380))


def chance_curve(levels: Doubles, found: Doubles, low: Floats, high: Floats, p99: float, generation: int) -> go.Figure:
    """How many pairs changed by at least so much, in the search and in 95 % of its replays under random ranks.

    levels: (Q,) shares of pairs below; found, low, high: (Q,) the change at each.
    """
    share = 1 - levels
    inside = share > 0  # a logarithmic axis has no place for none
    figure = go.Figure(
        [
            _band(
                np.concatenate([high[inside], low[inside][::-1]]),
                100 * np.concatenate([share[inside], share[inside][::-1]]),
            ),
            go.Scatter(
                x=found[inside],
                y=100 * share[inside],
                mode="lines",
                line={"color": BLUE, "width": 3},
                name=f"the search, generation {generation}",
                hovertemplate="%{y:.2f} % of the pairs changed by at least %{x:.4f}<extra></extra>",
            ),
        ]
    )
    figure.update_layout(
        shapes=[upright(p99, color=ORANGE, dash="dash", width=2)],
        annotations=[beside_upright(p99, "99 % of chance", 0, "right")],
    )
    figure.update_xaxes(title="Change of a pair's correlation (absolute)", rangemode="tozero")
    ticks = [100, 10, 1, 0.1, 0.01]
    figure.update_yaxes(
        title="Pairs with at least that change (%)", type="log", tickvals=ticks, ticktext=[f"{t:g}" for t in ticks]
    )
    return _legend_inside(finish(figure, "Is it more than chance?", height=400))


def _legend_inside(figure: go.Figure) -> go.Figure:
    """The curves fall from the upper left, so the upper right is free; above the plot a narrow page has no room."""
    corner = {"orientation": "v", "x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "bgcolor": "rgba(0,0,0,0)"}
    return figure.update_layout(legend=corner, margin_t=60)


def _band(x: np.ndarray, y: np.ndarray) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        fill="toself",
        fillcolor=BAND,
        line_width=0,
        name="95 % of random replays",
        hoverinfo="skip",
    )
