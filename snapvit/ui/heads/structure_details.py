"""One MLP or head in words: its numbers, its place in the ranking, when it goes and why, and what it is like."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from snapvit.artifacts import Topology
from snapvit.elastic.ranking import removal_sparsity
from snapvit.formats import percent, score
from snapvit.pipeline.config import HEAD_LAG, PATH_END
from snapvit.pipeline.results import RunResults
from snapvit.ui.controlled import controlled
from snapvit.ui.flow import flowing_columns
from snapvit.ui.heads.structures import (
    head_values,
    kept_neurons,
    leaving,
    measures,
    neighbours,
    neurons_go_at,
    state_at,
)
from snapvit.ui.numbers import Number, number_row
from snapvit.ui.selection import Selection, Structure, change
from snapvit.ui.tables import in_percent

LABELS = {"local": "Local curvature", "factor": "× search factor", "score": "= final score"}


def pick_structure(selection: Selection, topology: Topology) -> None:
    """Two boxes that select a structure without a mouse; they follow clicks in the figures."""
    at = selection.structure if selection.structure is not None and selection.structure.fits(topology) else None
    shown = (None, None) if at is None else (at.block, -1 if at.head is None else at.head)
    blocks, parts = [None, *range(topology.blocks)], [None, *range(-1, topology.heads)]
    left, right = flowing_columns(2, 140, key="structure_pickers")
    left.selectbox(
        "Block",
        blocks,
        format_func=lambda b: "Choose a block" if b is None else f"Block {b + 1}",
        **controlled("pick_block", shown[0], lambda block: _pick(block, block, shown[1]), blocks),
    )
    right.selectbox(
        "Head or MLP",
        parts,
        format_func=lambda h: "Choose a head or the MLP" if h is None else "MLP" if h < 0 else f"Head {h + 1}",
        **controlled("pick_part", shown[1], lambda part: _pick(part, shown[0], part), parts),
    )


def _pick(chosen: int | None, block: int | None, part: int | None) -> None:
    """`chosen` is what one box says now, None where it was cleared; a box that was empty takes the first there is."""
    if chosen is None:
        change(structure=None)
    else:
        change(structure=Structure(block or 0, None if part == -1 else part or 0))


def structure_details(results: RunResults, selection: Selection) -> None:
    """The selected structure, or how to select one."""
    topology, structure = results.facts.topology, selection.structure
    if structure is None or not structure.fits(topology):
        st.info("Click a head in the map, a curve below, or a row of the table: its story appears here.")
        return
    part = "MLP" if structure.head is None else f"head {structure.head + 1}"
    st.header(f"Block {structure.block + 1}, {part}")
    if structure.head is None:
        _mlp(results, structure, selection.sparsity)
    else:
        _head(results, (structure.block, structure.head))


def _head(results: RunResults, head: tuple[int, int]) -> None:
    topology = results.facts.topology
    known = measures(results)
    labels = LABELS if len(known) > 1 else {"local": LABELS["local"], "score": _score_label(results)}
    if results.ranking is None:
        st.markdown(f"Local curvature {score(results.curvature.head[head])}. The ranking comes after the search.")
        return
    numbers = [Number(labels[m], score(head_values(results, m)[head])) for m in known]
    order = results.ranking.head
    place = int(np.flatnonzero(order == head[0] * topology.heads + head[1])[0]) + 1
    number_row([*numbers, Number("Leaves as number", f"{place} of {len(order)}")], "head", least=140)
    st.markdown(_why(results, head, place))


def _score_label(results: RunResults) -> str:
    """Of a score that is no product of a curvature and a factor."""
    return "Final score, as published" if results.method is None else f"Score by {results.method.label}"


def _why(results: RunResults, head: tuple[int, int], place: int) -> str:
    ranking, topology = results.ranking, results.facts.topology
    if place > len(ranking.head) - ranking.head_protected:
        best = ranking.head_protected // topology.blocks
        return (
            f"This head never goes: it is among the best {best} of its block's {topology.heads} heads, which are "
            "protected so that no block loses all its attention."
        )
    share = float(removal_sparsity(ranking.head, ranking.head_protected, ranking.blocks)[head])
    position = share + HEAD_LAG
    where = (
        f"on the slider's path that is at a sparsity of {percent(position)}"
        if position <= PATH_END
        else "the slider's path ends before that, so the slider keeps it"
    )
    goes = f"It goes when {percent(share)} of all heads are removed; {where}."
    if not results.searches:
        return goes
    local = head_values(results, "local")
    by_local = int((local.ravel() < local[head]).sum()) + 1
    moved = place - by_local
    turn = (
        "the search left its place as it was"
        if moved == 0
        else f"the search's factors moved it {abs(moved)} places {'later' if moved > 0 else 'earlier'}"
    )
    return (
        f"{goes} By local curvature alone it would be number {by_local} of {topology.blocks * topology.heads} to leave "
        f"(protection aside); {turn}."
    )


def _mlp(results: RunResults, structure: Structure, sparsity: float) -> None:
    topology, block = results.facts.topology, structure.block
    numbers: list[Number] = []
    if "local" in measures(results):
        numbers.append(Number("Local curvature, sum", score(results.curvature.mlp[block].sum(dtype=np.float64))))
    if results.search is not None:
        numbers.append(Number("× search factor", score(results.search.factors[block])))
    if results.ranked:
        label = "= final score, sum" if numbers else f"{_score_label(results)}, sum"
        numbers.append(Number(label, score(results.final_scores.mlp[block].sum())))
    if results.ranking is not None:
        numbers.append(Number("Kept at this cut", f"{kept_neurons(results, sparsity)[block]} of {topology.hidden}"))
    number_row(numbers, "mlp", least=140)
    if results.ranking is None:
        st.markdown(f"The sum over its {topology.hidden} neurons. The ranking comes after the search.")
        return
    goes = neurons_go_at(results)[block]
    half = goes[(topology.hidden - 1) // 2]
    stay = int(np.isnan(goes).sum())
    halves = "more than half of it never goes" if np.isnan(half) else f"half of it is gone at {percent(half)}"
    st.markdown(
        f"An MLP leaves neuron by neuron, because each has a score of its own: the first of its {topology.hidden} goes "
        f"at a sparsity of {percent(goes[0])}, {halves}, and its best {stay} are protected. The search's factor moves "
        "them all together."
    )


def neighbour_table(results: RunResults, selection: Selection) -> None:
    """What the selected structure's activations are most like, and whether those stay."""
    topology, structure = results.facts.topology, selection.structure
    if structure is None or not structure.fits(topology):
        return
    st.subheader("What says nearly the same")
    if results.cka is None:
        st.caption("This run has no CKA map, so nothing is known of which structures are alike.")
        return
    near = neighbours(results, structure)
    columns = {
        "Structure": [topology.structure_name(n.structure.index(topology)) for n in near],
        "CKA": [n.cka for n in near],
    }
    if results.ranking is not None:
        goes = leaving(results)
        columns |= {
            "This cut": [state_at(results, n.structure, selection.sparsity) for n in near],
            "Goes at sparsity": [goes[n.structure.index(topology)] for n in near],
        }
    table = pd.DataFrame(columns)
    formats = {
        "CKA": st.column_config.ProgressColumn(format="%.3f", min_value=0.0, max_value=1.0),
        "Goes at sparsity": st.column_config.NumberColumn(format="%.1f %%"),
    }
    st.dataframe(
        in_percent(table, "Goes at sparsity"),
        hide_index=True,
        column_config=formats,
        key="neighbours",
        alt="What says nearly the same",
    )
    st.caption(
        "The structures whose activations have the greatest linear CKA with this one's, 1 being the same up to "
        "rotation and scale. Where a neighbour stays, it can stand in for what goes. An MLP goes at the sparsity that "
        "takes half of its neurons; what the slider's path never takes has no number there."
    )
