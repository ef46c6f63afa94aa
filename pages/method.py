"""The method in four steps, taught with the selected run's own numbers."""

import streamlit as st

from snapvit import ui
from snapvit.ui.method.cka_lesson import cka_lesson
from snapvit.ui.method.diagram import method_flow
from snapvit.ui.method.gradient_lesson import gradient_lesson, head_gradients, offer_gradients
from snapvit.ui.method.image_lesson import image_lesson, pick_image
from snapvit.ui.method.parts import check, followed_head, not_yet
from snapvit.ui.method.ranking_lesson import ranking_lesson, verdict, why
from snapvit.ui.method.search_lesson import search_lesson
from snapvit.ui.words import head_name

selection = ui.open_page("Method")
ui.page_title(
    "How a ranking comes about",
    terms=(
        *("attention", "block", "calibration image", "CKA", "covariance", "cut", "embedding", "factor", "final score"),
        *("Fisher information", "fitness", "floor", "generation", "gradient", "head", "Hessian", "individual"),
        *("local curvature", "MLP", "neuron", "PCA projection", "ranking", "self-supervised loss", "softmax"),
        *("sparsity", "structure", "teacher", "view", "xNES"),
    ),
)
results = ui.results_with(
    "taught",
    selection,
    "This page follows a run through the method, from its first step, the local curvature. This run has none: it has "
    "not come so far, or its ranking is from published scores.",
)

st.header("In one minute", anchor="one-minute")
head = followed_head(results, selection)
found = verdict(results, head, selection.sparsity) if results.ranked else None
method_flow(results, found)
if found is not None:
    st.markdown(f"So why was this head {'cut' if found.is_cut else 'kept'}? {why(found)}")
st.markdown(
    "In full: [1 Local curvature](#step-1) · [2 CKA map](#step-2) · [3 Search](#step-3) · "
    "[4 Ranking and cut](#step-4) · [Glossary](#glossary)"
)

st.header("1 · Local curvature", anchor="step-1")
ui.prose(
    "No labels and no training: the model is asked whether it says the same about several "
    f"{ui.term('view', 'views')} of one image, and how much each weight has to do with the answer."
)
gradients = head_gradients(results)
if gradients is None:
    offer_gradients(results)
image = pick_image(results, selection, gradients)
if image is not None:
    st.subheader("One image, its views and its loss", anchor="views")
    image_lesson(results, image, gradients)
if gradients is not None:
    st.subheader(f"One head's gradient: {head_name(head)}", anchor="gradient")
    gradient_lesson(results, gradients, head, image)
check(
    "Two images pull a head's weights in exactly opposite directions. What does each variant make of it?",
    "`fisher` counts both, since squares do not cancel: the head matters to each image. `accumulated` adds first and "
    "gets 0: on average nothing would be gained by moving the weights.",
)

st.header("2 · CKA map", anchor="step-2")
if results.cka is None:
    not_yet("CKA map")
else:
    cka_lesson(results)
    ui.onward("pages/cka.py", "The whole map", selection)

st.header("3 · Search", anchor="step-3")
if results.search is None or not results.search.generations:
    not_yet("search")
else:
    search_lesson(results, head)
    ui.onward("pages/correlation.py", "The estimate, generation by generation", selection)
    check(
        "Why does the search not simply try every combination of structures?",
        f"There are {results.facts.topology.structures} structures; keeping or removing each gives "
        f"2^{results.facts.topology.structures} combinations. The search judged "
        f"{results.search.fitness.shape[0] * results.search.fitness.shape[1]:,} individuals.",
    )

st.header("4 · Ranking and cut", anchor="step-4")
if found is None:
    not_yet("ranking")
else:
    ranking_lesson(results, found)
    ui.onward("pages/heads.py", "All heads on one map", selection)
    ui.onward("pages/sparsity.py", "What each cut costs in accuracy", selection)
    check(
        "The slider moves from 40 % to 60 %. What has to be computed to know which heads go?",
        "Nothing: the order is fixed. A cut at 60 % removes everything that the cut at 40 % removes, and more.",
    )

st.header("Glossary", anchor="glossary")
ui.whole_glossary()
