"""After the cut: the layers that read what went are solved again on what stays, and what that gives back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.evaluation.paired import answers_of, compare, describe
from snapvit.formats import decimal, ratio
from snapvit.pipeline.path import measured_on_path, no_accuracy
from snapvit.tables import Measurement
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.glossary import prose, term
from snapvit.ui.method.following import Lesson
from snapvit.ui.method.parts import not_yet
from snapvit.ui.run_key import run_key


def correction_lesson(lesson: Lesson) -> None:
    """The equation, the selected cut in both ways, and both curves."""
    results, by_cosine = lesson.results, no_accuracy(lesson.results) is not None
    both = [_curve(lesson, correct, by_cosine) for correct in (False, True)]
    if not all(both):
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
        st.markdown(_at_the_cut(lesson, *both))
    lines = [
        figures.Line(name, look, *_numbers(rows, by_cosine), "")
        for look, (name, rows) in enumerate(zip(("as cut", "corrected"), both, strict=True))
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
            table=lambda: _table(lines),
            file=f"{results.summary.run}-correction",
        )


def _curve(lesson: Lesson, correct: bool, by_cosine: bool) -> list[Measurement]:
    measured = measured_on_path(replace(lesson.results, correct=correct))
    return [m for m in measured if by_cosine or m.answers is not None]


def _numbers(rows: list[Measurement], by_cosine: bool) -> tuple[np.ndarray, ...]:
    """Sparsity, share of MACs, and three times the values, as a line without a band has them."""
    values = np.array([m.cosine if by_cosine else m.top1 for m in rows])
    macs = np.array([m.macs for m in rows], dtype=np.float64)
    return np.array([m.cut.mlp for m in rows]), macs / macs.max(), values, values, values


def _table(lines: list[figures.Line]) -> pd.DataFrame:
    """A row a sparsity, a column a line; empty where one was not measured there."""
    columns = [pd.Series(line.mean, index=line.sparsity, name=line.label) for line in lines]
    return pd.concat(columns, axis=1).sort_index().rename_axis("sparsity").reset_index()


def _at_the_cut(lesson: Lesson, as_cut: list[Measurement], corrected: list[Measurement]) -> str:
    """Both at the measured cut nearest to the selected one."""
    cuts = {m.cut.mlp: m for m in corrected}
    shared = [m for m in as_cut if m.cut.mlp in cuts]
    if not shared:
        return ""
    before = min(shared, key=lambda m: abs(m.cut.mlp - lesson.selection.sparsity))
    after = cuts[before.cut.mlp]
    begin = f"**At {ratio(before.cut.mlp)}** the cosine to the full model goes from {decimal(before.cosine, 3)} to "
    begin += f"{decimal(after.cosine, 3)}"
    if before.answers is None or after.answers is None:
        return f"{begin}."
    return f"{begin}; on the same queries: {describe(compare(answers_of(before), answers_of(after)))}."
