"""Small parts of the Method page: which head it follows, what is still to come, and questions to check oneself."""

from __future__ import annotations

import streamlit as st

from snapvit.pipeline.results import RunResults
from snapvit.ui.controlled import controlled
from snapvit.ui.flow import flowing_columns
from snapvit.ui.method.ranking_lesson import telling_head
from snapvit.ui.selection import Selection, Structure, change
from snapvit.ui.sparsity_slider import sparsity_slider
from snapvit.ui.words import head_name


def followed_head(results: RunResults, selection: Selection) -> tuple[int, int]:
    """Let the person choose the head and the sparsity of the example; returns the head."""
    topology = results.facts.topology
    structure = selection.structure
    is_head = structure is not None and structure.head is not None and structure.fits(topology)
    head = (structure.block, structure.head) if is_head else telling_head(results, selection.sparsity)
    st.markdown(
        "SnapViT decides once, without labels or retraining, in which order a model's heads and neurons may leave. "
        "Below, one head is followed through the four steps."
    )
    left, right = flowing_columns([2, 3], 260, key="followed")
    heads = [(b, h) for b in range(topology.blocks) for h in range(topology.heads)]
    left.selectbox(
        "Head to follow",
        heads,
        format_func=head_name,
        help="Without a choice, the last head that the cut removes",
        **controlled("followed_head", head, lambda chosen: change(structure=Structure(*chosen)), heads),
    )
    if results.ranked:
        with right:
            sparsity_slider(selection)
    return head


def not_yet(what: str) -> None:
    """Say that the run has not come that far."""
    st.info(f"This run has no {what} yet. The page follows as the run goes on.", icon=":material/hourglass_empty:")


def check(question: str, answer: str) -> None:
    """A question whose answer opens on request."""
    with st.expander(f"Check yourself: {question}"):
        st.markdown(answer)
