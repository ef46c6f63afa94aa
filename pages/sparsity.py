"""What a cut costs: along the paper's path while the thumb moves, with both ratios apart, or for a budget."""

import streamlit as st

from snapvit import ui
from snapvit.ui.published import cuts_of_scores, describe_scores, published_accuracy
from snapvit.ui.sparsity.budget import budget_mode
from snapvit.ui.sparsity.cut_details import cut_details
from snapvit.ui.sparsity.two_ratios import two_ratios

MODES = {"path": "Slider along the path", "ratios": "Two ratios", "budget": "For a budget"}

selection = ui.open_page("Sparsity")
ui.page_title(
    "How far can this model be cut?",
    terms=(
        *("block", "cosine", "cut", "embedding", "floor", "gallery", "head", "k-NN", "latency", "MACs", "MLP"),
        *("neuron", "parameters", "query", "ranking", "sparsity", "top-1", "weight correction", "Wilson interval"),
    ),
)

results = ui.results_with(
    "ranking",
    selection,
    "This run has no ranking yet, so there is nothing to cut by. It comes after the scores.",
)
if results.imported:
    describe_scores(results)
    cuts_of_scores(results, selection)
    published_accuracy(results, selection.sparsity)
    st.stop()

mode = ui.setting("mode", list(MODES), "path")
st.segmented_control(
    "Choose a cut by",
    list(MODES),
    default=mode,
    format_func=MODES.__getitem__,
    key=ui.setting_key("mode"),
    required=True,
    label_visibility="collapsed",
)
if mode == "ratios":
    two_ratios(results, selection)
    st.stop()
if mode == "budget":
    budget_mode(results, selection)
    st.stop()
sparsity = ui.live_cut(results, selection)
st.markdown(ui.how_to_read(results) + " What stays and what goes was decided once, without labels.")
cut_details(results, sparsity)
ui.onward("pages/export.py", "Export this cut as a smaller model", selection)
