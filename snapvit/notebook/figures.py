"""The dashboard's figures of one run, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from snapvit import figures
from snapvit.artifacts import Topology
from snapvit.elastic.ranking import cut_at
from snapvit.errors import InputError
from snapvit.figures import PairCloud, StructureOrder
from snapvit.method.agreement import known_pairs, percentiles
from snapvit.method.structure_maps import depth_order, robust_range
from snapvit.pipeline.agreements import MAPS, Scale
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.report.contestants import AREA, gaps_to, label_of
from snapvit.report.report import path_figure, rivals_figure

if TYPE_CHECKING:
    from snapvit.notebook.run import Run


class Figures:
    """A method a figure, each a `plotly.graph_objects.Figure`. `sparsity` is a point of the path, in [0, 0.95]."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def heads(self, sparsity: float = 0.5, measure: str | None = None) -> go.Figure:
        """The importance of every head, crosses on those that the cut removes.

        measure: `local` curvature, the search's `factor` or the final `score`; None: the last of these that it has.
        """
        found = self._run.results.head_measures
        if not found:
            raise InputError(f"Run {self._run.name} knows nothing of its heads yet; finish it first.")
        measure = measure or list(found)[-1]
        if measure not in found:
            raise InputError(f"Run {self._run.name} has no measure {measure!r} of heads; it has {', '.join(found)}.")
        order, counts = self._run.ranking.head_order(), cut_at(self._run.ranking, *path_pair(sparsity)).kept_heads
        kept = np.zeros(order.shape, dtype=bool)
        for block, count in enumerate(counts):
            kept[block, order[block, :count]] = True
        return figures.head_map(found[measure], kept, measure)

    def path(self, sparsity: float | None = None) -> go.Figure:
        """What every measured cut of the path costs, as cut and corrected, with 95 % Wilson intervals.

        sparsity: is marked.
        """
        found = path_figure(self._run.results, sparsity)
        if found is None:
            raise InputError(f"No cut of run {self._run.name} is measured yet; finish it first.")
        return found

    def kept(self, sparsity: float = 0.5, what: str = "neurons") -> go.Figure:
        """How many `neurons` or `heads` of each block the cut keeps."""
        cut, topology = cut_at(self._run.ranking, *path_pair(sparsity)), self._run.topology
        known = {"neurons": (cut.kept_neurons, topology.hidden), "heads": (cut.kept_heads, topology.heads)}
        if what not in known:
            raise InputError(f"A cut keeps no {what!r}; it keeps neurons and heads.")
        return figures.kept_by_block(*known[what], what)

    def search(self) -> go.Figure:
        """The fitness of every individual by generation, lower is better."""
        return figures.fitness_curve(self._run.search)

    def cka(self) -> go.Figure:
        """Which structures say the same, by depth."""
        values = self._run.cka.values
        return figures.cka_map(values, _by_depth(self._run.topology), "before", min(1.0, robust_range(values, 0.995)))

    def correlation(self, generation: int | None = None, frames: int | None = None) -> go.Figure:
        """The search's estimate of how structures depend on one another: the map after one generation (0 is the
        start), or with None every generation with a scrubber and Play.

        frames: so many generations, evenly spaced; a figure with few is small enough to be kept in a notebook.
        """
        history, order = self._run.search, _by_depth(self._run.topology)
        total = history.generations
        if generation is not None and not 0 <= generation <= total:
            raise InputError(f"There is no generation {generation}; the search's go from 0 to {total}.")
        if generation is None:
            shown = figures.frame_generations(total, self._run.topology.structures)
            if frames is not None:
                shown = sorted({shown[round(i)] for i in np.linspace(0, len(shown) - 1, max(2, frames))})
            maps = np.stack([order.take(found) for found in history.correlations(shown)])
            words = "correlation", "Factors that move together"
            return figures.correlation_player(maps, shown, total, history, order, *words, robust_range(maps[-1]))
        values, title = history.correlation(generation), f"Factors that move together, generation {generation}"
        return figures.interaction_map(values, order, "correlation", title, robust_range(values), True, "")

    def interactions(self, by: str = "measured", scale: Scale = "loss") -> go.Figure:
        """The map of how structures depend on one another, by what `Run.dependence` takes."""
        values, order = self._run.dependence(by, scale), _by_depth(self._run.topology)
        label = "CKA" if by == "cka" else "correlation" if by == "search" or scale == "correlation" else "loss"
        return figures.interaction_map(values, order, label, MAPS[by], robust_range(values), by != "cka", "")

    def agreement(self, by: str = "search") -> go.Figure:
        """Every measured pair by its rank, in percent: by an estimate (across) and as measured (up)."""
        estimate, measured = self._run.dependence(by), self._run.dependence("measured")
        first, second = known_pairs(estimate, measured)
        ranks = (percentiles(values[first, second]) for values in (estimate, measured))
        cloud, names = PairCloud(first, second, *ranks), (MAPS[by], MAPS["measured"])
        return figures.agreement_scatter(cloud, self._run.topology, names, True, "Every pair")

    def compare(self, correct: bool = False) -> go.Figure:
        """Every ranking that `Run.compare` measured, against MACs: means, with a band over seeds."""
        return rivals_figure(*self._compared(correct))

    def gaps(self, correct: bool = False, sparsity: float | None = None) -> go.Figure:
        """Paired differences of top-1 to this run's own method, with 95 % intervals: at one compared sparsity, or with
        None of the areas under the curves."""
        results, found = self._compared(correct)
        own, where = self._run.request.config.ranking.method, AREA if sparsity is None else f"{sparsity:g}"
        measure = "cosine" if results.facts.accuracy_missing else "top1"
        gaps = gaps_to(results, found, own, correct, where, measure)
        return figures.contender_gaps(gaps, label_of(own), "Paired differences")

    def _compared(self, correct: bool) -> tuple:
        from dataclasses import replace

        results = replace(self._run.results, correct=correct)
        found = results.stored.load(COMPARISON)
        if found is None or not len(found):
            raise InputError(f"Nothing is compared with run {self._run.name} yet; run.compare() does it.")
        return results, found


def _by_depth(topology: Topology) -> StructureOrder:
    return StructureOrder(topology, depth_order(topology), True)
