"""Step 2 of the Method page: what CKA says, with the two structures of the run that are most alike."""

from __future__ import annotations

import numpy as np
import streamlit as st

from snapvit.pipeline.results import RunResults
from snapvit.ui.flow import flowing_columns
from snapvit.ui.glossary import about, prose, term

STARTS = {
    "identity": "This run's search began without it, from independent factors, so here the map is a second opinion.",
    "cka": "This run's search began with it as its covariance, repaired to a correlation matrix.",
    "displacement": "This run's search began without it, from the correlations of displacements (Correlation page).",
}


def cka_lesson(results: RunResults) -> None:
    """One paragraph, the formula, and three numbers."""
    prose(
        f"Two {term('structure', 'structures')} may do the same work, so that one can go. {term('CKA')} compares what "
        "they say about the same images: $X$ and $Y$ hold one row an image, the structure's activations at the "
        f"{term('class token')} (the mean of the patches where there is none), each column centred. It asks whether "
        "images that are alike to one are alike to the other, whatever their number of dimensions:"
    )
    st.latex(
        r"\operatorname{CKA}(X,Y)=\frac{\lVert X^{\top}Y\rVert_F^2}"
        r"{\lVert X^{\top}X\rVert_F\;\lVert Y^{\top}Y\rVert_F}\in[0,1]"
    )
    (a, b), (c, d) = most_and_least_alike(results.cka.values)
    name, values = results.facts.topology.structure_name, results.cka.values
    columns = flowing_columns(2, 320, key="cka_numbers")
    columns[0].metric(f"Most alike: {name(a)} and {name(b)}", f"{values[a, b]:.3f}", border=True, help=about("CKA"))
    columns[1].metric(f"Least alike: {name(c)} and {name(d)}", f"{values[c, d]:.3f}", border=True)
    st.markdown(
        f"Measured on {results.cka.images:,} calibration images. The map judges no structure by itself: the search may "
        f"start from it, and one can hold the search's estimate against it. "
        f"{STARTS[results.request.config.search.start]}"
    )


def most_and_least_alike(values: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Indices of the pair with the largest and of the pair with the smallest value of (S, S), off its diagonal."""
    rows, columns = np.triu_indices(len(values), 1)
    pairs = values[rows, columns]
    most, least = int(pairs.argmax()), int(pairs.argmin())
    return (int(rows[most]), int(columns[most])), (int(rows[least]), int(columns[least]))
