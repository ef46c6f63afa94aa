"""The CKA page's maps: blocks first, then structures, before and after the selected cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Floats
from snapvit.elastic.ranking import cut_at
from snapvit.figures import StructureOrder
from snapvit.formats import ratio
from snapvit.jobs.tasks import StageTask
from snapvit.method.structure_maps import block_means, robust_range
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.cka import CUT_CKA
from snapvit.pipeline.table import of_cut
from snapvit.ui.components.matrix_stack import Numbers, Packed, matrix_stack
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.maps.structure_controls import matrix_frame, select_pair, structure_order
from snapvit.ui.offer import offer
from snapvit.ui.run_key import RunKey, run_key
from snapvit.ui.selection import Selection, setting, setting_key
from snapvit.ui.sparsity_slider import sparsity_slider

VIEWS = {"before": "Full model", "after": "After the cut", "difference": "Difference"}


def block_summary(results: RunResults) -> None:
    """The map between blocks, and what CKA is."""
    topology, cka = results.facts.topology, results.cka
    means = block_means(cka.values, topology)
    left, right = flowing_columns([3, 2], 340, key="block_summary")
    with left:
        show_figure(
            kept_figure("blocks", run_key(results), make=lambda: figures.block_map(means)),
            key="block_map",
            reading=f"Each cell is the mean CKA over all pairs of one structure of the one block and one of the other "
            f"({(1 + topology.heads) ** 2} pairs: the MLP and {topology.heads} heads of each; on the diagonal the "
            f"{topology.heads * (topology.heads + 1) // 2} pairs of different structures). Brighter means more alike. "
            "Click a cell to go to the most similar pair of the two blocks.",
            alt="Map of the mean CKA between the structures of any two blocks",
            table=pd.DataFrame(means, columns=[f"Block {b + 1}" for b in range(topology.blocks)])
            .rename_axis("Block")
            .reset_index(),
            file=f"{results.summary.run}-cka-blocks",
            on_cell=lambda a, b: _select_in_blocks(results, a, b),
        )
    with right:
        st.markdown(
            f"**CKA** (centred kernel alignment) asks of two structures: do they tell the same images apart? 1 means "
            f"that what they compute is the same up to rotation and scale, 0 that the two are unrelated. It is "
            f"measured on {cka.images:,} calibration images, without labels."
        )
        st.markdown(_depth_sentence(means))
        st.markdown(
            "If two structures say the same, the model may do without one of them. But CKA looks at what is computed, "
            "not at what the rest of the model makes of it: two heads with a high CKA can still both be needed."
        )


def _depth_sentence(means: np.ndarray) -> str:
    """What the block map says about depth, in this run's numbers."""
    blocks = len(means)
    near = float(np.nanmean(np.diag(means, 1)))
    far = float(np.nanmean(means[np.abs(np.subtract.outer(range(blocks), range(blocks))) >= max(2, blocks // 2)]))
    inside = np.diag(means)
    top = int(np.nanargmax(inside))
    return (
        f"In this model structures of neighbouring blocks have a mean CKA of **{near:.2f}**, those at least "
        f"{max(2, blocks // 2)} blocks apart **{far:.2f}**. Most alike among themselves are those of block "
        f"**{top + 1}** ({inside[top]:.2f})."
    )


def _select_in_blocks(results: RunResults, a: int, b: int) -> None:
    """Select the most similar pair of one structure of block a and one of block b."""
    topology, values = results.facts.topology, results.cka.values.copy()
    if max(a, b) >= topology.blocks:
        return
    np.fill_diagonal(values, -1)
    depth = topology.structure_depth()
    first, second = np.flatnonzero(depth == a), np.flatnonzero(depth == b)
    i, j = np.unravel_index(values[np.ix_(first, second)].argmax(), (len(first), len(second)))
    select_pair(int(first[i]), int(second[j]), results)


@dataclass(frozen=True)
class MapChoice:
    """What the map between structures shows."""

    order: StructureOrder
    view: str  # a key of VIEWS
    sparsity: float  # of the cut


def map_controls(results: RunResults, selection: Selection) -> MapChoice:
    """Draw the map's controls."""
    columns = flowing_columns([1, 3, 4], 110, key="map_controls", align="bottom")
    with columns[0].popover("Options", icon=":material/tune:", help="Which structures the map shows, in which order"):
        order = structure_order(results, st, st)
    views = VIEWS if results.ranking is not None else {"before": VIEWS["before"]}
    view = setting("view", tuple(views), "before")
    columns[1].segmented_control(
        "Model", list(views), default=view, format_func=VIEWS.get, key=setting_key("view"), required=True
    )
    if results.ranking is None:
        st.caption("This run has no ranking yet; once it has, the map can be shown after a cut too.")
    else:
        with columns[2]:
            sparsity_slider(selection)
    return MapChoice(order, view, selection.sparsity)


def structure_map(results: RunResults, choice: MapChoice, pair: tuple[int, int]) -> None:
    """The map between structures, of the full model, of the cut one, or their difference."""
    order, view = choice.order, choice.view
    before, run = results.cka.values, results.summary.run
    bound = min(1.0, np.ceil(20 * robust_range(before, 0.995)) / 20)  # of all structures, so that filters keep it
    values, words = before, "CKA between any two structures of the full model."
    if view != "before":
        mlp, heads = path_pair(choice.sparsity)
        cut = results.load_cut(CUT_CKA, mlp, heads)
        if cut is None:
            offer(
                StageTask(run, (Want(of_cut(CUT_CKA, results.correct), (mlp, heads)),)),
                f"The CKA map of the cut at {ratio(choice.sparsity)} ({ratio(mlp)} of the neurons and "
                f"{ratio(heads)} of the heads removed) is not computed yet. It takes one pass of the cut model over "
                "the CKA images.",
                "Compute this map",
                icon=":material/grid_on:",
                key="cut_cka",
            )
            return
        absent = np.isnan(np.diag(cut.values))
        counts = cut_at(results.ranking, mlp, heads)
        how = ", its weights corrected," if results.correct else ""
        words = (
            f"The model cut at {ratio(choice.sparsity)}{how} on the same {cut.images:,} images. Empty rows and "
            f"columns are the {int(absent.sum())} structures that are cut away; a partly cut MLP counts by the neurons "
            f"it keeps ({min(counts.kept_neurons)} to {max(counts.kept_neurons)} a block)."
        )
        values = cut.values
        if view == "difference":
            values = cut.values - before
            bound = robust_range(values, 0.995)
            words = (
                f"CKA after the cut at {ratio(choice.sparsity)} less CKA before. Orange: more alike than before, blue: "
                f"less, near white: as before. Empty rows and columns are the {int(absent.sum())} structures that are "
                "cut away."
            )
    name = f"{run}-cka" if view == "before" else f"{run}-cka-{choice.sparsity:g}"
    key, indices = run_key(results), tuple(order.indices.tolist())
    matrix_stack(f"{run}-cka", _packed(key, "full", before))
    if view != "before":
        matrix_stack(name, _packed(key, name, cut.values))
    edge = f"±{bound:.2f}" if view == "difference" else f"{bound:.2f}"
    show_figure(
        kept_figure(
            "cka",
            *(key, view, choice.sparsity if view != "before" else None, indices, order.by_depth),
            make=lambda: _without_numbers(figures.cka_map(values, order, view, bound)),
        ),
        key=f"cka_{view}",
        reading=f"{words} Colours end at {edge}; the few pairs beyond have the end's colour. Click a cell to put its "
        "two structures side by side; the orange frames mark them.",
        alt=f"{figures.CKA_TITLES[view]}: map of {len(order.indices)} structures with each other",
        table=lambda: matrix_frame(values, order),
        file=f"{run}-cka-{view}",
        marks=figures.pair_marks(order, pair),
        numbers=Numbers(name, indices, f"{run}-cka" if view == "difference" else None),
        on_cell=lambda row, column: _select_cell(results, order, row, column),
    )


@st.cache_resource(show_spinner=False, max_entries=24)
def _packed(key: RunKey, name: str, _values: Floats) -> Packed:
    return Packed.of(_values[None])


def _without_numbers(figure: go.Figure) -> go.Figure:
    return figure.update_traces(z=None, selector={"type": "heatmap"})


def _select_cell(results: RunResults, order: StructureOrder, row: int, column: int) -> None:
    if max(row, column) < len(order.indices):
        select_pair(int(order.indices[row]), int(order.indices[column]), results)
