"""The read side: what runs there are and what of each is finished. It imports no torch, so that pages start at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from snapvit.artifacts import CkaMap, Curvature, Doubles, Ranking, RunFacts, Scores, SearchHistory
from snapvit.devices import CPU, timing_machine
from snapvit.errors import InputError
from snapvit.pipeline.config import NO_IMAGES, RunConfig, RunRequest
from snapvit.pipeline.methods import METHODS, Method, scores_of
from snapvit.pipeline.overflow import not_finite
from snapvit.pipeline.stage import Arg, Args, Stage, Want
from snapvit.pipeline.stages.cka import CKA
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.pipeline.stages.ranking import RANKING, SCORES
from snapvit.pipeline.stages.search import SEARCH
from snapvit.pipeline.table import TABLE, is_whole, key_of, main_stages, of_cut
from snapvit.published.scores import PublishedScores
from snapvit.store.codec import decode
from snapvit.store.manifest import MANIFEST, FormerRun, Manifest
from snapvit.store.store import Store
from snapvit.tables import Latencies, Measurement, Measurements

A = TypeVar("A")
FINISHED, UNFINISHED = "finished", "unfinished"
IMPORTED = "imported scores"  # the state of a run that has a ranking and nothing else
FORMER = "earlier version"  # of a run whose results this version cannot read; it can be computed again


@dataclass(frozen=True)
class StoredRun:
    """A run as it is on disk at one moment."""

    store: Store
    manifest: Manifest
    request: RunRequest

    @classmethod
    def open(cls, store: Store, run: str) -> StoredRun:
        """Raises InputError where there is no such run, naming those there are."""
        manifest = store.manifest(run)
        request = _own_request(store, manifest) if manifest else None
        if request is None:
            known = [found.run for found in store.manifests()]
            hint = f"there are {', '.join(known[:5])}" if known else "the cache is empty; make one with `run`"
            if any(former.run == run for former in store.former()):
                hint = "only what an earlier version of the explorer computed under that name; compute it again"
            raise InputError(f"There is no run named {run!r} in the cache; {hint}.")
        return cls(store, manifest, request)

    def load(self, stage: Stage[A], *args: Arg) -> A | None:
        """What is there of the artifact, whole or not; None where it is absent, damaged, or of another model, other
        images or another version."""
        key = key_of(stage, self.request, self.manifest.nodes, args)
        if key is None:
            return None
        topology = self.manifest.facts.topology if self.manifest.facts else None

        def fits(artifact: A) -> bool:
            return (topology is None or stage.fits(artifact, topology)) and not not_finite(stage.name, artifact)[0]

        return self.store.load(self.manifest.run, stage.entry_name(args), stage.kind, key, fits)

    def need(self, stage: Stage[A], *args: Arg) -> A:
        """The artifact. Raises InputError where the run has none yet."""
        found = self.load(stage, *args)
        if found is None:
            raise InputError(
                f"Run {self.manifest.run} has no {stage.within(args)} yet; finish it first, on the Run page or with "
                "`run`."
            )
        return found

    def is_whole(self, stage: Stage[Any], *args: Arg) -> bool:
        """Whether the artifact is there and finished."""
        return is_whole(self.manifest, self.request, Want(stage, args))

    def asked(self, stage: Stage[Any]) -> list[Args]:
        """Arguments for which the run holds this stage whole, sorted."""
        found = [args for name in self.manifest.entries if (args := stage.asked_for(name)) is not None]
        return sorted(args for args in found if self.is_whole(stage, *args))

    def seconds(self, stage: Stage[Any], *args: Arg) -> float:
        """Spent on the artifact so far."""
        entry = self.manifest.entries.get(stage.entry_name(args))
        return entry.seconds if entry else 0.0

    def measurement(self, mlp: float, heads: float, correct: bool = False) -> Measurement | None:
        """The stored measurement of this cut, if there is one; of the cut with corrected weights on request."""
        table = self.load(of_cut(EVALUATION, correct))
        return None if table is None else table.find(mlp, heads)

    def summary(self) -> RunSummary:
        """One line of the list of runs."""
        manifest, request = self.manifest, self.request
        stages = [stage for stage in main_stages(request) if not stage.passing]
        done = tuple(stage.name for stage in stages if self.is_whole(stage))
        whole = IMPORTED if request.data == NO_IMAGES else FINISHED
        return RunSummary(
            run=manifest.run,
            model=manifest.facts.model if manifest.facts else request.model.label,
            data=request.data,
            preset=request.kind,
            seed=request.config.seed if request.scores is None else None,
            state=whole if len(done) == len(stages) else UNFINISHED,
            created=manifest.created,
            seconds=sum(self.seconds(stage) for stage in stages),
            done=done,
            name=manifest.name,
            arithmetic=tuple(
                said
                for said, usual in ((request.device, CPU), (request.config.precision, RunConfig.precision))
                if said != usual
            ),
        )


@dataclass(frozen=True)
class RunSummary:
    """One line of the list of runs."""

    run: str
    model: str
    data: str
    preset: str  # `scores` where the ranking comes from a file
    seed: int | None  # of what the method draws; None where it draws nothing
    state: str  # finished, unfinished, imported scores, earlier version
    created: float  # seconds since 1970
    seconds: float  # spent on all stages so far
    done: tuple[str, ...]  # finished stages
    name: str = ""  # that a person gave it
    arithmetic: tuple[str, ...] = ()  # the kind of device and the precision, where they are not `cpu` and `float32`


@dataclass(frozen=True)
class RunResults:
    """Whatever of a run's main stages is there, finished or not."""

    stored: StoredRun
    summary: RunSummary
    facts: RunFacts
    curvature: Curvature | None
    cka: CkaMap | None
    search: SearchHistory | None
    final_scores: Scores | None  # what the ranking orders
    ranking: Ranking | None
    as_cut: Measurements | None
    corrected: Measurements | None  # with corrected weights
    latencies: Latencies | None  # on this machine, else on the one where most was measured
    scores: PublishedScores | None = None  # of a run whose ranking comes from a file
    correct: bool = False  # whether cuts are to be looked at with corrected weights

    @property
    def measurements(self) -> Measurements | None:
        """Of the cuts as they are to be looked at."""
        return self.corrected if self.correct else self.as_cut

    def load_cut(self, stage: Stage[A], *args: Arg) -> A | None:
        """An artifact of a cut, as it is to be looked at; None where it is not there."""
        return self.stored.load(of_cut(stage, self.correct), *args)

    @property
    def request(self) -> RunRequest:
        """What was asked for."""
        return self.stored.request

    @property
    def ranked(self) -> bool:
        """Whether final scores and their order are known."""
        return self.final_scores is not None and self.ranking is not None

    @property
    def method(self) -> Method | None:
        """What ranks this run; None for published scores."""
        return METHODS[self.request.config.ranking.method] if self.request.scores is None else None

    @property
    def searches(self) -> bool:
        """Whether its ranking is made by a search."""
        return self.method is not None and SEARCH.name in self.method.stages

    @property
    def correlated(self) -> SearchHistory | Ranking | None:
        """What there must be before its structures' dependence can be looked at: a search, or a ranking without."""
        return None if self.method is None else self.search if self.searches else self.ranking

    @property
    def taught(self) -> Curvature | Scores | None:
        """The first of its method's steps; None where the run has not come so far, or scores alone were imported."""
        return None if self.method is None else self.curvature if self.searches else self.final_scores

    @property
    def imported(self) -> bool:
        """Whether it holds published scores alone, without weights or images."""
        return self.request.data == NO_IMAGES

    @property
    def importance(self) -> Scores | Curvature | None:
        """The best that is known of what matters: final scores, before them the local curvature."""
        return self.final_scores if self.ranked else self.curvature

    @property
    def head_measures(self) -> dict[str, Doubles]:
        """(L, H) of every measure of a head's importance that there is, in the order of the method: the local
        curvature times the search's factor is the score."""
        found, topology = {}, self.facts.topology
        if self.curvature is not None and (self.searches or not self.ranked):
            found["local"] = self.curvature.head.astype(np.float64)
        if self.search is not None:
            found["factor"] = self.search.factors[topology.blocks :].reshape(topology.blocks, topology.heads)
        if self.ranked:
            found["score"] = self.final_scores.head
        return found

    @property
    def timed_here(self) -> bool:
        """Whether the latencies are this machine's."""
        return self.latencies is not None and self.latencies.machine == timing_machine(self.request.device)


