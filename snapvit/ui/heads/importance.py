"""The figures of the Heads page: the map of all heads, the neurons of every block, and the table of all structures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.elastic.ranking import cut_at
from snapvit.pipeline.config import PATH_END, path_pair
from snapvit.pipeline.results import RunResults
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.heads.structures import (
    head_frame,
    head_values,
    kept_heads,
    kept_neurons,
    measures,
    neuron_values,
    structure_frame,
)
from snapvit.ui.run_key import run_key
from snapvit.ui.selection import Selection, Structure, change, setting, setting_key
from snapvit.ui.tables import csv_button, in_percent

PLAIN = ("Search factor", "CKA with it")  # columns of numbers near 1
SHARE_STEPS = 96  # sparsities of the map of kept neurons


def head_map(results: RunResults, selection: Selection) -> None:
    """The map of every head by one of the measures that the run has, and the choice of it."""
    topology, known = results.facts.topology, measures(results)
    if not known:
        st.info("This run has a ranking but no scores, so there is no map; the table below has the order.")
        return
    measure = setting("measure", known, known[-1])
    signs = dict(zip(known, ("", "× ", "= "), strict=False))  # curvature × factor = score
    st.segmented_control(
        "Measure",
        known,
        default=measure,
        format_func=lambda name: signs[name] + figures.MEASURES[name].label,
        key=setting_key("measure"),
        required=True,
        label_visibility="collapsed",
    )
    crosses = "" if results.ranking is None else " A cross marks a head that the cut removes."
    kept, sparsity = kept_heads(results, selection.sparsity), selection.sparsity
    meaning = figures.MEASURES[measure].meaning
    if measure == "score" and results.method is not None and not results.searches:
        meaning = f"By {results.method.label}: {results.method.what}. The lowest of all blocks leave first."
    show_figure(
        kept_figure(
            *("heads", run_key(results), measure, kept.tobytes()),
            make=lambda: figures.head_map(head_values(results, measure), kept, measure),
        ),
        key=f"head_map_{measure}",
        reading=f"{meaning}{crosses} Click one to see its story.",
        alt=f"Map of {figures.MEASURES[measure].label.lower()} of every head, one column a block",
        table=lambda: head_frame(results, sparsity),
        marks=figures.head_marks(topology.blocks, topology.heads, selection.head),
        file=f"{selection.run}-heads-{measure}",
        on_point=_selecting(lambda index: Structure(*divmod(index, topology.heads))),
    )


def neuron_figures(results: RunResults, selection: Selection) -> None:
    """How scores fall within each block, and what share of its neurons each block keeps along the path."""
    left, right = flowing_columns(2, 480, key="neuron_figures")
    block = selection.structure.block if selection.structure is not None else None
    scores = neuron_values(results)
    if scores is not None:
        with left:
            _profile(results, selection, scores, block)
    if results.ranking is not None:
        with right:
            _shares(results, selection, block)


def _profile(results: RunResults, selection: Selection, scores: np.ndarray, block: int | None) -> None:
    label = "final score" if results.ranked else "local curvature"
    hidden = results.facts.topology.hidden
    place, at = np.arange(1, hidden + 1), 100 * np.arange(1, hidden + 1) / hidden
    falling = -np.sort(-scores, axis=1)
    columns = {f"block {b + 1}": values for b, values in enumerate(falling)}
    ends = "" if results.ranking is None else " What lies below the dashed line goes, but for each block's best."
    threshold = _threshold(results, scores, selection.sparsity)
    show_figure(
        kept_figure(
            *("profile", run_key(results), threshold, block),
            make=lambda: figures.neuron_profile(scores, label, threshold, block),
        ),
        key="neuron_profile",
        reading="One line a block, from its best neuron at the left to its worst; dark lines are near the image. A "
        f"line that falls early has few neurons that matter.{ends} Click a line to select that block's MLP.",
        alt=f"Sorted {label} of the neurons of every block, on a logarithmic scale",
        table=pd.DataFrame({"place": place, "best percent": at, **columns}),
        file=f"{selection.run}-neurons",
        on_point=_selecting(Structure),
    )


def _threshold(results: RunResults, scores: np.ndarray, sparsity: float) -> float | None:
    """The least score that stays without protection; None where the cut removes nothing."""
    if results.ranking is None:
        return None
    order = results.ranking.mlp
    gone = len(order) - int(kept_neurons(results, sparsity).sum())
    return float(scores.ravel()[order[gone]]) if 0 < gone < len(order) - results.ranking.mlp_protected else None


def _shares(results: RunResults, selection: Selection, block: int | None) -> None:
    sparsity = np.round(np.linspace(0, PATH_END, SHARE_STEPS), 4)
    kept = np.array([cut_at(results.ranking, *path_pair(float(s))).kept_neurons for s in sparsity]).T
    shares = kept / results.facts.topology.hidden
    columns = {f"block {b + 1}": row for b, row in enumerate(kept)}
    show_figure(
        kept_figure(
            *("shares", run_key(results), selection.sparsity),
            make=lambda: figures.kept_share(shares, sparsity, selection.sparsity),
        ),
        key="kept_share",
        reading="One row a block, one column a sparsity: bright where the block keeps all its neurons. Rows that "
        "darken first are the blocks that the ranking cuts first. The vertical line is this cut; click a row to select "
        "its MLP.",
        alt="Share of neurons that each block keeps, by sparsity",
        table=pd.DataFrame({"sparsity": sparsity, **columns}),
        marks=figures.share_marks(sparsity, len(shares), block),
        file=f"{selection.run}-kept-neurons",
        on_point=_selecting(Structure),
    )


def structure_table(results: RunResults, selection: Selection) -> None:
    """Every MLP and head in one table; a selected row is the selected structure."""
    topology = results.facts.topology
    table = structure_frame(results, selection.sparsity)
    st.header("All MLPs and heads")
    formats: dict[str, Any] = {"Goes at sparsity": st.column_config.NumberColumn(format="%.1f %%")}
    for name in table.columns:
        if table[name].dtype.kind == "f" and name not in formats:
            formats[name] = st.column_config.NumberColumn(format="%.3f" if name in PLAIN else "scientific")
    st.dataframe(
        in_percent(table, "Goes at sparsity"),
        hide_index=True,
        column_config=formats,
        key="structure_table",
        on_select=_row_chosen(topology),
        selection_mode="single-row",
        height=380,
        alt="All MLPs and heads",
    )
    st.caption(
        "Sort by a click on a column's name, search with the glass at the table's corner, choose a row to see its "
        "story above. Curvature and score of an MLP are sums over its neurons, so they are no match for a head's. An "
        "MLP goes at the sparsity that takes half of its neurons; nothing is shown for what the slider's path never "
        "takes."
    )
    csv_button(table, f"{selection.run}-structures", "structures_csv", help="All MLPs and heads")


def _row_chosen(topology: Any) -> Callable[[], None]:
    def choose() -> None:
        rows = st.session_state["structure_table"]["selection"]["rows"]
        if rows:
            change(structure=Structure.of(rows[0], topology))

    return choose


def _selecting(structure: Callable[[int], Structure]) -> Callable[[Any], None]:
    """What selects the structure whose point was clicked in a chart."""

    def choose(index: Any) -> None:
        if isinstance(index, int):
            change(structure=structure(index))

    return choose
