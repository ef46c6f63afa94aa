"""Step 1 without a search: the slope of the embedding by a mask on each head, and how good a guess it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import GaussNewton
from snapvit.formats import decimal, score
from snapvit.jobs.tasks import StageTask
from snapvit.method.agreement import spearman
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.interactions import DISPLACEMENT, GAUSS_NEWTON
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.glossary import prose, term
from snapvit.ui.method.following import Lesson
from snapvit.ui.method.parts import check, not_yet
from snapvit.ui.numbers import Number, number_row
from snapvit.ui.run_key import run_key
from snapvit.ui.selection import Structure
from snapvit.ui.words import head_name


def slope_lesson(lesson: Lesson) -> None:
    """What is differentiated by what, and the squared slopes of all heads on a map."""
    results, (block, head) = lesson.results, lesson.head
    found = results.stored.load(GAUSS_NEWTON)
    if found is None:
        not_yet("slopes")
        return
    mine = float(found.head[block, head])
    words, figure = lesson.halves("slope", 5, 5)
    with words:
        prose(
            f"Multiply what a {term('head')} hands on by a mask $m$. At $m=1$ the model is whole; towards 0 the head "
            f"fades out. How fast does the {term('embedding')} $e$ begin to move? The squared length of that slope, "
            f"averaged over images, is the head's score, {term('Gauss-Newton')}'s; a {term('neuron')} has a mask too."
        )
        st.latex(
            r"\operatorname{score}(b,h)=\tfrac1N\sum_{n}\Bigl\lVert\frac{\partial e_n}{\partial m_{b,h}}\Bigr\rVert^2"
            r"=\tfrac1N\sum_{n}\operatorname{E}_v\Bigl(v^{\top}\frac{\partial e_n}{\partial m_{b,h}}\Bigr)^2"
        )
        prose(
            "One backward pass gives the right side's bracket for *all* heads and neurons at once, $v$ being a random "
            f"direction of normal numbers. No labels, no search: each of {found.images:,} images costs "
            f"one pass forward and {found.probes} back."
        )
        st.markdown(
            f"For **{head_name(lesson.head)}** it is {score(mine)}; {int((found.head < mine).sum())} of "
            f"{found.head.size} heads have less."
        )
    with figure:
        show_figure(
            kept_figure(
                *("slopes", run_key(results)),
                make=lambda: figures.head_map(found.head, np.ones(found.head.shape, dtype=bool), "slope"),
            ),
            key="slopes",
            reading="The brighter, the faster the embedding moves as the head fades. Framed is the one followed.",
            alt="Map of the squared slopes of all heads",
            table=lambda: pd.DataFrame(found.head.T, columns=[f"Block {b + 1}" for b in range(len(found.head))]),
            marks=figures.head_marks(*found.head.shape, lesson.head),
            file=f"{results.summary.run}-slopes",
        )
    check(
        lesson,
        "A head hands on the same vector whatever the image. Is its slope 0?",
        "No: without that vector the embedding moves, and the same way for every image. Cut alone it costs much; with "
        "corrected weights nothing, as the next layer's bias can say the same.",
    )


def guess_lesson(lesson: Lesson) -> None:
    """What the slope says that taking a structure out costs, beside what it costs when that is done."""
    results, topology = lesson.results, lesson.results.facts.topology
    found, moved = results.stored.load(GAUSS_NEWTON), results.stored.load(DISPLACEMENT)
    if found is None:
        not_yet("slopes")
        return
    if moved is None:
        lesson.offer(
            StageTask(results.summary.run, (Want(DISPLACEMENT),)),
            "Here stands what each head and MLP really costs when it is taken out, beside what its slope says. That is "
            f"not measured yet: {topology.structures} structures, one pass of the images each.",
            "Measure",
            key="compute_displacement",
        )
        return
    guess = guessed_cost(found)
    rho = {
        "all heads and MLPs": spearman(guess, moved.singles),
        "heads alone": spearman(guess[topology.blocks :], moved.singles[topology.blocks :]),
    }
    at = Structure(*lesson.head).index(topology)
    number_row(
        [
            *(Number("Rank correlation", decimal(value, 2), of) for of, value in rho.items()),
            Number("The slope's guess", score(guess[at]), head_name(lesson.head)),
            Number("Measured", score(moved.singles[at]), f"{moved.images:,} images"),
        ],
        "guess",
    )
    words, figure = lesson.halves("guess", 4, 5)
    with words:
        prose(
            f"The {term('embedding')} has length 1, so one that moves by $d$ has a {term('cosine')} of $1-d^2/2$ to "
            "where it was. Followed all the way from $m=1$ to 0, the slope therefore promises that taking the "
            f"{term('structure')} out costs"
        )
        st.latex(r"1-\cos\;\approx\;\tfrac12\operatorname{score}")
        st.markdown(
            f"A straight line is only a guess: {_how_far_off(guess, moved.singles, topology.structure_name)}. For a "
            "ranking the order alone counts. Nor does a slope know what a *second* structure costs once the first is "
            "gone; the Correlation page shows how well products of slopes do there."
        )
    with figure:
        names = [topology.structure_name(i) for i in range(topology.structures)]
        show_figure(
            kept_figure(
                *("guess", run_key(results), at),
                make=lambda: figures.guessed_and_measured(guess, moved.singles, topology.blocks, at, names),
            ),
            key="guessed_and_measured",
            reading="Each mark is a head or MLP. On the dashed line the guess is right; above it taking the structure "
            "out costs more.",
            alt="What taking each structure out costs: guessed from its slope, and measured",
            table=lambda: pd.DataFrame({"structure": names, "guessed": guess, "measured": moved.singles}),
            file=f"{results.summary.run}-guessed",
        )


def _how_far_off(guess: np.ndarray, measured: np.ndarray, name: Callable[[int], str]) -> str:
    times = measured[guess > 0] / guess[guess > 0]
    if not len(times):
        return "none of these has a slope"
    most = np.flatnonzero(guess > 0)[int(times.argmax())]
    return (
        f"half of the structures cost more than {decimal(float(np.median(times)), 2)} times what it says, and "
        f"{name(int(most))} costs {decimal(float(times.max()), 1)} times"
    )


def guessed_cost(found: GaussNewton) -> np.ndarray:
    """(S,) 1 - cos without each structure, where the embedding went on as its slope at the mask's 1 says."""
    return np.diag(found.interactions) / 2
