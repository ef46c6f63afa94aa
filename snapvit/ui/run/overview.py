"""What a run found, on one screen: its sizes and accuracies, the curve, and how the search went."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Measurement, SearchHistory
from snapvit.evaluation.knn import wilson_interval
from snapvit.pipeline.results import RunResults
from snapvit.ui.figure import show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.image_names import images_in_words
from snapvit.ui.page import run_label
from snapvit.ui.path import accuracy_path, chance, measured_on_path, never_seen, no_accuracy
from snapvit.ui.published import describe_scores, what_scores_lack

HEADLINES = (0.0, 0.35, 0.65, 0.95)


def overview(results: RunResults) -> None:
    """Headline cuts, the accuracy curve and the fitness curve of whatever is finished."""
    st.header(f"The run shown: {run_label(results.summary)}")
    if results.imported:
        describe_scores(results)
        return
    topology = results.facts.topology
    st.markdown(
        f"A ViT of {topology.blocks} blocks, each with {topology.heads} heads and {topology.hidden} neurons, "
        f"measured on {images_in_words(results.facts.data)}"
        + (", which it was never trained on." if never_seen(results) else ".")
    )
    rows, missing = measured_on_path(results), no_accuracy(results)
    measured = [m for m in rows if m.hits is not None]
    if missing is not None:
        st.info(
            f"{missing}, so there is no accuracy. What is measured is how close each cut stays to the full model.",
            icon=":material/info:",
        )
    elif not measured:
        st.info("No accuracy is measured yet; the curve appears as soon as the first cuts are.")
    else:
        st.markdown("**k-NN top-1 accuracy of some cuts**")
        _headlines(measured)
    drawings = [draw for draw in (_quality(results, rows, measured), _search(results)) if draw is not None]
    if drawings:
        for column, draw in zip(flowing_columns(len(drawings), 420, key="overview_figures"), drawings, strict=True):
            with column:
                draw()


def _quality(results: RunResults, rows: list[Measurement], measured: list[Measurement]) -> Callable[[], None] | None:
    """What draws the accuracy of the cuts, or their cosine where there is no accuracy; None before any is measured."""
    if measured:
        return lambda: _accuracy(results)
    return (lambda: _cosine(results, rows)) if rows else None


def _accuracy(results: RunResults) -> None:
    path = accuracy_path(results)
    show_figure(
        figures.accuracy_curve(path.sparsity, path.top1, path.low, path.high, chance(results)),
        key="accuracy_curve",
        reading="Each dot is a cut that was really made and measured. Read to the right: how far can one cut before "
        "the curve leaves the band of the full model? Heads are removed too, 15 points behind the neurons.",
        alt="k-NN top-1 accuracy against sparsity with its 95 % interval",
        table=pd.DataFrame(dataclasses.asdict(path)),
        file=f"{results.summary.run}-accuracy",
    )


def _cosine(results: RunResults, rows: list[Measurement]) -> None:
    sparsity, cosine = [m.cut.mlp for m in rows], [m.cosine for m in rows]
    show_figure(
        figures.cosine_curve(np.array(sparsity), np.array(cosine)),
        key="cosine_curve",
        reading="Each dot is a cut that was really made and measured: the cosine between its embeddings and the full "
        "model's, averaged over the queries. 1 means that nothing moved.",
        alt="Mean cosine between the embeddings of the cut and of the full model against sparsity",
        table=pd.DataFrame({"sparsity": sparsity, "cosine": cosine}),
        file=f"{results.summary.run}-cosine",
    )


def _search(results: RunResults) -> Callable[[], None] | None:
    """What draws how the search went, or says why there is none; None before its first generation."""
    if results.search is not None and results.search.generations:
        return lambda: _fitness(results)
    if results.scores is not None:
        return lambda: st.info(what_scores_lack(results), icon=":material/info:")
    return None


def _fitness(results: RunResults) -> None:
    show_figure(
        figures.fitness_curve(results.search),
        key="fitness_curve",
        reading="Each grey dot is one set of factors that the search tried, judged by how far the embeddings of "
        f"{results.search.fitness.shape[2]} cut models move from the full model's. Lower is better; the scale is "
        "logarithmic.",
        alt="Fitness of every individual by generation, the generation's mean and the best so far",
        table=fitness_frame(results.search),
        file=f"{results.summary.run}-fitness",
    )


def fitness_frame(history: SearchHistory) -> pd.DataFrame:
    """A row an individual: its generation and its fitness at each sparsity pair, and their mean."""
    generations, population, pairs = history.fitness.shape
    columns = {
        "generation": np.repeat(np.arange(1, generations + 1), population),
        "fitness": history.individual_fitness.ravel(),
    }
    columns |= {f"pair {p + 1}": history.fitness[:, :, p].ravel() for p in range(pairs)}
    return pd.DataFrame(columns)


def _headlines(measured: list[Measurement]) -> None:
    shown = [min(measured, key=lambda m, s=s: abs(m.cut.mlp - s)) for s in HEADLINES]
    full = measured[0]
    columns = flowing_columns(len(shown), 200, key="overview_cuts")
    for column, m in zip(columns, dict.fromkeys(shown), strict=False):
        low, high = wilson_interval(m.hits, m.queries)
        with column.container(border=True, height="stretch"):
            change = "the uncut model" if m is full else f"{100 * (m.top1 - full.top1):+.1f} points"
            st.metric("Full model" if m is full else f"{m.cut.mlp:.0%} sparsity", f"{m.top1:.1%}")
            st.caption(
                f"**{change}**, 95 % interval {low:.1%} to {high:.1%}  \n{m.params / 1e6:.2f} M parameters; "
                f"{m.cut.mlp:.0%} of neurons and {m.cut.heads:.0%} of heads removed"
            )
