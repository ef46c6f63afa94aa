"""One head in words: its numbers, its rank, and at which sparsity it goes; and all heads as a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from snapvit.artifacts import Doubles, Topology
from snapvit.elastic.ranking import cut_at, removal_sparsity
from snapvit.pipeline.config import HEAD_LAG, PATH_END, path_pair
from snapvit.pipeline.results import RunResults
from snapvit.ui.flow import flowing_columns
from snapvit.ui.selection import Selection, Structure, change
from snapvit.ui.tables import table_to_keep


def measures(results: RunResults) -> list[str]:
    """Names of the `figures.MEASURES` that this run has, the most telling first."""
    if results.scores is not None:
        return ["score"]
    return ["score", "factor", "local"] if results.ranked else ["local"]


def head_values(results: RunResults, measure: str) -> Doubles:
    """(L, H) of one of `figures.MEASURES`."""
    topology = results.facts.topology
    if measure == "local":
        return results.curvature.head.astype(np.float64)
    if measure == "factor":
        return results.search.factors[topology.blocks :].reshape(topology.blocks, topology.heads)
    return results.final_scores.head


def kept_heads(results: RunResults, sparsity: float) -> np.ndarray:
    """(L, H) bool: which heads the cut at this slider position keeps. All, while there is no ranking."""
    topology = results.facts.topology
    kept = np.ones((topology.blocks, topology.heads), dtype=bool)
    if results.ranking is not None:
        counts = cut_at(results.ranking, *path_pair(sparsity)).kept_heads
        for block, (order, count) in enumerate(zip(results.ranking.head_order(), counts, strict=True)):
            kept[block, order[count:]] = False
    return kept


def select_clicked(key: str, topology: Topology) -> None:
    """Select the head that was clicked in the chart with this key; to be called when its selection changes."""
    for point in st.session_state[key]["selection"]["points"]:
        if isinstance(point.get("customdata"), int):
            change(structure=Structure(*divmod(point["customdata"], topology.heads)))


def head_details(results: RunResults, selection: Selection) -> None:
    """Why and at which sparsity the selected head goes."""
    topology = results.facts.topology
    structure = selection.structure
    if structure is None or structure.head is None or not structure.fits(topology):
        st.info(
            "Click a head in the map to see its numbers and the sparsity at which it goes.", icon=":material/ads_click:"
        )
        return
    block, head = structure.block, structure.head
    st.subheader(f"Block {block + 1}, head {head + 1}")
    if not results.ranked:
        st.markdown(f"Local curvature {results.curvature.head[block, head]:.3g}. The ranking comes after the search.")
        return
    known = measures(results)
    labels = {"local": "Local curvature", "factor": "× search factor", "score": "= final score"}
    if known == ["score"]:
        labels = {"score": "Final score, as published"}
    columns = flowing_columns(len(labels) + 1, 190, key="head_numbers")
    for column, (m, label) in zip(columns, labels.items(), strict=False):
        column.metric(label, f"{float(head_values(results, m)[block, head]):.3g}", border=True)
    order = results.ranking.head
    place = int(np.flatnonzero(order == block * topology.heads + head)[0]) + 1
    columns[-1].metric("Leaves as number", f"{place} of {len(order)}", border=True)
    st.markdown(_why(results, (block, head), place))


def _why(results: RunResults, head: tuple[int, int], place: int) -> str:
    ranking, topology = results.ranking, results.facts.topology
    if place > len(ranking.head) - ranking.head_protected:
        share = results.request.config.floors.heads
        return (
            f"This head never goes: it is among the best {share:.0%} of its block's heads, which are protected so that "
            "no block loses all its attention."
        )
    share = float(removal_sparsity(ranking.head, ranking.head_protected, ranking.blocks)[head])
    position = share + HEAD_LAG
    where = (
        f"on the slider's path that is at a sparsity of {position:.1%}"
        if position <= PATH_END
        else "the slider's path ends before that, so the slider keeps it"
    )
    goes = f"It goes when {share:.1%} of all heads are removed; {where}."
    if results.curvature is None:
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
        f"{goes} By local curvature alone it would be number "
        f"{by_local} of {topology.blocks * topology.heads} to leave (protection aside); {turn}."
    )


def head_frame(results: RunResults, sparsity: float) -> pd.DataFrame:
    """A row a head: its numbers, when it goes, and whether the cut at `sparsity` keeps it."""
    topology = results.facts.topology
    block, head = np.divmod(np.arange(topology.blocks * topology.heads), topology.heads)
    names = {"local": "Local curvature", "factor": "Search factor", "score": "Final score"}
    columns: dict[str, Any] = {"Block": block + 1, "Head": head + 1}
    columns |= {names[m]: head_values(results, m).ravel() for m in reversed(measures(results))}
    if results.ranked:
        ranking = results.ranking
        columns |= {
            "Goes at (share of heads removed)": removal_sparsity(
                ranking.head, ranking.head_protected, ranking.blocks
            ).ravel(),
            "This cut": np.where(kept_heads(results, sparsity).ravel(), "kept", "removed"),
        }
    return pd.DataFrame(columns)


def head_table(results: RunResults, sparsity: float) -> None:
    """All heads, sortable, and as CSV."""
    table_to_keep("All heads as a table", head_frame(results, sparsity), f"{results.summary.run}-heads.csv")
