"""The read side: what runs there are and what of each is finished. It imports no torch, so that pages start at once."""

from __future__ import annotations

from dataclasses import dataclass

from snapvit.artifacts import CkaMap, Curvature, Measurement, Measurements, Ranking, RunFacts, Scores, SearchHistory
from snapvit.elastic.ranking import final_scores
from snapvit.errors import InputError
from snapvit.method.search import SearchState
from snapvit.pipeline.config import NO_IMAGES, RunRequest
from snapvit.published.scores import PublishedScores
from snapvit.store.codec import decode
from snapvit.store.store import Manifest, Store

IMPORTED = "imported scores"  # the state of a run that has a ranking and nothing else


@dataclass(frozen=True)
class RunSummary:
    """One line of the list of runs."""

    run: str
    model: str
    data: str
    preset: str  # `scores` where the ranking comes from a file
    seed: int | None  # of the search; None where there is none
    state: str  # finished, unfinished, imported scores
    created: float  # seconds since 1970
    seconds: float  # spent on all stages so far
    done: tuple[str, ...]  # finished stages


@dataclass(frozen=True)
class RunResults:
    """Whatever of a run is there, finished or not."""

    summary: RunSummary
    request: RunRequest
    facts: RunFacts
    curvature: Curvature | None
    cka: CkaMap | None
    search: SearchHistory | None
    ranking: Ranking | None
    measurements: Measurements | None
    scores: PublishedScores | None = None  # of a run whose ranking comes from a file

    @property
    def ranked(self) -> bool:
        """Whether final scores and their order are known."""
        found = self.scores is not None or None not in (self.curvature, self.search)
        return found and self.ranking is not None

    @property
    def imported(self) -> bool:
        """Whether it holds published scores alone, without weights or images."""
        return self.request.data == NO_IMAGES

    @property
    def importance(self) -> Scores | Curvature | None:
        """The best that is known of what matters: final scores, before them the local curvature."""
        return self.final_scores if self.ranked else self.curvature

    @property
    def final_scores(self) -> Scores | None:
        """What the ranking orders: published scores, or curvature times the search's factors."""
        if self.scores is not None:
            return self.scores.scores
        if self.curvature is None or self.search is None:
            return None
        return final_scores(self.curvature, self.search.factors)


def list_runs(store: Store) -> list[RunSummary]:
    """Summaries of all readable runs, newest first."""
    summaries = []
    for run in store.runs():
        manifest = store.manifest(run)
        if manifest is not None and (request := _request_of(manifest, store)) is not None:
            summaries.append(_summary(manifest, request))
    return summaries


def load_results(store: Store, run: str) -> RunResults:
    """All artifacts of a run that are there and whole. Raises InputError where there is no such run."""
    manifest, request = known_run(store, run)
    state = store.load(run, "search", SearchState)
    return RunResults(
        summary=_summary(manifest, request),
        request=request,
        facts=manifest.facts,
        curvature=store.load(run, "curvature", Curvature),
        cka=store.load(run, "cka", CkaMap),
        search=state.history if state else None,
        ranking=store.load(run, "ranking", Ranking),
        measurements=store.load(run, "evaluation", Measurements),
        scores=store.load(run, "scores", PublishedScores),
    )


def load_ranking(store: Store, run: str) -> Ranking:
    """The ranking of a run. Raises InputError where the run has none yet."""
    known_run(store, run)
    ranking = store.load(run, "ranking", Ranking)
    if ranking is None:
        raise InputError(f"Run {run} has no ranking yet; finish it first, on the Run page or with `run`.")
    return ranking


def find_measurement(store: Store, run: str, mlp: float, heads: float) -> Measurement | None:
    """The stored measurement of this cut, if there is one."""
    table = store.load(run, "evaluation", Measurements)
    return None if table is None else table.find(mlp, heads)


def known_run(store: Store, run: str) -> tuple[Manifest, RunRequest]:
    """Manifest and request of a run. Raises InputError where there is no such run, naming those there are."""
    manifest = store.manifest(run)
    request = _request_of(manifest, store) if manifest else None
    if request is None:
        known = store.runs()
        hint = f"there are {', '.join(known[:5])}" if known else "the cache is empty; make one with `run`"
        raise InputError(f"There is no run named {run!r} in the cache; {hint}.")
    return manifest, request


def _request_of(manifest: Manifest, store: Store) -> RunRequest | None:
    try:
        return decode(RunRequest, {}, manifest.request)
    except (KeyError, TypeError, ValueError) as error:
        where = f"{manifest.run}/manifest.json"
        store.problems[where] = f"{where} cannot be used: its settings are not of this version ({error})."
        return None


def _summary(manifest: Manifest, request: RunRequest) -> RunSummary:
    done = tuple(s for s in request.stages if s in manifest.stages and manifest.stages[s].complete)
    whole = IMPORTED if request.data == NO_IMAGES else "finished"
    return RunSummary(
        run=manifest.run,
        model=manifest.facts.model if manifest.facts else request.model.label,
        data=request.data,
        preset=request.kind,
        seed=request.config.search.seed if request.scores is None else None,
        state=whole if done == request.stages else "unfinished",
        created=manifest.created,
        seconds=sum(entry.seconds for name, entry in manifest.stages.items() if name in request.stages),
        done=done,
    )
