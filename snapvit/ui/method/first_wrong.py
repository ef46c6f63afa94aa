"""Which images go wrong first: the queries that the whole model names right and harder cuts do not any more."""

from __future__ import annotations

import numpy as np
import streamlit as st

from snapvit.artifacts import Doubles, Ints
from snapvit.evaluation.paired import answers_of, lost_at
from snapvit.formats import ratio
from snapvit.image_artifacts import PixelAnswers
from snapvit.pipeline.path import measured_on_path, no_accuracy
from snapvit.ui.components.picture_board import Card, picture_board
from snapvit.ui.embedding.pictures import picture_url
from snapvit.ui.method.following import Lesson
from snapvit.ui.method.questions import pixel_answers
from snapvit.ui.names import as_markdown, shortened
from snapvit.ui.numbers import Number, number_row

SHOWN = 14  # pictures, which are two rows beside an open sidebar


def first_wrong_lesson(lesson: Lesson) -> None:
    """How many queries are lost by which cut, of which classes, and the first of them as pictures."""
    measured = [m for m in measured_on_path(lesson.results) if m.answers is not None]
    if len(measured) < 2 or measured[0].cut.mlp > 0:
        missing = no_accuracy(lesson.results)
        st.info("No accuracy is measured yet." if missing is None else f"{missing}, so no answer can be wrong.")
        return
    found = pixel_answers(lesson, "Which image and class each query is of has not been looked up yet.")
    if found is None:
        return
    answers = np.stack([answers_of(m) for m in measured])
    sparsity = np.array([m.cut.mlp for m in measured])
    rows, at = first_lost(answers[0], lost_at(answers), sparsity)
    right = int(answers[0].sum())
    wavering = int((answers[0] & ~answers.all(axis=0)).sum()) - len(rows)
    half = [int((at <= s).sum()) for s in (0.5, 0.8, float(sparsity[-1]))]
    number_row(
        [
            Number("Right in the whole model", f"{right:,}", f"of {len(found.ids):,} queries"),
            Number("Lost for good by 50 %", f"{half[0]:,}"),
            Number("by 80 %", f"{half[1]:,}"),
            Number(f"by {ratio(float(sparsity[-1]))}", f"{half[2]:,}", "the end of the path"),
        ],
        "first_wrong",
    )
    st.markdown(
        f"An image is lost at the cut from which on every harder measured one names it wrong. {wavering:,} others go "
        f"wrong somewhere on the way and come back: those sit between two classes. {_classes(lesson, found, rows)}"
    )
    cards = [_card(lesson, found, int(row), float(s)) for row, s in zip(rows[:SHOWN], at[:SHOWN], strict=True)]
    if cards:
        st.markdown("**The first to go**")
        picture_board(cards, "Queries that are lost first", key="first_wrong", small=True)


def first_lost(whole: np.ndarray, lost: Ints, sparsity: Doubles) -> tuple[Ints, Doubles]:
    """Queries that the whole model names right and the last cut does not, the first to be lost first, and where.

    whole (Q,) bool; lost (Q,) points in [0, P], see `lost_at`; sparsity (P,).
    """
    rows = np.flatnonzero(whole & (lost < len(sparsity)))
    rows = rows[np.argsort(lost[rows], kind="stable")]
    return rows, sparsity[lost[rows]]


def _classes(lesson: Lesson, found: PixelAnswers, rows: Ints) -> str:
    """Of which classes the lost ones are."""
    classes = lesson.results.facts.classes
    if not len(rows) or not classes:
        return ""
    counts = np.bincount(found.labels[rows], minlength=len(classes))
    most = np.argsort(-counts, kind="stable")[:3]
    named = ", ".join(f"{as_markdown(shortened(classes[i], 30))} ({counts[i]:,})" for i in most if counts[i])
    return f"Most of the {len(rows):,} lost ones are of: {named}."


def _card(lesson: Lesson, found: PixelAnswers, row: int, sparsity: float) -> Card:
    image, label, classes = int(found.ids[row]), int(found.labels[row]), lesson.results.facts.classes
    name = shortened(classes[label], 20) if 0 <= label < len(classes) else f"image {image}"
    return Card(image, picture_url(lesson.results.facts.data, image), name, (f"lost at {ratio(sparsity)}",))
