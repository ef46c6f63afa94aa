"""Which cut is exported, what it costs, and what it takes from which block."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.elastic.ranking import cut_at
from snapvit.elastic.structure import structure_diff
from snapvit.evaluation.budget import quality_at, quality_of
from snapvit.formats import percent, ratio
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.grid import HEADS_END
from snapvit.pipeline.path import measured_on_path
from snapvit.pipeline.results import RunResults
from snapvit.ui.figure import show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.selection import Selection, number_setting, setting, setting_key
from snapvit.ui.sparsity.cut_tiles import cut_tiles
from snapvit.ui.sparsity.two_ratios import HEADS
from snapvit.ui.sparsity_slider import sparsity_slider
from snapvit.ui.tables import table_to_keep

MODES = {"path": "Along the path", "ratios": "Two ratios"}


def chosen_cut(results: RunResults, selection: Selection) -> tuple[float, float]:
    """Draw the controls and what the cut costs; returns its (mlp, heads)."""
    mode = setting("mode", list(MODES), "path")
    columns = flowing_columns(3, 240, key="export_cut", align="bottom")
    columns[0].segmented_control(
        "Choose a cut",
        list(MODES),
        default=mode,
        format_func=MODES.__getitem__,
        key=setting_key("mode"),
        required=True,
    )
    with columns[1]:
        sparsity_slider(selection, "Sparsity" if mode == "path" else "MLP neurons removed")
    mlp, heads = path_pair(selection.sparsity)
    if mode == "ratios":
        removed = number_setting(HEADS, 0.0, 100 * HEADS_END, 100 * heads)
        columns[2].slider(
            "Heads removed", 0.0, 100 * HEADS_END, removed, step=0.5, format="%g %%", key=setting_key(HEADS)
        )
        heads = round(removed / 100, 4)
    cut = cut_at(results.ranking, mlp, heads)
    found = None if results.measurements is None else results.measurements.find(mlp, heads)
    quality = None if found is None else quality_of(found, results.latencies)
    if quality is None and mode == "path":
        quality = quality_at(mlp, measured_on_path(results), results.latencies)
    costs = results.facts.costs
    st.header(
        f"The cut at {ratio(mlp)} of neurons and {ratio(heads)} of heads{', corrected' if results.correct else ''}"
    )
    cut_tiles(results, costs.params(cut), costs.macs(cut), quality, key="export_tiles")
    return mlp, heads


def structure(results: RunResults, pair: tuple[float, float]) -> None:
    """Every block before and after the cut, as a figure and a table."""
    diff = structure_diff(results.facts.topology, results.facts.costs, cut_at(results.ranking, *pair))
    table = pd.DataFrame(figures.structure_rows(diff))
    (before, after), (full, left) = diff.params, diff.macs
    show_figure(
        figures.structure_figure(diff),
        key="structure_diff",
        reading="Each bar is a block of the full model; what is hatched goes. The model keeps "
        f"{percent(after / before)} of its parameters and {percent(left / full)} of its multiply-accumulates. What is "
        "in no bar stays whole: the patches' projection, norms, the biases of the layers that read heads and neurons, "
        "and the classifier.",
        alt="Parameters and multiply-accumulates of every block before and after the cut",
        table=table,
        file=f"{results.summary.run}-structure",
    )
    table_to_keep("Widths, parameters and MACs of every block, as a table", table, f"{results.summary.run}-structure")
