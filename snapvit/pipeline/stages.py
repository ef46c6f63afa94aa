"""The pipeline: curvature, CKA, search, ranking, evaluation, each found in the store or computed and stored.

A cancel takes effect within one batch. Finished stages stay; the search is stored after each generation and the
evaluation after each cut, and both go on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from snapvit.artifacts import CkaMap, Curvature, Ints, Measurements, Ranking, SearchHistory
from snapvit.data.views import view_batches
from snapvit.elastic.ranking import cut_at, final_scores, rank
from snapvit.elastic.vit import ElasticViT
from snapvit.method.cka import estimate_cka, nearest_correlation
from snapvit.method.curvature import estimate_curvature
from snapvit.method.fitness import Fitness
from snapvit.method.search import SearchState, search, start_mean, start_search
from snapvit.pipeline.config import RunRequest, path_pair
from snapvit.pipeline.measure import Meter, empty_table
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.published_runs import cached_scores, differs_from
from snapvit.pipeline.workspace import Workspace
from snapvit.published.scores import PublishedScores
from snapvit.store.codec import encode
from snapvit.store.store import Store

SKIPPED_NAMED = 20  # files that the log names one by one


def run_pipeline(
    request: RunRequest, store: Store, reporter: Reporter, scores: PublishedScores | None = None
) -> Workspace:
    """Bring the request's run to its finished state and return the loaded workspace for further measurements.

    `scores` are what a request with published scores names; without them they are looked for in the cache.
    Raises InputError for what cannot be done, Cancelled within one batch of a request to stop.
    """
    workspace = Workspace.open(request, reporter, store.root)
    report_images(workspace, reporter)
    if request.scores is not None:
        scores = scores or cached_scores(store, request)
        scores.check_fit(workspace.loaded.anatomy.topology, workspace.loaded.label)
        if (other := differs_from(scores, request.model.name)) is not None:
            reporter.event("note", f"the scores say that they are of {other}; here they cut {request.model.label}")
    with store.computing(request.run):
        store.create(request.run, encode(request)[1], workspace.facts)
        Pipeline(workspace, store, reporter, scores).execute()
    return workspace


def report_images(workspace: Workspace, reporter: Reporter) -> None:
    """Name what the images lack: files that were left out, and an accuracy that cannot be measured."""
    skipped = workspace.source.skipped
    for file in skipped[:SKIPPED_NAMED]:
        reporter.event("note", f"{file.file} is left out: {file.reason}")
    if len(skipped) > SKIPPED_NAMED:
        reporter.event("note", f"{len(skipped) - SKIPPED_NAMED} more files are left out")
    if workspace.accuracy_missing is not None:
        reporter.event("note", f"{workspace.accuracy_missing}, so cosine to the full model is measured, no accuracy")


def curvature_batches(workspace: Workspace, ids: Ints) -> Iterator[torch.Tensor]:
    """Batches (V, n, 3, h, w) of normalised views of `ids`, as the curvature stage takes them."""
    views, preprocess = workspace.views, workspace.loaded.preprocess
    seed, batch = workspace.request.config.curvature.seed, workspace.effort.curvature_batch
    yield from map(workspace.normalised, view_batches(workspace.source, ids, views, preprocess, seed, batch))


class Pipeline:
    """The stages of one workspace, in order."""

    def __init__(
        self, workspace: Workspace, store: Store, reporter: Reporter, scores: PublishedScores | None = None
    ) -> None:
        self._workspace, self._store, self._reporter = workspace, store, reporter
        self._given_scores = scores
        self._run, self._config, self._work = workspace.request.run, workspace.request.config, workspace.effort
        self._stages = workspace.request.stages
        self._compute: dict[str, Callable[[], None]] = {
            "scores": self._scores,
            "curvature": self._curvature,
            "cka": self._cka,
            "search": self._search,
            "ranking": self._ranking,
            "evaluation": self._evaluation,
        }

    def execute(self) -> None:
        """Compute what is missing."""
        missing = [stage for stage in self._stages if not self._is_done(stage)]
        for stage in self._stages:
            entry = self._store.entry(self._run, stage)
            if stage not in missing:
                self._reporter.event("cached", f"{stage} is in the cache")
            elif entry is not None and entry.key != self._workspace.keys[stage]:
                self._store.forget(self._run, stage)  # of other weights, images or an earlier version
        units = {stage: self._units(stage) for stage in missing}
        self._reporter.plan(sum(units.values()))
        for stage in missing:
            self._reporter.begin(stage, units[stage])
            self._compute[stage]()

    def _is_done(self, stage: str) -> bool:
        key, kind = self._workspace.keys[stage], KINDS[stage]
        entry = self._store.entry(self._run, stage)
        present = entry is not None and entry.key == key and entry.complete
        if not present and not self._store.borrow(self._run, stage, key):
            return False
        artifact = self._store.load(self._run, stage, kind, key)
        if stage == "evaluation" and artifact is not None and self._missing_points(artifact):
            entry = self._store.entry(self._run, stage)
            if entry.complete:  # for a run with fewer points it was the whole, for this one it is a beginning
                self._store.save(self._run, stage, key, artifact, complete=False, seconds=entry.seconds)
            return False
        return artifact is not None

    def _units(self, stage: str) -> float:
        """Image passes that the stage still needs."""
        state = self._load("search", SearchState) if stage == "search" else None
        missing = self._missing_points(self._load("evaluation", Measurements)) if stage == "evaluation" else None
        return self._work.stage_units(stage, state.history.generations if state else 0, missing)

    def _load(self, stage: str, kind: type) -> object | None:
        return self._store.load(self._run, stage, kind, self._workspace.keys[stage])

    def _save(self, stage: str, artifact: object, started: float, complete: bool = True) -> None:
        self._store.save(self._run, stage, self._workspace.keys[stage], artifact, complete, time.monotonic() - started)

    def _curvature(self) -> None:
        workspace, views, started = self._workspace, self._workspace.views, time.monotonic()
        normalised = curvature_batches(workspace, workspace.curvature_ids)
        batches = self._counted(normalised, self._work.image_units, axis=1)
        criterion = self._config.curvature.criterion
        loaded = workspace.loaded
        curvature = estimate_curvature(loaded.model, loaded.anatomy, batches, views.global_views, criterion)
        self._save("curvature", curvature, started)

    def _cka(self) -> None:
        workspace, started = self._workspace, time.monotonic()
        batches = self._counted(workspace.batches(workspace.cka_table), 1.0)
        self._save("cka", estimate_cka(workspace.loaded.model, workspace.loaded.anatomy, batches), started)

    def _search(self) -> None:
        workspace, config, started = self._workspace, self._config.search, time.monotonic()
        topology = workspace.loaded.anatomy.topology
        curvature = self._load("curvature", Curvature)
        entry = self._store.entry(self._run, "search")
        state = self._load("search", SearchState)
        if state is None:
            covariance = None
            if config.start == "cka":
                covariance = nearest_correlation(self._load("cka", CkaMap).values)
            pairs = len(config.pairs)
            state = start_search(start_mean(topology), covariance, config.population, pairs, config.seed)
        else:
            started -= entry.seconds
            self._reporter.event("note", f"search goes on after generation {state.history.generations}")
        identity = rank(final_scores(curvature, np.ones(topology.structures)), self._config.floors)
        orders = (identity.neuron_order(), identity.head_order())
        with ElasticViT(workspace.loaded.model, workspace.loaded.anatomy, *orders) as elastic:
            fitness = Fitness(
                elastic,
                curvature,
                self._config.floors,
                config.pairs,
                lambda: self._checked(workspace.batches(workspace.search_table)),
                config.components,
            )
            units = self._work.candidate_units

            def objective(factors: np.ndarray) -> np.ndarray:
                value = fitness(factors)
                self._reporter.advance(units)
                return value

            for after in search(state, objective, config.generations):
                complete = after.history.generations == config.generations
                self._save("search", after, started, complete)
                self._report_generation(after.history)

    def _report_generation(self, history: SearchHistory) -> None:
        values = history.individual_fitness
        last, finite = values[-1], values[np.isfinite(values)]
        best = float(finite.min()) if len(finite) else float("inf")
        mean = float(last[np.isfinite(last)].mean()) if np.isfinite(last).any() else float("inf")
        bad = int((~np.isfinite(last)).sum())
        self._reporter.event(
            "generation",
            f"generation {history.generations} of {self._config.search.generations}: best so far {best:.4f}, "
            f"mean {mean:.4f}" + (f", {bad} without a finite fitness" if bad else ""),
            generation=history.generations,
            best=best,
            mean=mean,
        )

    def _scores(self) -> None:
        self._save("scores", self._given_scores, time.monotonic())

    def _ranking(self) -> None:
        started = time.monotonic()
        if "scores" in self._stages:
            scores = self._load("scores", PublishedScores).scores
        else:
            curvature, state = self._load("curvature", Curvature), self._load("search", SearchState)
            scores = final_scores(curvature, state.history.factors)
        self._save("ranking", rank(scores, self._config.floors), started)

    def _missing_points(self, table: Measurements | None) -> list[float]:
        return [s for s in self._work.path if table is None or table.find(*path_pair(s)) is None]

    def _evaluation(self) -> None:
        started = time.monotonic()
        workspace = self._workspace
        ranking = self._load("ranking", Ranking)
        entry = self._store.entry(self._run, "evaluation")
        table = self._load("evaluation", Measurements)
        if table is None:
            table = empty_table(workspace)
        else:
            started -= entry.seconds
        missing = self._missing_points(table)
        with Meter(workspace, ranking, self._reporter) as meter:
            for i, sparsity in enumerate(missing):
                measured = meter.measure(cut_at(ranking, *path_pair(sparsity)))
                table = table.with_row(measured)
                self._save("evaluation", table, started, complete=i + 1 == len(missing))
                top1 = "" if measured.top1 is None else f": top-1 {measured.top1:.1%}"
                self._reporter.event("point", f"sparsity {sparsity:.1%}{top1}", sparsity=sparsity)

    def _counted(self, batches: Iterator[torch.Tensor], units: float, axis: int = 0) -> Iterator[torch.Tensor]:
        """The batches, `units` reported for each image once the caller comes back for the next."""
        for batch in batches:
            self._reporter.check()
            yield batch
            self._reporter.advance(units * batch.shape[axis])

    def _checked(self, batches: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        for batch in batches:
            self._reporter.check()
            yield batch


KINDS: dict[str, type] = {
    "scores": PublishedScores,
    "curvature": Curvature,
    "cka": CkaMap,
    "search": SearchState,
    "ranking": Ranking,
    "evaluation": Measurements,
}
