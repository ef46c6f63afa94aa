"""How structures depend on one another: the search's estimate by generation, other estimates, and what was measured."""

import streamlit as st

from snapvit import ui
from snapvit.ui.maps.correlation_chance import chance
from snapvit.ui.maps.correlation_maps import eigenvalues, player, search_controls, search_pairs
from snapvit.ui.maps.interaction_choice import Compared, choose_against, choose_map, choose_scale
from snapvit.ui.maps.interaction_maps import evidence, interaction_map, map_pairs
from snapvit.ui.maps.structure_controls import structure_order

selection = ui.open_page("Correlation")
ui.page_title(
    "How do structures interact?",
    terms=(
        *("block", "CKA", "covariance", "displacement", "factor", "fitness", "Gauss-Newton", "generation", "head"),
        *("Hessian", "individual", "interaction", "Mantel test", "MLP", "structure", "xNES"),
    ),
)

results = ui.results_with(
    "correlated",
    selection,
    "This run has no generation of its search yet; without a search, no ranking.",
)
with st.container(horizontal=True, vertical_alignment="center"):
    name = choose_map(results)
    with st.popover("Options", icon=":material/tune:", width="content", help="What the map shows"):
        order = structure_order(results, st, st, page="_g")
        scale = choose_scale()
        shown = search_controls(results, order) if name == "search" else None
    compared = Compared(name, choose_against(results, name), scale)
generation = shown.generation if shown else results.search.generations if results.searches else 0
left, right = ui.flowing_columns(2, 380, key="correlation_figures")
with left:
    if shown:
        player(results, selection, shown, compared)
    else:
        interaction_map(results, selection, compared, order)
with right:
    evidence(results, compared, generation)
    if shown:
        search_pairs(results, shown)
    else:
        map_pairs(results, compared, order)
    ui.onward("pages/cka.py", "The selected pair on the CKA page", selection)
    if shown:
        eigenvalues(results, shown)
if shown:
    st.markdown(
        "The search draws factors for all structures from a normal distribution and learns its covariance from how "
        "well the cut models do. The correlation of that covariance is the method's estimate of how structures depend "
        "on one another: the **Hessian correlation**, generation by generation."
    )
    chance(results, shown)