def computed_on(stored: StoredRun) -> str:
    """For people: `NVIDIA H200 (cuda:0) in float32`."""
    facts, request = stored.manifest.facts, stored.request
    return f"{(facts.device if facts else '') or request.device.upper()} in {request.config.precision}"


def list_runs(store: Store) -> list[RunSummary]:
    """Summaries of all readable runs and of those that an earlier version left, newest first.

    Pages ask at every rerun, so a summary is made again only where the store read the manifest anew.
    """
    known = _SUMMARIES.get(store, {})
    found: dict[str, tuple[Manifest | FormerRun, RunSummary | None]] = {}
    for manifest in (*store.manifests(), *store.former()):
        before, summary = known.get(manifest.run, (None, None))
        if manifest is not before:
            summary = _summary_of(store, manifest)
        found[manifest.run] = (manifest, summary)
    _SUMMARIES[store] = found
    return sorted((s for _, s in found.values() if s is not None), key=lambda summary: -summary.created)


_SUMMARIES: WeakKeyDictionary[Store, dict[str, tuple[Manifest | FormerRun, RunSummary | None]]] = WeakKeyDictionary()


def _summary_of(store: Store, manifest: Manifest | FormerRun) -> RunSummary | None:
    if isinstance(manifest, Manifest):
        request = _own_request(store, manifest)
        return None if request is None else StoredRun(store, manifest, request).summary()
    request = _request_of(store, manifest.run, manifest.request)
    if request is None:
        return None
    seed = request.config.seed if request.scores is None else None
    return RunSummary(
        manifest.run, request.model.label, request.data, request.kind, seed, FORMER, manifest.created, 0.0, ()
    )


