"""Small parts of the Method page: its first step, what is still to come, and questions to check oneself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from snapvit import figures
from snapvit.tables import Measurement
from snapvit.ui.controlled import controlled
from snapvit.ui.flow import flowing_columns
from snapvit.ui.method.diagram import method_flow
from snapvit.ui.method.following import Lesson
from snapvit.ui.method.ranking_lesson import why
from snapvit.ui.selection import Structure, change
from snapvit.ui.sparsity_slider import sparsity_slider
from snapvit.ui.words import head_name


def in_one_minute(lesson: Lesson) -> None:
    """The steps in one picture, and what becomes of the head that the person chooses."""
    method = lesson.results.method
    st.markdown(
        f"{method.label} decides once, without {'' if method.labelled else 'labels or '}retraining, in which order a "
        "model's heads and neurons may leave. One head is followed through the steps."
    )
    method_flow(lesson.results, lesson.found)
    pick_head(lesson)
    if lesson.found is not None:
        st.markdown(f"So why was this head {'cut' if lesson.found.is_cut else 'kept'}? {why(lesson.found)}")


def pick_head(lesson: Lesson) -> None:
    """Let the person choose the head and the sparsity of the example."""
    topology = lesson.results.facts.topology
    left, right = flowing_columns([2, 3], 260, key="followed")
    heads = [(b, h) for b in range(topology.blocks) for h in range(topology.heads)]
    left.selectbox(
        "Head to follow",
        heads,
        format_func=head_name,
        help="Without a choice, the last head that the cut removes",
        **controlled("followed_head", lesson.head, lambda chosen: change(structure=Structure(*chosen)), heads),
    )
    if lesson.results.ranked:
        with right:
            sparsity_slider(lesson.selection)


def path_line(measured: Sequence[Measurement], label: str, look: int, by_cosine: bool) -> figures.Line:
    """Cuts of one ranking along the slider's path as a curve without a band."""
    values = np.array([m.cosine if by_cosine else m.top1 for m in measured])
    macs = np.array([m.macs for m in measured], dtype=np.float64)
    sparsity = np.array([m.cut.mlp for m in measured])
    return figures.Line(label, look, sparsity, macs / macs.max(), values, values, values, "")


def not_yet(what: str) -> None:
    """Say that the run has not come that far."""
    st.info(f"This run has no {what} yet. The page follows as the run goes on.", icon=":material/hourglass_empty:")


def check(lesson: Lesson, question: str, answer: str) -> None:
    """A question whose answer opens on request; on paper it stands there."""
    if lesson.whole:
        st.markdown(f"**Check yourself: {question}** {answer}")
    else:
        with st.expander(f"Check yourself: {question}"):
            st.markdown(answer)
