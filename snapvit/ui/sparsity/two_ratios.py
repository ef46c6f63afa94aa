"""The Sparsity page with both ratios set apart: two sliders and a plane of measured cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.elastic.ranking import cut_at
from snapvit.evaluation.budget import quality_of
from snapvit.formats import ratio
from snapvit.jobs.tasks import MeasureTask
from snapvit.pipeline.config import PATH_END, path_pair
from snapvit.pipeline.grid import COARSE, FINE, HEADS_END, grid_pairs
from snapvit.pipeline.path import latency_of, measured_rows
from snapvit.pipeline.results import RunResults
from snapvit.tables import Measurement
from snapvit.ui.figure import show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.offer import offer
from snapvit.ui.page import onward
from snapvit.ui.selection import Selection, number_setting, put_setting, setting_key
from snapvit.ui.sparsity.cut_tiles import cut_tiles
from snapvit.ui.sparsity.early import early_answer, warm_up
from snapvit.ui.sparsity_slider import sparsity_slider

HEADS = "heads"  # key of the heads' slider and its name in the address, in percent
PLANE = "ratio_plane"


def two_ratios(results: RunResults, selection: Selection) -> None:
    """Two sliders, the plane, the chosen cut, and the grid to measure."""
    st.markdown(
        "Neurons and heads need not leave together. Choose both shares, or click a point: what a cut costs is known "
        "exactly everywhere, what it does to the embeddings only where it was measured."
    )
    mlp, heads = _sliders(selection)
    run, cut = results.summary.run, cut_at(results.ranking, mlp, heads)
    found = None if results.measurements is None else results.measurements.find(mlp, heads)
    st.header(f"The cut at {ratio(mlp)} of neurons and {ratio(heads)} of heads")
    costs = results.facts.costs
    quality = None if found is None else quality_of(found, results.latencies)
    cut_tiles(results, costs.params(cut), costs.macs(cut), quality, key="pair_tiles")
    if found is None:
        task = MeasureTask(run, ((mlp, heads),), results.correct)
        warm_up(run)
        offer(task, "Nobody measured this cut yet.", "Measure this cut", icon=":material/straighten:", key="measure")
        early_answer(task)
    onward("pages/export.py", "Export this cut as a smaller model", selection, mode="ratios", heads=f"{100 * heads:g}")
    rows = measured_rows(results)
    _plane(results, rows, (mlp, heads))
    _grid_offer(results, rows)


def _sliders(selection: Selection) -> tuple[float, float]:
    left, right = flowing_columns(2, 300, key="ratio_sliders")
    with left:
        sparsity_slider(selection, "MLP neurons removed", help=None)
    heads = number_setting(HEADS, 0.0, 100 * HEADS_END, 35.0)
    right.slider("Heads removed", 0.0, 100 * HEADS_END, heads, step=0.5, format="%g %%", key=setting_key(HEADS))
    return selection.sparsity, round(heads / 100, 4)


def _quality(m: Measurement) -> float:
    return m.cosine if m.top1 is None else m.top1


def _missing(rows: list[Measurement], side: int) -> list[tuple[float, float]]:
    there = {(round(m.cut.mlp, 4), round(m.cut.heads, 4)) for m in rows}
    return [pair for pair in grid_pairs(side) if pair not in there]


def _plane(results: RunResults, rows: list[Measurement], selected: tuple[float, float]) -> None:
    labelled = all(m.hits is not None for m in rows)
    quality = "top-1 (%)" if labelled else "cosine (%)"
    measured = np.array([(m.cut.mlp, m.cut.heads, _quality(m)) for m in rows]).reshape(-1, 3)
    hollow = _missing(rows, COARSE) or _missing(rows, FINE)
    path = np.array([path_pair(s) for s in np.linspace(0, PATH_END, 20)])
    show_figure(
        figures.ratio_plane(measured, np.array(hollow).reshape(-1, 2), path, _costs(results), selected, quality),
        key=PLANE,
        reading="Each filled square is a cut that was really made and measured; its colour is what is left of the "
        f"quality ({quality}). Dotted lines join cuts of equal cost, in % of the full model's multiply-accumulates: "
        "go along one to find the best cut for its price. Click a square to choose it.",
        alt="Measured cuts by share of neurons and of heads removed",
        table=pd.DataFrame(
            {
                "MLP sparsity": measured[:, 0],
                "Head sparsity": measured[:, 1],
                quality: 100 * measured[:, 2],
                "Parameters": [m.params for m in rows],
                "MACs": [m.macs for m in rows],
                "Latency (ms)": [None if (took := latency_of(results, m)) is None else took.ms for m in rows],
            }
        ),
        file=f"{results.summary.run}-two-ratios",
        on_point=_point_clicked,
    )


def _costs(results: RunResults) -> figures.CostGrid:
    costs, full = results.facts.costs, cut_at(results.ranking, 0.0, 0.0)
    mlp, heads = np.linspace(0, PATH_END, 20), np.linspace(0, HEADS_END, 17)
    # Costs add up from both parts, so one line of the grid along each side gives all of it.
    across = np.array([costs.macs(cut_at(results.ranking, float(m), 0.0)) for m in mlp])
    up = np.array([costs.macs(cut_at(results.ranking, 0.0, float(h))) for h in heads])
    whole = costs.macs(full)
    return figures.CostGrid(mlp, heads, (across[None, :] + up[:, None] - whole) / whole)


def _point_clicked(pair: Any) -> None:
    if isinstance(pair, list) and len(pair) == 2:
        put_setting(HEADS, round(100 * float(pair[1]), 2), sparsity=round(float(pair[0]), 4))


def _grid_offer(results: RunResults, rows: list[Measurement]) -> None:
    for side in (COARSE, FINE):
        missing = len(_missing(rows, side))
        if missing:
            offer(
                MeasureTask(results.summary.run, tuple(grid_pairs(side)), results.correct),
                f"{missing} of the {side} × {side} cuts of the grid are not measured yet. Corners come first, then the "
                "gaps are halved; what is measured is kept when you cancel.",
                f"Measure {side} × {side} cuts",
                icon=":material/grid_on:",
                key=f"grid_{side}",
            )
            return
    st.caption(f"All {FINE} × {FINE} cuts of the grid are measured.")
