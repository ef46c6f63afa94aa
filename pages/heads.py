"""The importance of every head and neuron, and for one of them why and when it goes and where it looks."""

import streamlit as st

from snapvit import ui
from snapvit.ui.attention import attention_panel
from snapvit.ui.importance import head_maps, neuron_figures, structure_table
from snapvit.ui.published import what_scores_lack
from snapvit.ui.structure_details import neighbour_table, pick_structure, structure_details

selection = ui.open_page("Heads and neurons")
ui.page_title(
    "What matters, and what goes first",
    terms=(
        *("attention", "block", "CKA", "class token", "cut", "factor", "final score", "floor", "head"),
        *("local curvature", "MLP", "neuron", "patch", "ranking", "sparsity", "structure"),
    ),
)

results = ui.results_with(
    "importance", selection, "This run has no importance yet. It is the first thing that a run computes."
)
if results.scores is not None:
    st.info(what_scores_lack(results), icon=":material/info:")
left, right = ui.flowing_columns([2, 3], 340, key="head_controls", align="bottom")
percent = left.slider(
    "Sparsity of the cut",
    0.0,
    95.0,
    100 * selection.sparsity,
    0.5,
    format="%.1f %%",
    help="Share of MLP neurons removed; heads lag 15 points behind",
)
selection = ui.change(sparsity=round(percent / 100, 4))
with right:
    pick_structure(selection, results.facts.topology)

head_maps(results, selection)
structure_details(results, selection)
neighbour_table(results, selection)
attention_panel(results, selection)
st.subheader("Neurons by block")
neuron_figures(results, selection)
structure_table(results, selection)
