"""Small parts of the Method page: which head it follows, what is still to come, and questions to check oneself."""

from __future__ import annotations

import streamlit as st

from snapvit.pipeline.config import PATH_END
from snapvit.pipeline.results import RunResults
from snapvit.ui.flow import flowing_columns
from snapvit.ui.lesson_ranking import telling_head
from snapvit.ui.selection import Selection, Structure, change
from snapvit.ui.words import head_name


def followed_head(results: RunResults, selection: Selection) -> tuple[tuple[int, int], Selection]:
    """Let the person choose the head and the sparsity of the example; returns the head and the selection."""
    topology = results.facts.topology
    structure = selection.structure
    is_head = structure is not None and structure.head is not None and structure.fits(topology)
    head = (structure.block, structure.head) if is_head else telling_head(results, selection.sparsity)
    st.markdown(
        "SnapViT decides once, without labels or retraining, in which order a model's heads and neurons may leave. "
        "Below, one head is followed through the four steps."
    )
    left, right = flowing_columns([2, 3], 260, key="followed")
    st.session_state["followed_head"] = head
    left.selectbox(
        "Head to follow",
        [(b, h) for b in range(topology.blocks) for h in range(topology.heads)],
        format_func=head_name,
        key="followed_head",
        on_change=lambda: change(structure=Structure(*st.session_state["followed_head"])),
        help="Without a choice, the last head that the cut removes",
    )
    st.session_state["followed_sparsity"] = round(100 * selection.sparsity, 1)
    right.slider(
        "Sparsity of the cut",
        0.0,
        100 * PATH_END,
        step=0.5,
        format="%.1f %%",
        key="followed_sparsity",
        on_change=lambda: change(sparsity=round(st.session_state["followed_sparsity"] / 100, 4)),
        help="Share of MLP neurons removed; heads lag 15 points behind",
    )
    return head, selection


def not_yet(what: str) -> None:
    """Say that the run has not come that far."""
    st.info(f"This run has no {what} yet. The page follows as the run goes on.", icon=":material/hourglass_empty:")


def check(question: str, answer: str) -> None:
    """A question whose answer opens on request."""
    with st.expander(f"Check yourself: {question}"):
        st.markdown(answer)
