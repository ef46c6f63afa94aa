"""Choices that pages with maps between structures share: which structures, in which order, and which pair."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from snapvit.artifacts import Floats, Ints
from snapvit.figures import StructureOrder
from snapvit.method.structure_maps import cluster_order, depth_order, strongest_pairs
from snapvit.pipeline.results import RunResults
from snapvit.ui.controlled import controlled
from snapvit.ui.run_key import RunKey, run_key
from snapvit.ui.selection import Selection, Structure, change, setting, setting_key

KINDS = {"all": "All", "mlp": "MLPs", "heads": "Heads"}
ORDERS = {"depth": "By depth", "cluster": "By similarity"}


def structure_order(
    results: RunResults, kinds: DeltaGenerator, orders: DeltaGenerator, page: str = ""
) -> StructureOrder:
    """Which structures to show and in which order, from two controls drawn in these places.

    page: what this page's names of the controls end with; two pages must not share the key of a widget.
    """
    show, order_by = f"show{page}", f"order{page}"
    kind, order = setting(show, tuple(KINDS), "all"), setting(order_by, tuple(ORDERS), "depth")
    kinds.segmented_control(
        "Structures",
        list(KINDS),
        default=kind,
        format_func=KINDS.__getitem__,
        key=setting_key(show),
        required=True,
    )
    orders.segmented_control(
        "Order",
        list(ORDERS),
        default=order,
        format_func=ORDERS.__getitem__,
        key=setting_key(order_by),
        required=True,
        help="By similarity: hierarchical clustering of the full model's CKA map (average linkage on 1 − CKA)",
    )
    members = depth_order(results.facts.topology, kind)
    by_depth = order == "depth" or results.cka is None
    indices = members if by_depth else _by_similarity(run_key(results), kind, results.cka.values, members)
    return StructureOrder(results.facts.topology, indices, by_depth)


@st.cache_resource(show_spinner=False, max_entries=24)
def _by_similarity(key: RunKey, kind: str, _cka: Floats, _members: Ints) -> Ints:
    return cluster_order(_cka, _members)


def matrix_frame(values: np.ndarray, order: StructureOrder) -> pd.DataFrame:
    """The map (S, S) as drawn, as a table with names."""
    frame = pd.DataFrame(order.take(values), columns=order.names)
    frame.insert(0, "Structure", order.names)
    return frame


def select_pair(first: int, second: int, results: RunResults) -> None:
    """Select two structures by their search indices."""
    topology = results.facts.topology
    change(structure=Structure.of(first, topology), other=Structure.of(second, topology))


def chosen_pair(results: RunResults, selection: Selection) -> tuple[int, int] | None:
    """Search indices of the selected pair; None where it is not one of this model's."""
    topology = results.facts.topology
    parts = (selection.structure, selection.other)
    if any(part is None or not part.fits(topology) for part in parts):
        return None
    return parts[0].index(topology), parts[1].index(topology)


def shown_pair(results: RunResults, selection: Selection) -> tuple[int, int]:
    """The selected pair, completed by the most similar structure, or by the most similar pair of all."""
    topology, cka = results.facts.topology, results.cka.values
    pair = chosen_pair(results, selection)
    if pair is not None:
        return pair
    if selection.structure is not None and selection.structure.fits(topology):
        first = selection.structure.index(topology)
        others = cka[first].copy()
        others[first] = -1
        return first, int(others.argmax())
    (pair,) = strongest_pairs(cka, depth_order(topology), 1)
    return int(pair[0]), int(pair[1])


def pick_pair(results: RunResults, pair: tuple[int, int], left: DeltaGenerator, right: DeltaGenerator) -> None:
    """Two boxes that show `pair` and change the selection."""
    topology = results.facts.topology
    members = [int(i) for i in depth_order(topology)]
    name = topology.structure_name
    first = controlled("pair_first", pair[0], lambda chosen: select_pair(chosen, pair[1], results), members)
    second = controlled("pair_second", pair[1], lambda chosen: select_pair(pair[0], chosen, results), members)
    left.selectbox("First structure", members, format_func=name, **first)
    right.selectbox("Second structure", members, format_func=name, **second)
