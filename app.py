"""The first page: choose a model, start a run, watch it, and see what the shown run found."""

import streamlit as st

from snapvit import ui
from snapvit.ui.job_panel import job_panel
from snapvit.ui.run.overview import overview
from snapvit.ui.run.past_runs import past_runs
from snapvit.ui.run.run_form import run_form
from snapvit.ui.run.score_import import score_import
from snapvit.ui.run.uploaded_images import uploaded_images

selection = ui.open_page("Run", follow=False)
ui.page_title(
    "How a Vision Transformer can be cut down",
    terms=(
        *("block", "CKA", "cosine", "cut", "embedding", "factor", "fitness", "floor", "gallery", "generation", "head"),
        *("individual", "k-NN", "latency", "local curvature", "MACs", "MLP", "neuron", "parameters", "query"),
        *("ranking", "sparsity", "top-1", "view", "Wilson interval", "xNES"),
    ),
)
st.markdown(
    "All neurons and heads of a pretrained model are ranked once, without labels. Drag the thumb to cut out any share."
)

results = ui.chosen_results(selection.run, selection.correct) if selection.run else None
if not ui.anything_here():
    start = "" if ui.only_shows() else " Start one below; for the bundled model the quick preset takes some minutes."
    st.info(f"There is no run to show yet.{start}")
elif results is not None:
    overview(results, selection)

if ui.only_shows():
    st.info("Here one only looks: nothing can be started, changed or deleted.", icon=":material/lock:")
else:
    st.header("Start a run", anchor="start")
    form, job = ui.flowing_columns([3, 2], 340, key="form_and_job")
    with job:
        job_panel(selection.run)
    with form:
        run_form()
    score_import()

st.header("Runs in the cache")
past_runs(selection.run)
uploaded_images()