def former_request(store: Store, run: str) -> RunRequest | None:
    """What a run of an earlier version was asked for, so that it can be computed again; None for no such run."""
    former = next((former for former in store.former() if former.run == run), None)
    return None if former is None else _request_of(store, run, former.request)


def load_results(store: Store, run: str) -> RunResults:
    """All main artifacts of a run that are there and sound. Raises InputError where there is no such run."""
    stored = StoredRun.open(store, run)
    request, state, scores = stored.request, stored.load(SEARCH), stored.load(SCORES)
    parts: dict[str, Any] = {"search": state}
    for name in METHODS[request.config.ranking.method].stages:
        parts.setdefault(name, stored.load(TABLE[name]))
    return RunResults(
        stored=stored,
        summary=stored.summary(),
        facts=stored.manifest.facts,
        curvature=parts.get("curvature"),
        cka=stored.load(CKA),
        search=state.history if state else None,
        final_scores=scores_of(request.config.ranking.method, parts.get) if scores is None else scores.scores,
        ranking=stored.load(RANKING),
        as_cut=stored.load(EVALUATION),
        corrected=stored.load(of_cut(EVALUATION, True)),
        latencies=_latencies(stored),
        scores=scores,
    )


def _latencies(stored: StoredRun) -> Latencies | None:
    own = stored.load(LATENCY, timing_machine(stored.request.device).id)
    if own is not None:
        return own
    names = [args for entry in stored.manifest.entries if (args := LATENCY.asked_for(entry)) is not None]
    found = [table for args in names if (table := stored.load(LATENCY, *args)) is not None]
    return max(found, key=len, default=None)


def _own_request(store: Store, manifest: Manifest) -> RunRequest | None:
    """What the run was asked for; None, then reported, where its settings are not those that its name stands for."""
    request = _request_of(store, manifest.run, manifest.request)
    if request is not None and request.run != manifest.run:
        where = f"{manifest.run}/{MANIFEST}"
        store.report(where, f"{where} cannot be used: its settings are those of another run, {request.run}.")
        return None
    return request


def _request_of(store: Store, run: str, content: Mapping[str, Any]) -> RunRequest | None:
    try:
        return decode(RunRequest, {}, dict(content))
    except (KeyError, TypeError, ValueError) as error:
        where = f"{run}/{MANIFEST}"
        store.report(where, f"{where} cannot be used: its settings are not of this version ({error}).")
        return None
