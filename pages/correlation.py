"""The Hessian correlation estimate by generation, its strongest pairs, and what it is worth."""

import streamlit as st

from snapvit import ui
from snapvit.ui.maps.correlation_chance import chance
from snapvit.ui.maps.correlation_maps import controls, eigenvalues, pair_table, player

selection = ui.open_page("Correlation")
ui.page_title(
    "What does the search learn about pairs?",
    terms=(
        *("block", "CKA", "covariance", "factor", "fitness", "generation", "head", "Hessian", "individual", "MLP"),
        *("structure", "xNES"),
    ),
)

results = ui.results_with(
    "search", selection, "This run's search has no generation yet. It comes after the curvature and the CKA map."
)
st.markdown(
    "The search draws factors for all structures from a normal distribution and learns its covariance from how well "
    "the cut models do. The correlation of that covariance is the method's estimate of how structures depend on one "
    "another: the **Hessian correlation**, generation by generation."
)
shown = controls(results)
left, right = ui.flowing_columns(2, 420, key="correlation_figures")
with left:
    player(results, selection, shown)
with right:
    pair_table(results, shown)
    ui.onward("pages/cka.py", "The selected pair on the CKA page", selection)
    eigenvalues(results, shown)
chance(results, shown)
