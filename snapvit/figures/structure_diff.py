"""Every block before and after a cut, side by side."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from snapvit.artifacts import StructureDiff
from snapvit.figures.style import BLUE, GREY, YELLOW, finish

PARTS = (("attention", "heads kept", BLUE), ("mlp", "MLP neurons kept", YELLOW))
COSTS = (("params", "Parameters (k)", 1e3), ("macs", "MACs (M)", 1e6))


def structure_figure(diff: StructureDiff) -> go.Figure:
    """Two panels, parameters and multiply-accumulates; a bar a block: what is kept stands below what is removed."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=[title for _, title, _ in COSTS], horizontal_spacing=0.09)
    blocks = np.arange(1, len(diff.cut) + 1)
    for column, (cost, _, unit) in enumerate(COSTS, start=1):
        full = np.array([getattr(block, cost) for block in diff.full]) / unit
        left = np.array([getattr(block, cost) for block in diff.cut]) / unit
        for part, name, colour in PARTS:
            kept = np.array([getattr(block, f"{part}_{cost}") for block in diff.cut]) / unit
            widths = np.array([_widths(part, *pair) for pair in zip(diff.cut, diff.full, strict=True)])
            figure.add_bar(
                x=blocks,
                y=kept,
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                marker_color=colour,
                customdata=widths,
                hovertemplate=f"block %{{x}}: %{{customdata}}<br>%{{y:,.3g}}<extra>{name}</extra>",
                row=1,
                col=column,
            )
        figure.add_bar(
            x=blocks,
            y=full - left,
            name="removed",
            legendgroup="removed",
            showlegend=column == 1,
            marker={"color": "rgba(0, 0, 0, 0)", "pattern": {"shape": "/", "fgcolor": GREY, "size": 6}},
            customdata=np.stack([full, left], axis=1),
            hovertemplate="block %{x}: %{customdata[1]:,.3g} left of %{customdata[0]:,.3g}<extra>removed</extra>",
            row=1,
            col=column,
        )
    figure.update_layout(barmode="stack", bargap=0.15)
    # No step is given: plotly takes as many numbers as the width has room for.
    figure.update_xaxes(title="Block", nticks=min(len(blocks), 14), tickangle=0, showgrid=False)
    finish(figure, "Every block before and after the cut", height=360)
    # The legend goes below, for above each panel stands what it counts.
    return figure.update_layout(legend={"y": -0.32, "yanchor": "top"}, margin={"b": 95})


def _widths(part: str, cut: object, full: object) -> str:
    unit = "heads" if part == "attention" else "neurons"
    return f"{getattr(cut, unit):,} of {getattr(full, unit):,} {unit}"


def structure_rows(diff: StructureDiff) -> list[dict[str, int | str]]:
    """The table beside the figure: a row a block, then the rest and the whole model."""
    rows: list[dict[str, int | str]] = []
    for number, (full, cut) in enumerate(zip(diff.full, diff.cut, strict=True), start=1):
        rows.append(
            {
                "block": str(number),
                "heads before": full.heads,
                "heads after": cut.heads,
                "attention width before": full.attention_width,
                "attention width after": cut.attention_width,
                "neurons before": full.neurons,
                "neurons after": cut.neurons,
                "parameters before": full.params,
                "parameters after": cut.params,
                "MACs before": full.macs,
                "MACs after": cut.macs,
            }
        )
    for name, params, macs in (
        ("rest", diff.rest_params, diff.rest_macs),
        ("whole model", diff.params, diff.macs),
    ):
        costs = {"parameters": params, "MACs": macs}
        both = {f"{cost} {when}": pair[i] for cost, pair in costs.items() for i, when in enumerate(("before", "after"))}
        rows.append({"block": name} | both)
    return rows
