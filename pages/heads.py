"""The importance of every head and neuron, and for one of them why and when it goes and where it looks."""

import streamlit as st

from snapvit import ui
from snapvit.ui.heads.attention import attention_panel
from snapvit.ui.heads.importance import head_map, neuron_figures, structure_table
from snapvit.ui.heads.structure_details import neighbour_table, pick_structure, structure_details
from snapvit.ui.published import what_scores_lack

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
left, right = ui.flowing_columns([3, 2], 330, key="map_and_story")
with left:
    if results.ranked:
        ui.sparsity_slider(selection)
    head_map(results, selection)
with right:
    pick_structure(selection, results.facts.topology)
    structure_details(results, selection)
    neighbour_table(results, selection)
attention_panel(results, selection)
st.header("Neurons by block")
neuron_figures(results, selection)
structure_table(results, selection)
