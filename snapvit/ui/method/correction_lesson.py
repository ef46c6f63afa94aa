"""After the cut: the layers that read what went are solved again on what stays, and what that gives back."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.evaluation.paired import answers_of, compare, describe
from snapvit.formats import decimal, ratio
from snapvit.pipeline.path import both_ways, no_accuracy
from snapvit.tables import Measurement
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.glossary import prose, term
from snapvit.ui.method.following import Lesson
from snapvit.ui.method.parts import not_yet, path_line
from snapvit.ui.run_key import run_key


def correction_lesson(lesson: Lesson) -> None:
    """The equation, the selected cut in both ways, and both curves."""
    results, by_cosine = lesson.results, no_accuracy(lesson.results) is not None
    both = both_ways(results)
    if not both:
        not_yet("cut that is measured both ways")
        return
    measure = "Cosine to the full model" if by_cosine else "k-NN top-1"
    words, figure = lesson.halves("correction", 5, 5)
    with words:
        prose(
            f"The layer that reads a block's {term('neuron', 'neurons')}, and the one that reads its "
            f"{term('head', 'heads')}, only mix them linearly. What those that go would have said, those that stay can "
            f"say in part. {term('weight correction', 'Correction')} finds the new weights that give the layer's "
            "output back best:"
        )
        st.latex(r"W' = W\,G_{\cdot,\mathrm{kept}}\,(G_{\mathrm{kept},\mathrm{kept}}+\lambda I)^{-1}")
        prose(
            f"$G$ is the covariance of what the layer reads in the full model, over "
            f"{results.request.config.correction.images:,} images without labels; a new bias says what never changes. "
            "It is one equation: nothing is trained, and no layer becomes larger."
        )
        st.markdown(_at_the_cut(lesson, both))
    lines = [
        path_line(rows, name, look, by_cosine)
        for look, (name, rows) in enumerate(zip(("as cut", "corrected"), zip(*both, strict=True), strict=True))
    ]
    with figure:
        show_figure(
            kept_figure(
                *("correction", run_key(results), lesson.selection.sparsity),
                make=lambda: figures.contender_curves(
                    lines,
                    *("sparsity", measure, not by_cosine, "What stays takes over", False),
                    lesson.selection.sparsity,
                ),
            ),
            key="what_correction_gives",
            reading="The same cuts of the same ranking. What lies between the curves is what the others could make "
            "good. The vertical line is the chosen cut.",
            alt=f"{measure} by sparsity, of cuts as they are and with corrected weights",
            table=lambda: pd.DataFrame({"sparsity": lines[0].sparsity} | {line.label: line.mean for line in lines}),
            file=f"{results.summary.run}-correction",
        )


def _at_the_cut(lesson: Lesson, both: list[tuple[Measurement, Measurement]]) -> str:
    """Both at the measured cut nearest to the selected one."""
    before, after = min(both, key=lambda pair: abs(pair[0].cut.mlp - lesson.selection.sparsity))
    begin = f"**At {ratio(before.cut.mlp)}** the cosine to the full model goes from {decimal(before.cosine, 3)} to "
    begin += f"{decimal(after.cosine, 3)}"
    if before.answers is None or after.answers is None:
        return f"{begin}."
    return f"{begin}; on the same queries: {describe(compare(answers_of(before), answers_of(after)))}."
