"""Step 1 of the Method page, second half: the gradients of one head, image by image, and their mean."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import HeadGradients
from snapvit.jobs.tasks import StageTask
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.lessons import HEAD_GRADIENTS, lesson_images
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.glossary import about, prose, term
from snapvit.ui.job_panel import minutes
from snapvit.ui.offer import offer
from snapvit.ui.run_key import run_key
from snapvit.ui.words import head_name


def head_gradients(results: RunResults) -> HeadGradients | None:
    """The gradients of single images, where they are computed."""
    return None if results.curvature is None else results.stored.load(HEAD_GRADIENTS, _count(results))


def _count(results: RunResults) -> int:
    """Of how many images they are."""
    return lesson_images(results.curvature.images, results.stored.seconds(CURVATURE))


def offer_gradients(results: RunResults) -> None:
    """A button that computes them."""
    run, images = results.summary.run, results.curvature.images
    took, count = results.stored.seconds(CURVATURE), _count(results)
    offer(
        StageTask(run, (Want(HEAD_GRADIENTS, (count,)),)),
        f"The views and gradients of single images are not computed yet. For {count:,} of the run's {images:,} "
        f"calibration images that takes about {minutes(max(5.0, took * count / images))} minutes; the steps below are "
        "complete without it.",
        "Compute",
        key="compute_gradients",
    )


def gradient_lesson(results: RunResults, gradients: HeadGradients, head: tuple[int, int], image: int) -> None:
    """The head's squared gradients as a histogram, and that their mean is the stored curvature."""
    block, number = head
    values = gradients.squares[:, block, number]
    count, stored = len(values), float(results.curvature.head[block, number])
    mean, accumulated = float(values.mean(dtype=np.float64)), float(gradients.accumulated[block, number])
    prose(
        f"How strongly does this loss feel one {term('head')}? Take its {term('gradient')} with respect to the weights "
        f"$W_V$ that make the head's values, square it, and average: first over the head's weights, then over the "
        f"images. That is the head's {term('local curvature')}, the diagonal of the empirical "
        f"{term('Fisher information')}. A {term('neuron')} is treated the same way, with its row of the MLP's first "
        "matrix."
    )
    st.latex(
        r"\operatorname{curvature}(b,h)=\underbrace{\frac1N\sum_{n=1}^{N}}_{\text{images}}\;"
        r"\underbrace{\operatorname*{mean}_{r,\,j}}_{\text{weights}}"
        r"\left(\frac{\partial L_n}{\partial W_V^{(b,h)}[r,j]}\right)^{2}"
    )
    mine = np.flatnonzero(gradients.ids == image)
    selected = float(values[mine[0]]) if len(mine) else None
    show_figure(
        kept_figure(
            *("gradients", run_key(results), head, image),
            make=lambda: figures.image_gradients(values, mean, selected, f"image {image}"),
        ),
        key="image_gradients",
        reading=f"Each of {count:,} calibration images counts once. Few images make much of the mean: the strongest "
        f"tenth contributes {np.sort(values)[-max(1, count // 10) :].sum() / max(values.sum(), 1e-300):.0%} of it.",
        alt=f"Histogram of the mean squared gradient of {head_name(head)} in {count:,} images, with their mean",
        table=pd.DataFrame({"image": gradients.ids, "loss": gradients.losses, "mean squared gradient": values}),
        file=f"{results.summary.run}-gradients",
    )
    criterion = results.request.config.curvature.criterion
    columns = flowing_columns(3, 220, key="gradient_numbers")
    columns[0].metric(f"Mean of these {count:,}", f"{mean:.3e}", border=True, help=about("Fisher information"))
    columns[1].metric("Local curvature in this run", f"{stored:.3e}", border=True, help=about("local curvature"))
    columns[2].metric(
        "Square of the mean gradient", f"{accumulated:.3e}", border=True, help="The variant `accumulated`"
    )
    whole = count == results.curvature.images
    same = {"fisher": "first", "accumulated": "third"}[criterion]
    prose(
        f"This run was made with the variant `{criterion}`, so its stored value is the {same} number"
        + ("." if whole else f", but for the sample: {count:,} images here, {results.curvature.images:,} in the run.")
        + " `fisher` squares each image's gradient and then averages, so images that pull a weight in opposite "
        "directions both count. `accumulated`, as in the authors' released code, averages first and squares then, so "
        f"they cancel: here {accumulated / mean if mean else 0:.1%} of the other is left."
    )
