"""Where a cut moves the images: a projection from full to cut features, and each query's neighbours in both."""

import streamlit as st

from snapvit import figures, ui
from snapvit.ui.embedding.neighbour_panel import choose_query, chosen_images, neighbours
from snapvit.ui.embedding.projection_panel import cut_to_show, headline, narrow, show_projection
from snapvit.ui.embedding.projection_view import query_table

selection = ui.open_page("Embedding")
ui.page_title(
    "What does the cut do to the features?",
    terms=("cosine", "cut", "embedding", "gallery", "k-NN", "query", "sparsity", "top-1"),
)
results = ui.results_with(
    "ranking",
    selection,
    "This run has no ranking yet, so there is no cut to compare. It comes after the scores.",
)
view = cut_to_show(results, selection)
left, right = ui.flowing_columns([5, 2], 240, key="projection_and_numbers")
with right:
    headline(view, results.correct)
    mask, choice = narrow(view)
shown_image = selection.image if selection.image is not None else view.example(mask)
with left:
    chosen = show_projection(view, results, mask, choice, shown_image)
st.markdown(
    "A cut changes the features of every image. Where neighbours stay neighbours, k-NN answers as before; "
    "where they do not, it may go wrong. Press **Play** to follow every image from the full model to the cut one."
)
data = results.request.data
chosen_images(view, data, chosen)

st.header("One query's neighbours")
choose_query(view, mask, shown_image)
neighbours(view, data, shown_image, is_example=selection.image is None)

ui.show_figure(
    figures.kept_neighbours(view.stayed, view.outcome, view.found.k),
    key="kept_neighbours",
    reading="Each bar counts the queries of which so many neighbours of the full model are still among the nearest "
    "after the cut. The farther left, the more the features were rearranged; measured in the full feature space.",
    alt=f"Histogram of how many of {view.found.k} neighbours each of {view.found.queries} queries keeps",
    table=query_table(view),
    file=f"{selection.run}-neighbours",
)
