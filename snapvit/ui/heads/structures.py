"""The numbers of MLPs and heads that the Heads page shows, from whatever a run has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from snapvit.artifacts import Doubles, Ints
from snapvit.elastic.ranking import cut_at, removal_sparsity
from snapvit.pipeline.config import HEAD_LAG, PATH_END, path_pair
from snapvit.pipeline.results import RunResults
from snapvit.ui.selection import Structure


def measures(results: RunResults) -> list[str]:
    """Names of the `figures.MEASURES` that this run has, in the order of the method: curvature x factor = score."""
    return list(results.head_measures)


def head_values(results: RunResults, measure: str) -> Doubles:
    """(L, H) of one of `figures.MEASURES`."""
    return results.head_measures[measure]


def neuron_values(results: RunResults) -> Doubles | None:
    """(L, F) final scores, before them the local curvature; None where there is neither."""
    if results.ranked:
        return results.final_scores.mlp
    return None if results.curvature is None else results.curvature.mlp.astype(np.float64)


def kept_heads(results: RunResults, sparsity: float) -> np.ndarray:
    """(L, H) bool: which heads the cut at this slider position keeps. All, while there is no ranking."""
    topology = results.facts.topology
    kept = np.ones((topology.blocks, topology.heads), dtype=bool)
    if results.ranking is not None:
        counts = cut_at(results.ranking, *path_pair(sparsity)).kept_heads
        for block, (order, count) in enumerate(zip(results.ranking.head_order(), counts, strict=True)):
            kept[block, order[count:]] = False
    return kept


def kept_neurons(results: RunResults, sparsity: float) -> Ints:
    """(L,) how many neurons the cut at this slider position keeps in each block."""
    topology = results.facts.topology
    if results.ranking is None:
        return np.full(topology.blocks, topology.hidden)
    return np.array(cut_at(results.ranking, *path_pair(sparsity)).kept_neurons)


def neurons_go_at(results: RunResults) -> Doubles:
    """(L, F) share of all neurons removed at which each goes, sorted in each block; NaN, last, for protected ones."""
    ranking = results.ranking
    return np.sort(removal_sparsity(ranking.mlp, ranking.mlp_protected, ranking.blocks), axis=1)


def leaving(results: RunResults) -> Doubles:
    """(S,) sparsity on the slider's path at which each structure goes, an MLP with half of its neurons.

    NaN for what never goes, or not on the path.
    """
    ranking, topology = results.ranking, results.facts.topology
    mlp = neurons_go_at(results)[:, (topology.hidden - 1) // 2]
    head = removal_sparsity(ranking.head, ranking.head_protected, ranking.blocks).ravel() + HEAD_LAG
    both = np.concatenate([mlp, head])
    return np.where(both <= PATH_END + 1e-9, both, np.nan)


@dataclass(frozen=True)
class Neighbour:
    """A structure and how alike its activations are."""

    structure: Structure
    cka: float


def neighbours(results: RunResults, structure: Structure, count: int = 6) -> list[Neighbour]:
    """The structures with the greatest CKA to this one, nearest first. The run must have its CKA map."""
    topology = results.facts.topology
    row = results.cka.values[structure.index(topology)].astype(np.float64)
    row[structure.index(topology)] = -1
    return [Neighbour(Structure.of(int(i), topology), float(row[i])) for i in np.argsort(-row, kind="stable")[:count]]


def state_at(results: RunResults, structure: Structure, sparsity: float) -> str:
    """`kept`, `removed`, or how many of an MLP's neurons the cut keeps."""
    if structure.head is not None:
        return "kept" if kept_heads(results, sparsity)[structure.block, structure.head] else "removed"
    return f"{kept_neurons(results, sparsity)[structure.block]} of {results.facts.topology.hidden} neurons"


def head_frame(results: RunResults, sparsity: float) -> pd.DataFrame:
    """A row a head: its numbers, when it goes, and whether the cut at `sparsity` keeps it."""
    topology = results.facts.topology
    block, head = np.divmod(np.arange(topology.blocks * topology.heads), topology.heads)
    columns: dict[str, Any] = {"Block": block + 1, "Head": head + 1}
    columns |= {COLUMNS[m]: head_values(results, m).ravel() for m in measures(results)}
    if results.ranking is not None:
        columns["Goes at sparsity"] = leaving(results)[topology.blocks :]
        columns["This cut"] = np.where(kept_heads(results, sparsity).ravel(), "kept", "removed")
    return pd.DataFrame(columns)


COLUMNS = {"local": "Local curvature", "factor": "Search factor", "score": "Final score"}


def structure_frame(results: RunResults, sparsity: float) -> pd.DataFrame:
    """A row a structure, in the order of `Structure.index`; curvature and score of an MLP are sums over its neurons."""
    topology = results.facts.topology
    columns: dict[str, Any] = {
        "Structure": [topology.structure_name(i) for i in range(topology.structures)],
        "Block": topology.structure_depth() + 1,
        "Kind": np.where(np.arange(topology.structures) < topology.blocks, "MLP", "head"),
    }
    if results.curvature is not None:
        local = (results.curvature.mlp.sum(axis=1), results.curvature.head.ravel())
        columns[COLUMNS["local"]] = np.concatenate(local).astype(np.float64)
    if results.search is not None:
        columns[COLUMNS["factor"]] = results.search.factors
    if results.ranked:
        scores = results.final_scores
        columns[COLUMNS["score"]] = np.concatenate([scores.mlp.sum(axis=1), scores.head.ravel()])
    if results.cka is not None:
        others = results.cka.values.astype(np.float64)
        np.fill_diagonal(others, -1)
        nearest = others.argmax(axis=1)
        columns["Most like"] = [topology.structure_name(int(i)) for i in nearest]
        columns["CKA with it"] = others[np.arange(len(others)), nearest]
    if results.ranking is not None:
        columns["Goes at sparsity"] = leaving(results)
        mlps = [f"{kept} of {topology.hidden}" for kept in kept_neurons(results, sparsity)]
        heads = np.where(kept_heads(results, sparsity).ravel(), "kept", "removed").tolist()
        columns["This cut"] = mlps + heads
    return pd.DataFrame(columns)
