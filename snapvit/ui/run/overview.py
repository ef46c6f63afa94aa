"""What a run found, on one screen: every cut at the live slider, some of them in numbers, and how the search went."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import SearchHistory
from snapvit.evaluation.knn import wilson_interval
from snapvit.formats import amount, percent, ratio, signed
from snapvit.pipeline.path import beside_full, measured_on_path
from snapvit.pipeline.results import RunResults, computed_on
from snapvit.tables import Measurement
from snapvit.ui.figure import show_figure
from snapvit.ui.image_names import images_in_words
from snapvit.ui.live_cut import how_to_read, live_cut
from snapvit.ui.names import as_markdown
from snapvit.ui.page import onward
from snapvit.ui.published import describe_scores, what_scores_lack
from snapvit.ui.run_titles import run_label
from snapvit.ui.selection import Selection
from snapvit.ui.sparsity.cuts_table import cuts_table
from snapvit.ui.tables import csv_button

HEADLINES = (0.0, 0.35, 0.65, 0.95)


def overview(results: RunResults, selection: Selection) -> None:
    """Whatever is finished of the selected run, the slider first: it needs no Plotly, so it is there soonest."""
    if results.imported:
        st.header(f"The run shown: {as_markdown(run_label(results.summary))}")
        describe_scores(results)
        return
    topology = results.facts.topology
    about = (
        f"**The run shown:** {as_markdown(run_label(results.summary))}, a ViT of {topology.blocks} blocks, each with "
        f"{topology.heads} heads and {topology.hidden} neurons, on {images_in_words(results.facts.data)}, "
        f"computed on {computed_on(results.stored)}."
    )
    searched = results.search is not None and bool(results.search.generations)
    if results.ranking is None:
        st.markdown(about)
        st.info("Nothing can be cut yet: the ranking is still to come.", icon=":material/info:")
        if searched:
            fitness_figure(results.summary.run, results.search)
        return
    live_cut(results, selection)
    st.markdown(f"{about} {how_to_read(results)}")
    _headlines(results)
    onward("pages/sparsity.py", "This cut in detail", selection)
    if searched:
        with st.expander("How the search went", key=f"search_{selection.run}", on_change="rerun") as fold:
            if fold.open:
                fitness_figure(results.summary.run, results.search)
    elif results.scores is not None:
        st.info(what_scores_lack(results), icon=":material/info:")


def _headlines(results: RunResults) -> None:
    """Some measured cuts as a table; nothing before there are any with an accuracy."""
    measured = [m for m in measured_on_path(results) if m.hits is not None]
    if not measured:
        return
    shown = [min(measured, key=lambda m, s=s: abs(m.cut.mlp - s)) for s in HEADLINES]
    rows = [_headline(results, m) for m in dict.fromkeys(shown)]
    # has to fit 800 pixels
    head = "| Neurons, heads removed | Parameters | k-NN top-1 (95 % interval) | Points to full, in pairs (95 %) |"
    st.markdown("\n".join(["**Some cuts in numbers**\n", head, "|--:|--:|--:|--:|", *rows]))
    csv_button(lambda: cuts_table(results), f"{results.summary.run}-cuts", key="csv_cuts", help="All measured cuts")


def _headline(results: RunResults, m: Measurement) -> str:
    low, high = wilson_interval(m.hits, m.queries)
    is_full, pair = m.cut.mlp == m.cut.heads == 0, beside_full(results, m)
    removed = "none" if is_full else f"{ratio(m.cut.mlp)}, {ratio(m.cut.heads)}"
    change = ""
    if pair is not None and not is_full:
        change = f"{signed(pair.difference)} ({signed(pair.low)} to {signed(pair.high)})"
    return f"| {removed} | {amount(m.params)} | **{percent(m.top1)}** ({percent(low)} to {percent(high)}) | {change} |"


def fitness_figure(run: str, history: SearchHistory) -> None:
    """What the search's individuals reached, generation by generation."""
    show_figure(
        figures.fitness_curve(history),
        key="fitness_curve",
        reading="Each grey dot is one set of factors that the search tried, judged by how far the embeddings of "
        f"{history.fitness.shape[2]} cut models move from the full model's; diamonds are a generation's mean. "
        "Lower is better; the scale is logarithmic.",
        alt="Fitness of every individual by generation, the generation's mean and the best so far",
        table=fitness_frame(history),
        file=f"{run}-fitness",
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
