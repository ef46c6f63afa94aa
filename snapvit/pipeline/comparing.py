"""Measuring rival rankings beside a run's own, on the same images, each cut kept at once.

Each contender's ranking is made as a run of its own would make it, in a cache beside the runs (`compared`), so that
nothing is lost by a stop; that cache is emptied once the comparison is whole. What the runs know already is taken from
them: a search that is shorter than one of theirs costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from snapvit.artifacts import Curvature, LayerStatistics, Ranking
from snapvit.elastic.correction import collect_statistics
from snapvit.elastic.ranking import cut_at
from snapvit.evaluation.paired import pack_answers
from snapvit.evaluation.probe import probe_predictions
from snapvit.method.search import SearchState
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.contenders import POINTS, PROBED, Contender, entries, pairs
from snapvit.pipeline.memory import within_memory
from snapvit.pipeline.meter import Meter, empty_table
from snapvit.pipeline.progress import Part, Reporter
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.running import check_unchanged, keep_piece, open_workspace, run_wants, take_part
from snapvit.pipeline.sharing import everyones, told
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.pipeline.stages.search import SEARCH, judging
from snapvit.pipeline.table import stages_for
from snapvit.pipeline.workspace import Workspace
from snapvit.ranks.ranks import ALONE, Ranks
from snapvit.store.codec import encode
from snapvit.store.store import Store
from snapvit.tables import Comparison

FOLDER = "compared"  # in the cache


def compare_rankings(
    store: Store,
    run: str,
    contenders: Sequence[Contender],
    seeds: int,
    reporter: Reporter,
    workspace: Workspace | None = None,
    points: Sequence[float] = POINTS,
    ranks: Ranks = ALONE,
) -> Comparison | None:
    """Measure what is missing of the contenders' cuts at `points` of the path, as cut and corrected, for `seeds` seeds.

    ranks: the processes that share the work, all of which call this; the first one alone reads and writes the store,
    and is given the comparison.
    Raises InputError for an unknown run or other images than its own, Cancelled within one batch of a request to stop.
    """
    workspace = workspace or open_workspace(store, run, ranks)
    if ranks.first:
        check_unchanged(store, run, workspace)
    work = _Work(store, Store(store.root / FOLDER, lender=store), workspace, reporter)
    waiting = [(seed, one) for seed, one in entries(contenders, seeds) if work.missing(one, seed, points)]
    if waiting:
        workspace.check_computing()  # before rankings are made
    reporter.plan(sum(work.units(one, seed, points) for seed, one in waiting))
    for seed, one in waiting:
        work.measure(one, seed, points)
    if not ranks.first:
        return None
    for seed, one in waiting:
        work.tidy(one, seed)
    return work.known()


class _Work:
    """What contenders are measured with: the run's own workspace, and one of each seed's calibration images."""

    def __init__(self, store: Store, beside: Store, workspace: Workspace, reporter: Reporter) -> None:
        self._store, self._beside, self._workspace, self._reporter = store, beside, workspace, reporter
        self._statistics: tuple[int, LayerStatistics] | None = None  # of the last seed
        self._unsearched: dict[tuple[int | str, ...], float] = {}  # fitness of no search, which all lengths share

    def known(self) -> Comparison:
        """What was measured so far."""
        found = StoredRun.open(self._store, self._workspace.request.run).load(COMPARISON)
        return found or self._empty()

    def _empty(self) -> Comparison:
        return Comparison.empty(empty_table(self._workspace), headed=self._workspace.own_head is not None)

    def missing(self, one: Contender, seed: int, points: Sequence[float]) -> list[tuple[bool, float, float]]:
        """Cuts that were not measured: whether corrected, and their ratios."""
        every = [(correct, *pair) for correct in (False, True) for pair in pairs(points)]
        ranks, lacking = self._workspace.ranks, []
        if ranks.first:
            known = self.known()
            lacking = [number for number, cut in enumerate(every) if known.find(one.name, seed, *cut) is None]
        return [every[number] for number in ranks.agreed(np.array(lacking, np.int64))]

    def units(self, one: Contender, seed: int, points: Sequence[float]) -> float:
        """Image passes that this contender is worth."""
        request = one.request(self._workspace.request, seed)
        effort, own = self._workspace.asking(request).effort, request == self._workspace.request
        cuts = sum(effort.cut_units(mlp, heads) for _, mlp, heads in self.missing(one, seed, points))
        stages = () if own else stages_for(request, [RANKING])
        unsearched = effort.candidate_units if one.searched else 0.0
        return cuts + unsearched + sum(stage.units(effort, {}, None).total for stage in stages)

    def measure(self, one: Contender, seed: int, points: Sequence[float]) -> None:
        """Make the ranking, and measure what is missing of its cuts."""
        run, reporter = self._workspace.request, self._reporter
        request, planned = one.request(run, seed), self.units(one, seed, points)
        before = reporter.progress.overall_done
        reporter.event("contender", f"{one.label}, seed {seed}")
        workspace = self._workspace.asking(request)
        part = Part(reporter, quiet=True)
        ranking = self._ranking(workspace, part)
        statistics = partial(self._collected, workspace, seed, part)
        if one.searched:
            self._keep_fitness(workspace, one, seed, statistics, part)
        cuts = self.missing(one, seed, points)
        for correct in (False, True):
            correction = workspace.correction(ranking, statistics, part.check) if correct else None
            with workspace.elastic(ranking, correction) as elastic:
                meter = Meter(workspace, elastic, part)
                if cuts:
                    meter.share_full_queries()
                measure = partial(self._measured, meter, ranking, one.name, seed)
                own = workspace.ranks.share([cut for cut in cuts if cut[0] == correct])
                for piece in everyones(workspace.ranks, Comparison, (measure(*cut) for cut in own)):
                    if workspace.ranks.first:
                        keep_piece(self._store, self._workspace, Want(COMPARISON), piece)
        reporter.advance(max(0.0, before + planned - reporter.progress.overall_done))

    def tidy(self, one: Contender, seed: int) -> None:
        """Let go of what its ranking was made from."""
        run = one.request(self._workspace.request, seed).run
        if self._beside.manifest(run) is not None:
            self._beside.delete(run)

    def _ranking(self, workspace: Workspace, reporter: Reporter) -> Ranking:
        if workspace.request == self._workspace.request:
            pass
        elif workspace.ranks.first:
            self._rank_beside(workspace, reporter)
        else:
            take_part(workspace)
        return told(workspace.ranks, Ranking, lambda: self._made(workspace.request).need(RANKING))

    def _made(self, request: RunRequest) -> StoredRun:
        """What a ranking was made from."""
        own = request == self._workspace.request
        return StoredRun.open(self._store if own else self._beside, request.run)

    def _keep_fitness(
        self,
        workspace: Workspace,
        one: Contender,
        seed: int,
        statistics: Callable[[], LayerStatistics],
        reporter: Reporter,
    ) -> None:
        """How far its search came, from what the same images make of no search on."""
        ranks = workspace.ranks
        made = told(ranks, SearchState, lambda: self._made(workspace.request).need(SEARCH)).history
        curvature = told(ranks, Curvature, lambda: self._made(workspace.request).need(CURVATURE))

        def judge() -> float:
            with judging(workspace, curvature, statistics, reporter) as fitness:
                return float(fitness(np.ones(workspace.topology.structures)).mean())

        alike = seed, *(s for s in one.settings if not s.startswith("search.generations="))
        if alike not in self._unsearched:
            self._unsearched[alike] = within_memory(workspace, reporter, "the search's fitness", judge)
        reporter.advance(workspace.effort.candidate_units)
        if ranks.first:
            judged = made.individuals.shape[1] * np.arange(made.generations + 1)
            best = np.append(self._unsearched[alike], made.best_so_far)
            piece = self._empty().with_fitness(one.name, seed, judged, best)
            keep_piece(self._store, self._workspace, Want(COMPARISON), piece)

    def _rank_beside(self, workspace: Workspace, reporter: Reporter) -> None:
        request, store = workspace.request, self._beside
        with store.computing(request.run):
            store.create(request.run, encode(request)[1], workspace.facts, workspace.nodes)
            run_wants(workspace, store, reporter, list(map(Want, stages_for(request, [RANKING]))))

    def _collected(self, workspace: Workspace, seed: int, reporter: Reporter) -> LayerStatistics:
        """The statistics of the correction, which all contenders of a seed share."""
        if self._statistics is None or self._statistics[0] != seed:
            self._statistics = None  # before the next are in memory

            def collect() -> LayerStatistics:
                batches, loaded = reporter.heeding(workspace.own_batches("correction")), workspace.loaded
                return collect_statistics(loaded.model, loaded.anatomy, batches, workspace.ranks)

            what = "the statistics that correct weights"
            self._statistics = seed, within_memory(workspace, reporter, what, collect)
        return self._statistics[1]

    def _measured(
        self, meter: Meter, ranking: Ranking, name: str, seed: int, correct: bool, mlp: float, heads: float
    ) -> Comparison:
        workspace = self._workspace
        measured, queries, gallery = meter.measure_with_embeddings(cut_at(ranking, mlp, heads))
        labels, ids, probe, head = workspace.source.labels, workspace.ids, None, None
        if gallery is not None and any(abs(mlp - point) < 1e-6 for point in PROBED):
            named = probe_predictions(gallery.numpy(), labels[ids["gallery"]], queries.numpy())
            probe = pack_answers(named == labels[ids["queries"]]).tobytes()
        if (classifier := workspace.own_head) is not None:
            with torch.inference_mode():
                named = classifier(queries.to(workspace.device)).argmax(dim=1).cpu().numpy()
            head = pack_answers(named == labels[ids["queries"]]).tobytes()
        return self._empty().with_row(name, seed, correct, measured, probe, head)
