"""Rankings beside one another: is the method better than its rivals, by how much, and does the search pay?"""

import streamlit as st

from snapvit import ui
from snapvit.ui.compare.asking import ask_for_more
from snapvit.ui.compare.contestants import comparison_of
from snapvit.ui.compare.other_run import other_run
from snapvit.ui.compare.paper import papers_models
from snapvit.ui.compare.rivals import rivals
from snapvit.ui.compare.search_gain import search_gain

selection = ui.open_page("Compare")
ui.page_title(
    "Is this ranking better than others?",
    terms=("cosine", "cut", "embedding", "gallery", "k-NN", "local curvature", "MACs", "query", "ranking", "sparsity"),
)

results = ui.results_with(
    "ranking",
    selection,
    "This run has no ranking yet, so there is nothing to compare. It comes after the scores.",
)
if results.imported:
    st.info(
        "This run holds published scores alone, without weights or images, so no ranking can be measured beside it.",
        icon=":material/info:",
    )
    papers_models(results)
    st.stop()

found = comparison_of(results)
if found is None:
    st.info("Nothing was measured beside this run's own ranking yet.", icon=":material/info:")
    ask_for_more(results)
else:
    measure = rivals(results, found, selection)
    search_gain(results, found, measure)
st.header("Beside another run")
other_run(results, selection)
papers_models(results)
if found is not None:
    st.header("Compare more")
    ask_for_more(results)
