"""The importance of every head, and for one of them why and when it goes."""

import streamlit as st

from snapvit import figures, ui
from snapvit.ui.head_details import (
    head_details,
    head_frame,
    head_table,
    head_values,
    kept_heads,
    measures,
    select_clicked,
)
from snapvit.ui.published import what_scores_lack

selection = ui.open_page("Heads")
ui.page_title(
    "Which heads matter, and which go first",
    terms=("block", "cut", "factor", "final score", "floor", "head", "local curvature", "ranking", "sparsity"),
)

results = ui.results_with(
    "importance", selection, "This run has no importance yet. It is the first thing that a run computes."
)
ready = measures(results)
if results.scores is not None:
    st.info(what_scores_lack(results), icon=":material/info:")
left, right = ui.flowing_columns([3, 2], 340, key="head_controls", align="bottom")
ui.setting("measure", ready, ready[0])
measure = left.segmented_control(
    "Colour by", ready, format_func=lambda m: figures.MEASURES[m].label, key="measure", required=True
)
percent = right.slider(
    "Sparsity of the cut",
    0.0,
    95.0,
    100 * selection.sparsity,
    0.5,
    format="%.1f %%",
    help="Share of MLP neurons removed; heads lag 15 points behind",
)
selection = ui.change(sparsity=round(percent / 100, 4))

chart = f"head_map_{measure}"
label = figures.MEASURES[measure].label
ui.show_figure(
    figures.head_map(head_values(results, measure), kept_heads(results, selection.sparsity), measure, selection.head),
    key=chart,
    reading=f"{figures.MEASURES[measure].meaning} A cross marks a head that the cut removes. Click a cell "
    "to see why and when that head goes.",
    alt=f"Map of {label.lower()} of every head, one column a block",
    table=head_frame(results, selection.sparsity),
    file=f"{selection.run}-heads-{measure}",
    on_click=lambda: select_clicked(chart, results.facts.topology),
)
head_details(results, selection)
head_table(results, selection.sparsity)
