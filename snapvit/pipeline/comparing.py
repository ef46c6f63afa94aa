"""Measuring rival rankings beside a run's own, on the same images, each cut kept at once.

Each contender's ranking is made as a run of its own would make it, in a cache beside the runs (`compared`), so that
nothing is lost by a stop; that cache is emptied once the comparison is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from snapvit.artifacts import LayerStatistics, Ranking
from snapvit.elastic.correction import collect_statistics
from snapvit.elastic.ranking import cut_at
from snapvit.evaluation.paired import pack_answers
from snapvit.evaluation.probe import probe_predictions
from snapvit.pipeline.contenders import POINTS, PROBED, Contender, entries, pairs
from snapvit.pipeline.memory import within_memory
from snapvit.pipeline.meter import Meter, empty_table
from snapvit.pipeline.progress import Part, Reporter
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.running import check_unchanged, keep_piece, open_workspace, run_wants
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.pipeline.table import stages_for
from snapvit.pipeline.workspace import Workspace
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
) -> Comparison:
    """Measure what is missing of the contenders' cuts at `points` of the path, as cut and corrected, for `seeds` seeds.

    Raises InputError for an unknown run or other images than its own, Cancelled within one batch of a request to stop.
    """
    workspace = workspace or open_workspace(store, run)
    check_unchanged(store, run, workspace)
    work = _Work(store, Store(store.root / FOLDER), workspace, reporter)
    waiting = [(seed, one) for seed, one in entries(contenders, seeds) if work.missing(one, seed, points)]
    if waiting:
        workspace.check_computing()  # before rankings are made
    reporter.plan(sum(work.units(one, seed, points) for seed, one in waiting))
    for seed, one in waiting:
        work.measure(one, seed, points)
    for seed, one in waiting:
        work.tidy(one, seed)
    return work.known()


def own_head(workspace: Workspace) -> nn.Linear | None:
    """The model's classifier, where it has as many outputs as the images have classes, which are then taken to be in
    its order, as folders named after the classes of its training are; and where it reads the embedding."""
    classifier, classes = workspace.loaded.model.get_classifier(), len(workspace.source.class_names)
    fits = isinstance(classifier, nn.Linear) and classifier.out_features == classes > 1
    own_pool = workspace.request.model.pool == "model"
    return classifier if fits and own_pool and workspace.accuracy_missing is None else None


class _Work:
    """What contenders are measured with: the run's own workspace, and one of each seed's calibration images."""

    def __init__(self, store: Store, beside: Store, workspace: Workspace, reporter: Reporter) -> None:
        self._store, self._beside, self._workspace, self._reporter = store, beside, workspace, reporter
        self._statistics: tuple[int, LayerStatistics] | None = None  # of the last seed

    def known(self) -> Comparison:
        """What was measured so far."""
        found = StoredRun.open(self._store, self._workspace.request.run).load(COMPARISON)
        return found or self._empty()

    def _empty(self) -> Comparison:
        return Comparison.empty(empty_table(self._workspace), headed=own_head(self._workspace) is not None)

    def missing(self, one: Contender, seed: int, points: Sequence[float]) -> list[tuple[bool, float, float]]:
        """Cuts that were not measured: whether corrected, and their ratios."""
        known = self.known()
        return [
            (correct, *pair)
            for correct in (False, True)
            for pair in pairs(points)
            if known.find(one.name, seed, correct, *pair) is None
        ]

    def units(self, one: Contender, seed: int, points: Sequence[float]) -> float:
        """Image passes that this contender is worth."""
        request = one.request(self._workspace.request, seed)
        effort, own = self._workspace.asking(request).effort, request == self._workspace.request
        cuts = sum(effort.cut_units(mlp, heads) for _, mlp, heads in self.missing(one, seed, points))
        stages = () if own else stages_for(request, [RANKING])
        return cuts + sum(stage.units(effort, {}, None).total for stage in stages)

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
        cuts = self.missing(one, seed, points)
        for correct in (False, True):
            correction = workspace.correction(ranking, statistics, part.check) if correct else None
            with workspace.elastic(ranking, correction) as elastic:
                meter = Meter(workspace, elastic, part)
                for _, mlp, heads in (cut for cut in cuts if cut[0] == correct):
                    self._measure_cut(meter, ranking, one.name, seed, correct, mlp, heads)
        reporter.advance(max(0.0, before + planned - reporter.progress.overall_done))

    def tidy(self, one: Contender, seed: int) -> None:
        """Let go of what its ranking was made from."""
        run = one.request(self._workspace.request, seed).run
        if self._beside.manifest(run) is not None:
            self._beside.delete(run)

    def _ranking(self, workspace: Workspace, reporter: Reporter) -> Ranking:
        request = workspace.request
        if request == self._workspace.request:
            return StoredRun.open(self._store, request.run).need(RANKING)
        store = self._beside
        with store.computing(request.run):
            store.create(request.run, encode(request)[1], workspace.facts, workspace.nodes)
            run_wants(workspace, store, reporter, list(map(Want, stages_for(request, [RANKING]))))
            return StoredRun.open(store, request.run).need(RANKING)

    def _collected(self, workspace: Workspace, seed: int, reporter: Reporter) -> LayerStatistics:
        """The statistics of the correction, which all contenders of a seed share."""
        if self._statistics is None or self._statistics[0] != seed:
            self._statistics = None  # before the next are in memory

            def collect() -> LayerStatistics:
                batches = reporter.heeding(workspace.batches(workspace.table("correction")))
                return collect_statistics(workspace.loaded.model, workspace.loaded.anatomy, batches)

            what = "the statistics that correct weights"
            self._statistics = seed, within_memory(workspace, reporter, what, collect)
        return self._statistics[1]

    def _measure_cut(
        self, meter: Meter, ranking: Ranking, name: str, seed: int, correct: bool, mlp: float, heads: float
    ) -> None:
        workspace = self._workspace
        measured, queries, gallery = meter.measure_with_embeddings(cut_at(ranking, mlp, heads))
        labels, ids, probe, head = workspace.source.labels, workspace.ids, None, None
        if gallery is not None and any(abs(mlp - point) < 1e-6 for point in PROBED):
            named = probe_predictions(gallery.numpy(), labels[ids["gallery"]], queries.numpy())
            probe = pack_answers(named == labels[ids["queries"]]).tobytes()
        if (classifier := own_head(workspace)) is not None:
            with torch.inference_mode():
                named = classifier(queries.to(workspace.device)).argmax(dim=1).cpu().numpy()
            head = pack_answers(named == labels[ids["queries"]]).tobytes()
        piece = self._empty().with_row(name, seed, correct, measured, probe, head)
        keep_piece(self._store, workspace, Want(COMPARISON), piece)
