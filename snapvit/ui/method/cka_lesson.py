"""Step 2 of the method: what CKA says, with the two structures of the run that are most alike."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from snapvit import figures
from snapvit.formats import decimal
from snapvit.method.structure_maps import block_means
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.glossary import prose, term
from snapvit.ui.method.following import Lesson
from snapvit.ui.numbers import Number, number_row
from snapvit.ui.run_key import run_key

STARTS = {
    "identity": "This run's search began without it, from independent factors, so here the map is a second opinion.",
    "cka": "This run's search began with it as its covariance, repaired to a correlation matrix.",
    "displacement": "This run's search began without it, from the correlations of displacements (Correlation page).",
}
HEIGHT = 440  # px, of the map between blocks


def cka_lesson(lesson: Lesson) -> None:
    """The formula, the most and the least alike pair, and the map between blocks."""
    results = lesson.results
    values, topology = results.cka.values, results.facts.topology
    words, figure = lesson.halves("cka")
    with words:
        prose(
            f"Two {term('structure', 'structures')} may do the same work, so that one can go. {term('CKA')} compares "
            "what they say about the same images: $X$ and $Y$ hold one row an image, the structure's activations at "
            f"the {term('class token')} (the mean of the patches where there is none), each column centred. It asks "
            "whether images that are alike to one are alike to the other:"
        )
        st.latex(
            r"\operatorname{CKA}(X,Y)=\frac{\lVert X^{\top}Y\rVert_F^2}"
            r"{\lVert X^{\top}X\rVert_F\;\lVert Y^{\top}Y\rVert_F}\in[0,1]"
        )
        pairs = most_and_least_alike(values)
        numbers = [
            Number(f"{label} alike", decimal(values[pair], 3), " and ".join(map(topology.structure_name, pair)))
            for label, pair in zip(("Most", "Least"), pairs, strict=True)
        ]
        number_row(numbers, "cka_lesson")
        st.markdown(
            f"Measured on {results.cka.images:,} calibration images. The map judges no structure by itself. "
            f"{STARTS[results.request.config.search.start]}"
        )
    means = block_means(values, topology)
    with figure:
        show_figure(
            kept_figure(
                *("lesson cka", run_key(results)),
                make=lambda: _low(figures.block_map(means)),
            ),
            key="lesson_cka",
            reading="The mean CKA between the structures of two blocks.",
            alt="Map of the mean CKA between the structures of any two blocks",
            file=f"{results.summary.run}-cka-blocks",
        )


def _low(figure: go.Figure) -> go.Figure:
    """The map of a page of its own, made to stand beside text."""
    return figure.update_layout(height=HEIGHT).update_traces(textfont={"size": 9}, selector={"mode": "text"})


def most_and_least_alike(values: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Indices of the pair with the largest and of the pair with the smallest value of (S, S), off its diagonal."""
    rows, columns = np.triu_indices(len(values), 1)
    pairs = values[rows, columns]
    most, least = int(pairs.argmax()), int(pairs.argmin())
    return (int(rows[most]), int(columns[most])), (int(rows[least]), int(columns[least]))
