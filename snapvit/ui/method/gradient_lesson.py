"""Step 1 of the method, second half: the gradients of one head, image by image, and their mean."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.formats import duration, percent, score
from snapvit.jobs.tasks import StageTask
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.lessons import HEAD_GRADIENTS
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.glossary import prose, term
from snapvit.ui.method.following import Lesson, gradient_count
from snapvit.ui.numbers import Number, number_row
from snapvit.ui.run_key import run_key
from snapvit.ui.words import head_name


def offer_gradients(lesson: Lesson) -> None:
    """A button that computes them."""
    results = lesson.results
    run, images = results.summary.run, results.curvature.images
    took, count = results.stored.seconds(CURVATURE), gradient_count(results)
    lesson.offer(
        StageTask(run, (Want(HEAD_GRADIENTS, (count,)),)),
        f"The views and gradients of single images are not computed yet. For {count:,} of the run's {images:,} "
        f"calibration images that takes about {duration(max(5.0, took * count / images))}; the other steps are "
        "complete without it.",
        "Compute",
        key="compute_gradients",
    )


def gradient_lesson(lesson: Lesson) -> None:
    """The head's squared gradients as a histogram, and that their mean is the stored curvature."""
    results, gradients, head, image = lesson.results, lesson.gradients, lesson.head, lesson.image
    if gradients is None:
        offer_gradients(lesson)
        return
    block, number = head
    values = gradients.squares[:, block, number]
    count, stored = len(values), float(results.curvature.head[block, number])
    mean, accumulated = float(values.mean(dtype=np.float64)), float(gradients.accumulated[block, number])
    number_row(
        [
            Number(f"Mean of these {count:,}", score(mean)),
            Number("Local curvature in this run", score(stored)),
            Number("Square of the mean gradient", score(accumulated)),
        ],
        "gradient",
    )
    words, figure = lesson.halves("gradient", 5, 6)
    with words:
        prose(
            f"How strongly does this loss feel one {term('head')}, {head_name(head)}? Take its {term('gradient')} with "
            "respect to the weights $W_V$ that make the head's values, square it, and average over weights and images. "
            f"That is the head's {term('local curvature')}, the diagonal of the empirical "
            f"{term('Fisher information')}; a {term('neuron')} has its row of the MLP's first matrix."
        )
        st.latex(
            r"\tfrac1N\sum_{n=1}^{N}\operatorname*{mean}_{r,\,j}"
            r"\left(\frac{\partial L_n}{\partial W_V^{(b,h)}[r,j]}\right)^{2}"
        )
        _variants(results, count, mean, accumulated)
    mine = np.flatnonzero(gradients.ids == image)
    selected = float(values[mine[0]]) if len(mine) else None
    strongest = np.sort(values)[-max(1, count // 10) :].sum() / max(values.sum(), 1e-300)
    with figure:
        show_figure(
            kept_figure(
                *("gradients", run_key(results), head, image),
                make=lambda: figures.image_gradients(values, mean, selected, f"image {image}"),
            ),
            key="image_gradients",
            reading=f"Each of {count:,} calibration images counts once. Few images make much of the mean: the "
            f"strongest tenth contributes {percent(strongest, 0)} of it.",
            alt=f"Histogram of the mean squared gradient of {head_name(head)} in {count:,} images, with their mean",
            table=pd.DataFrame({"image": gradients.ids, "loss": gradients.losses, "mean squared gradient": values}),
            file=f"{results.summary.run}-gradients",
        )


def _variants(results: RunResults, count: int, mean: float, accumulated: float) -> None:
    criterion = results.request.config.curvature.criterion
    whole = count == results.curvature.images
    same = {"fisher": "first", "accumulated": "third"}[criterion]
    prose(
        f"This run was made with the variant `{criterion}`, so its stored value is the {same} number"
        + ("." if whole else f", but for the sample: {count:,} images here, {results.curvature.images:,} in the run.")
        + " `fisher` squares each image's gradient, then averages: opposite ones both count. `accumulated`, as in the "
        "authors' code, averages first, so they cancel: "
        f"{percent(accumulated / mean if mean else 0)} of the other is left."
    )
