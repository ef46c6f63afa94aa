"""Which structures say the same: CKA between blocks, between structures, before and after a cut, and of one pair."""

import streamlit as st

from snapvit import ui
from snapvit.ui.maps.cka_maps import block_summary, map_controls, structure_map
from snapvit.ui.maps.structure_controls import shown_pair
from snapvit.ui.maps.structure_pair import structure_pair

selection = ui.open_page("CKA")
ui.page_title(
    "Which structures say the same?",
    terms=("block", "CKA", "class token", "cut", "final score", "head", "MLP", "ranking", "sparsity", "structure"),
)

results = ui.results_with("cka", selection, "This run has no CKA map yet. It is one of a run's first results.")
pair = shown_pair(results, selection)
choice = map_controls(results, selection)
left, right = ui.flowing_columns([3, 2], 340, key="map_and_pair")
with left:
    structure_map(results, choice, pair)
with right:
    structure_pair(results, choice.sparsity, pair)
st.header("Block by block")
block_summary(results)
