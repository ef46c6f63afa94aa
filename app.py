"""The first page: choose a model, start a run, watch it, and see what the shown run found."""

import streamlit as st

from snapvit import ui
from snapvit.pipeline.results import list_runs
from snapvit.ui.job_panel import job_panel
from snapvit.ui.resources import store
from snapvit.ui.run.overview import overview
from snapvit.ui.run.past_runs import past_runs
from snapvit.ui.run.run_form import run_form
from snapvit.ui.run.score_import import score_import

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
    "SnapViT ranks all neurons and heads of a pretrained model once, without labels or retraining; then any share of "
    "them can be cut out at once."
)

job_panel(selection.run)

results = ui.chosen_results(selection.run, selection.correct) if selection.run else None
if results is None and not list_runs(store()):
    st.info("There is no run to show yet. Start one below; the quick preset takes about two minutes.")
elif results is not None:
    overview(results, selection)

st.header("Start a run")
run_form()

score_import()

st.header("Runs in the cache")
past_runs(selection.run)
