"""The live slider: accuracy, costs and kept structures follow the thumb while it is held."""

import streamlit as st

from snapvit import ui
from snapvit.ui.cut_details import cut_details
from snapvit.ui.live_sparsity import live_sparsity

selection = ui.open_page("Sparsity")
st.title("How far can this model be cut?")

results = ui.chosen_results(selection.run) if selection.run else None
if results is None:
    ui.no_run_yet()
    st.stop()
if results.ranking is None:
    st.info("This run has no ranking yet, so there is nothing to cut by. It comes after the search; see the Run page.")
    st.page_link("app.py", label="Go to the Run page", icon=":material/play_circle:", query_params=selection.query())
    st.stop()

st.markdown(
    "Drag the thumb: the model shrinks along the paper's path, heads 15 points behind the neurons. Accuracy is that of "
    "k-NN on images the model was never trained on; what stays and what goes was decided once, without labels."
)
selection = ui.change(sparsity=live_sparsity(ui.chosen_live_data(results), selection.sparsity, key="live"))
cut_details(results, selection.sparsity)
