"""Two structures side by side: their importance, when each goes, and what they respond to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Curvature, Scores
from snapvit.elastic.ranking import cut_at, removal_sparsity
from snapvit.formats import decimal, percent, ratio, score
from snapvit.jobs.tasks import StageTask
from snapvit.pipeline.config import HEAD_LAG, PATH_END, path_pair
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.cka import CUT_CKA, MAIN_DIRECTIONS
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.maps.structure_controls import pick_pair
from snapvit.ui.offer import offer
from snapvit.ui.run_key import run_key
from snapvit.ui.selection import Structure


def structure_pair(results: RunResults, sparsity: float, pair: tuple[int, int]) -> None:
    """The pair, chosen by a click or by two boxes, side by side."""
    st.header("A pair side by side")
    boxes = flowing_columns(2, 160, key="pair_boxes")
    pick_pair(results, pair, *boxes)
    _similarity(results, sparsity, pair)
    st.markdown(_side_by_side(results, sparsity, pair))
    _activations(results, pair)


def _similarity(results: RunResults, sparsity: float, pair: tuple[int, int]) -> None:
    before = float(results.cka.values[pair])
    words = f"Their CKA in the full model is **{decimal(before, 3)}**"
    off = np.abs(results.cka.values[np.triu_indices(len(results.cka.values), 1)])
    if pair[0] != pair[1]:
        share = float((off < before).mean())
        words += (
            ", the highest of all pairs"
            if before >= off.max()
            else f", more than that of {percent(share)} of all pairs"
        )
    cut = None
    if results.ranking is not None:
        cut = results.load_cut(CUT_CKA, *path_pair(sparsity))
    if cut is not None:
        after = float(cut.values[pair])
        words += f"; after the cut at {ratio(sparsity)} " + (
            "at least one of them is gone" if np.isnan(after) else f"it is **{decimal(after, 3)}**"
        )
    st.markdown(f"{words}.")


def _side_by_side(results: RunResults, sparsity: float, pair: tuple[int, int]) -> str:
    """A markdown table: a column a structure."""
    columns = [_facts(results, sparsity, Structure.of(index, results.facts.topology)) for index in pair]
    names = [results.facts.topology.structure_name(index) for index in pair]
    lines = [f"| | {names[0]} | {names[1]} |", "|---|---|---|"]
    lines += [f"| {label} | {first} | {columns[1][label]} |" for label, first in columns[0].items()]
    note = (
        "\n\nCurvature and score of an MLP are means over its neurons."
        if min(pair) < results.facts.topology.blocks
        else ""
    )
    return "\n".join(lines) + note


def _facts(results: RunResults, sparsity: float, structure: Structure) -> dict[str, str]:
    """What is known of one structure: its importance and when it goes."""
    known = {}
    if results.curvature is not None:
        known["Local curvature"] = score(_mean(results.curvature, structure))
    if not results.ranked:
        return known | {"Ranking": "comes later"}
    final = f"**{score(_mean(results.final_scores, structure))}**"
    if results.searches:
        factor = float(results.search.factors[structure.index(results.facts.topology)])
        known |= {"× search factor": score(factor), "= final score": final}
    else:
        known = {f"Score by {results.method.label}" if results.method else "Score, as published": final}
    return known | {
        "Goes at sparsity": _leaving(results, structure),
        f"At {ratio(sparsity)}": _standing(results, structure, sparsity),
    }


def _mean(scores: Curvature | Scores, structure: Structure) -> float:
    """Of a head its score, of an MLP the mean over its neurons."""
    table = scores.mlp[structure.block] if structure.head is None else scores.head[structure.block, structure.head]
    return float(np.mean(table))


def _leaving(results: RunResults, structure: Structure) -> str:
    """The slider position at which a head goes, or neurons begin to and half of them are gone."""
    ranking = results.ranking
    if structure.head is not None:
        shares = removal_sparsity(ranking.head, ranking.head_protected, ranking.blocks)
        where = float(shares[structure.block, structure.head]) + HEAD_LAG
        if np.isnan(where):
            return "never: protected"
        return f"**{percent(where)}**" if where <= PATH_END else f"beyond {ratio(PATH_END)}"
    shares = removal_sparsity(ranking.mlp, ranking.mlp_protected, ranking.blocks)[structure.block]
    going, half = np.sort(shares[np.isfinite(shares)]), len(shares) // 2
    if not len(going):
        return "never: protected"
    words = f"from **{percent(going[0])}** on"
    return words + (f", half by **{percent(going[half - 1])}**" if 0 < half <= len(going) else "")


def _standing(results: RunResults, structure: Structure, sparsity: float) -> str:
    """What the cut at `sparsity` leaves of it."""
    cut = cut_at(results.ranking, *path_pair(sparsity))
    if structure.head is None:
        return f"{cut.kept_neurons[structure.block]} of {results.facts.topology.hidden} neurons kept"
    kept = results.ranking.head_order()[structure.block, : cut.kept_heads[structure.block]]
    return "kept" if structure.head in kept else "removed"


def _activations(results: RunResults, pair: tuple[int, int]) -> None:
    run, topology = results.summary.run, results.facts.topology
    directions = results.stored.load(MAIN_DIRECTIONS)
    if directions is None:
        offer(
            StageTask(run, (Want(MAIN_DIRECTIONS),)),
            "How the two respond to each image is not computed yet. One pass of the model over the CKA images gives "
            "it for all structures.",
            "Compute activations",
            icon=":material/scatter_plot:",
            key="directions",
        )
        return
    names = (topology.structure_name(pair[0]), topology.structure_name(pair[1]))
    first, second = directions.scores[pair[0]], directions.scores[pair[1]]
    shares = (float(directions.shares[pair[0]]), float(directions.shares[pair[1]]))
    r = abs(float(np.mean(first * second)))
    show_figure(
        kept_figure("pair", run_key(results), pair, make=lambda: figures.pair_scatter(first, second, names, shares)),
        key="pair_scatter",
        reading=f"Each dot is one of {len(first):,} calibration images, placed by how strongly each structure responds "
        f"along the direction in which it varies most (first principal component; correlation here {r:.2f}). A line "
        "means that both tell these images apart in the same way; a cloud, that they do not. CKA compares all "
        "directions, so the less variance these two carry, the less this picture shows of it.",
        alt=f"Scatter of the activations of {names[0]} and {names[1]} on their first principal components",
        table=pd.DataFrame({f"1: {names[0]}": first, f"2: {names[1]}": second}),
        file=f"{run}-pair-{pair[0]}-{pair[1]}",
    )
