"""Two structures side by side: their importance, when each goes, and what they respond to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.elastic.ranking import cut_at, final_scores, removal_sparsity
from snapvit.pipeline.config import HEAD_LAG, PATH_END, path_pair
from snapvit.pipeline.map_tasks import CUT_CKA, PROJECTIONS, ProjectionsTask
from snapvit.pipeline.results import RunResults
from snapvit.ui.figure import show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.offer import offer
from snapvit.ui.resources import store
from snapvit.ui.selection import Selection, Structure
from snapvit.ui.structure_controls import pick_pair


def structure_pair(results: RunResults, selection: Selection, pair: tuple[int, int]) -> None:
    """The pair, chosen by a click or by two boxes, side by side."""
    st.header("A pair side by side")
    boxes = flowing_columns(2, 220, key="pair_boxes")
    pick_pair(results, pair, *boxes)
    _similarity(results, selection, pair)
    left, right = flowing_columns([5, 6], 420, key="pair_details")
    with left:
        for index in pair:
            _one_structure(results, selection, index)
    with right:
        _activations(results, pair)


def _similarity(results: RunResults, selection: Selection, pair: tuple[int, int]) -> None:
    before = float(results.cka.values[pair])
    words = f"Their CKA in the full model is **{before:.3f}**"
    off = np.abs(results.cka.values[np.triu_indices(len(results.cka.values), 1)])
    if pair[0] != pair[1]:
        words += f", more than that of {(off < before).mean():.1%} of all pairs"
    cut = None
    if results.ranking is not None:
        cut = CUT_CKA.load(store(), results.summary.run, *path_pair(selection.sparsity))
    if cut is not None:
        after = float(cut.values[pair])
        words += f"; after the cut at {selection.sparsity:.1%} " + (
            "at least one of them is gone" if np.isnan(after) else f"it is **{after:.3f}**"
        )
    st.markdown(f"{words}.")


def _one_structure(results: RunResults, selection: Selection, index: int) -> None:
    topology = results.facts.topology
    structure = Structure.of(index, topology)
    with st.container(border=True):
        st.markdown(f"**{topology.structure_name(index)}**")
        if results.curvature is None:
            st.markdown("Its importance is not known yet.")
            return
        local = _mean(results.curvature, structure)
        if not results.ranked:
            st.markdown(f"Local curvature {local:.3g}. The ranking comes after the search.")
            return
        score = _mean(final_scores(results.curvature, results.search.factors), structure)
        factor = float(results.search.factors[index])
        what = "of its neurons, on average" if structure.head is None else "of the head"
        st.markdown(f"Score {what}: {local:.3g} (curvature) × {factor:.2f} (factor) = **{score:.3g}**.")
        st.markdown(_leaving(results, structure) + " " + _standing(results, structure, selection.sparsity))


def _mean(scores: object, structure: Structure) -> float:
    """Of a head its score, of an MLP the mean over its neurons."""
    table = scores.mlp[structure.block] if structure.head is None else scores.head[structure.block, structure.head]
    return float(np.mean(table))


def _leaving(results: RunResults, structure: Structure) -> str:
    ranking, floors = results.ranking, results.request.config.floors
    if structure.head is not None:
        shares = removal_sparsity(ranking.head, ranking.head_protected, ranking.blocks)
        share = float(shares[structure.block, structure.head])
        if np.isnan(share):
            return f"It never goes: it is among the best {floors.heads:.0%} of its block's heads."
        where = share + HEAD_LAG
        path = f"at a sparsity of **{where:.1%}**" if where <= PATH_END else "beyond the end of the slider's path"
        return f"It goes {path}, when {share:.1%} of all heads are removed."
    shares = removal_sparsity(ranking.mlp, ranking.mlp_protected, ranking.blocks)[structure.block]
    going = np.sort(shares[np.isfinite(shares)])
    if not len(going):
        return "None of its neurons ever goes."
    half = len(shares) // 2
    words = f"Its first neuron goes at a sparsity of **{going[0]:.1%}**"
    words += f", half are gone at **{going[half - 1]:.1%}**" if 0 < half <= len(going) else ""
    never = len(shares) - len(going)
    return words + (f"; {never} of {len(shares)} never go." if never else ".")


def _standing(results: RunResults, structure: Structure, sparsity: float) -> str:
    cut = cut_at(results.ranking, *path_pair(sparsity))
    if structure.head is None:
        kept = cut.kept_neurons[structure.block]
        return f"The cut at {sparsity:.1%} keeps {kept} of its {results.facts.topology.hidden} neurons."
    kept = results.ranking.head_order()[structure.block, : cut.kept_heads[structure.block]]
    return f"The cut at {sparsity:.1%} {'keeps' if structure.head in kept else 'removes'} it."


def _activations(results: RunResults, pair: tuple[int, int]) -> None:
    run, topology = results.summary.run, results.facts.topology
    projections = PROJECTIONS.load(store(), run)
    if projections is None:
        offer(
            ProjectionsTask(run),
            "How the two respond to each image is not computed yet. One pass of the model over the CKA images gives "
            "it for all structures.",
            "Compute activations",
            icon=":material/scatter_plot:",
            key="projections",
        )
        return
    names = (topology.structure_name(pair[0]), topology.structure_name(pair[1]))
    first, second = projections.scores[pair[0]], projections.scores[pair[1]]
    shares = (float(projections.shares[pair[0]]), float(projections.shares[pair[1]]))
    r = abs(float(np.mean(first * second)))
    show_figure(
        figures.pair_scatter(first, second, names, shares),
        key="pair_scatter",
        reading=f"Each dot is one of {len(first):,} calibration images, placed by how strongly each structure responds "
        f"along the direction in which it varies most (first principal component; correlation here {r:.2f}). A line "
        "means that both tell these images apart in the same way; a cloud, that they do not. CKA compares all "
        "directions, so the less variance these two carry, the less this picture shows of it.",
        alt=f"Scatter of the activations of {names[0]} and {names[1]} on their first principal components",
        table=pd.DataFrame({f"1: {names[0]}": first, f"2: {names[1]}": second}),
        file=f"{run}-pair-{pair[0]}-{pair[1]}",
    )
