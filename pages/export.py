"""The really smaller model of any cut, proven before it is handed over."""

import streamlit as st

from snapvit import ui
from snapvit.ui.export.chosen_cut import chosen_cut, structure
from snapvit.ui.export.hand_over import hand_over
from snapvit.ui.export.report import report
from snapvit.ui.published import what_scores_lack

selection = ui.open_page("Export")
ui.page_title(
    "Take the smaller model along",
    terms=(
        *("block", "cosine", "cut", "embedding", "head", "k-NN", "latency", "MACs", "MLP", "neuron", "parameters"),
        *("ranking", "sparsity", "top-1", "weight correction"),
    ),
)

results = ui.results_with(
    "ranking",
    selection,
    "This run has no ranking yet, so there is nothing to cut by. It comes after the scores.",
)
if results.imported:
    st.info(what_scores_lack(results), icon=":material/info:")
    ui.onward("pages/sparsity.py", "What cuts by these scores keep", selection)
    st.stop()

pair = chosen_cut(results, selection)
hand_over(results, pair)
structure(results, pair)
report(results, pair)
