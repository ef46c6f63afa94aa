"""The search for factors, and what its correlations would be by chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import Curvature, Doubles, Floats, LayerStatistics, NullSearch, SearchHistory, Topology
from snapvit.elastic.ranking import final_scores, rank
from snapvit.method.agreement import correlation_of
from snapvit.method.search import SearchState, rewound, search, start_mean, start_search
from snapvit.method.xnes import default_population
from snapvit.pipeline.config import CorrectionConfig, RunRequest
from snapvit.pipeline.effort import Effort, Units, pass_share
from snapvit.pipeline.stage import Arg, Context, Stage
from snapvit.ranks.ranks import dealt

if TYPE_CHECKING:
    from snapvit.method.fitness import Fitness
    from snapvit.pipeline.progress import Reporter
    from snapvit.pipeline.workspace import Workspace

REPLAYS, LEAST_REPLAYS = 200, 40  # of the search under random ranks
REPLAYED = 200  # structures, up to which there are that many; all replays are in memory together


def _parents(request: RunRequest) -> tuple[str, ...]:
    config = request.config.search
    start = () if config.start == "identity" else (config.start,)
    return ("model", "images.search", "curvature", *start, *(("correction",) if config.fitness == "corrected" else ()))


def _start(context: Context[SearchState]) -> SearchState:
    """The search before its first generation."""
    config, covariance = context.request.config.search, None
    if config.start != "identity":
        from snapvit.method.cka import nearest_correlation

        covariance = nearest_correlation(_start_map(context))
    mean = start_mean(context.workspace.topology)
    return start_search(mean, covariance, config.population, len(config.pairs), config.seed)


def _start_map(context: Context[SearchState]) -> Floats | Doubles:
    """(S, S) what the covariance starts from."""
    if context.request.config.search.start == "cka":
        return context.parent("cka").values
    correlation = correlation_of(context.parent("displacement").inner)
    # a structure that moves nothing depends on no other
    return np.where(np.isfinite(correlation), correlation, np.eye(len(correlation)))


def _begin(context: Context[SearchState]) -> SearchState:
    """The state to go on from: what is there already of this search, or its start."""
    found, generations = context.beginning, context.request.config.search.generations
    if found is None:
        return _start(context)
    if found.history.generations > generations:
        context.reporter.event("note", f"the first {generations} generations of a longer search are taken")
        return rewound(_start(context), found, generations)
    context.reporter.event("note", f"search goes on after generation {found.history.generations}")
    return found


def _compute(context: Context[SearchState]) -> Iterator[SearchState]:
    workspace, config = context.workspace, context.request.config
    state = _begin(context)
    if state.history.generations:
        yield state
    if state.history.generations == config.search.generations:
        return
    with judging(
        workspace, context.parent("curvature"), partial(context.parent, "correction"), context.reporter
    ) as fit:
        for after in search(state, fit, config.search.generations, partial(_judged, context)):
            yield after
            _report_generation(context, after.history)


@contextmanager
def judging(
    workspace: Workspace, curvature: Curvature, statistics: Callable[[], LayerStatistics], reporter: Reporter
) -> Iterator[Fitness]:
    """What a search judges factors with, on the search images of the workspace's request.

    statistics: called where it judges cuts with corrected weights. Their correction has its usual form and damping,
    whatever the run's, as any other would have to be part of the search's key.
    """
    from snapvit.elastic.correction import ElasticCorrection
    from snapvit.method.fitness import Fitness

    config, correction = workspace.request.config, None
    local = rank(final_scores(curvature, np.ones(workspace.topology.structures)), config.floors)
    if config.search.fitness == "corrected":
        usual, orders = CorrectionConfig(), (local.neuron_order(), local.head_order())
        correction = ElasticCorrection(statistics(), *orders, usual.damping, usual.share)
    with workspace.elastic(local, correction) as elastic:
        yield Fitness(
            elastic,
            curvature,
            config.floors,
            config.search.pairs,
            lambda: reporter.heeding(workspace.batches(workspace.table("search"))),
            config.search.components,
            config.precision,
        )


def _judged(context: Context[SearchState], fitness: Callable[..., Doubles], individuals: Doubles) -> Doubles:
    """(p, P) fitness of individuals (p, S) at the sparsity pairs, which processes share out among them."""
    ranks, pairs = context.workspace.ranks, context.request.config.search.pairs
    individuals = ranks.agreed(individuals)  # another kind of processor may round otherwise
    passes = [pass_share(*pair) for pair in pairs]
    shares = dealt(passes * len(individuals), ranks.size)
    values = np.empty(len(individuals) * len(pairs))
    for number, individual in enumerate(individuals):
        own = [item for item in shares[ranks.rank] if item // len(pairs) == number]
        if own:
            at = [item % len(pairs) for item in own]
            values[own] = fitness(individual, at)
            context.reporter.advance(context.workspace.effort.search_images * sum(passes[pair] for pair in at))
    ranks.complete(values, shares)
    return values.reshape(len(individuals), len(pairs))


def _report_generation(context: Context[SearchState], history: SearchHistory) -> None:
    values = history.individual_fitness
    last, finite = values[-1], values[np.isfinite(values)]
    best = float(finite.min()) if len(finite) else float("inf")
    mean = float(last[np.isfinite(last)].mean()) if np.isfinite(last).any() else float("inf")
    bad = int((~np.isfinite(last)).sum())
    context.reporter.event(
        "generation",
        f"generation {history.generations} of {context.request.config.search.generations}: best so far {best:.4f}, "
        f"mean {mean:.4f}" + (f", {bad} without a finite fitness" if bad else ""),
        generation=history.generations,
        best=best,
        mean=mean,
    )


def _units(effort: Effort, _: Mapping[str, Arg], beginning: SearchState | None) -> Units:
    config = effort.config.search
    done = 0 if beginning is None else beginning.history.generations
    population = config.population or default_population(effort.topology.structures)
    missing = max(0, config.generations - done)
    passes = missing * population * effort.candidate_units
    return Units(passes=passes, set_up=effort.search_images, decoded=effort.search_images)


def _fits(found: SearchState, topology: Topology) -> bool:
    history, size = found.history, topology.structures
    steps, population = len(history.mixings), history.individuals.shape[1]
    whole = history.covariances.shape == (history.generations + 1 - steps, size, size)
    return history.factors.shape == (size,) and whole and history.mixings.size == steps * population**2


SEARCH = Stage(
    name="search",
    kind=SearchState,
    title="Search",
    parents=_parents,
    settings=(
        "search.generations",
        "search.population",
        "search.pairs",
        "search.components",
        "search.start",
        "search.fitness",
        "search.seed",
        "floors",
        "precision",
    ),
    extent=("search.generations",),
    schema=2,  # 2: a floor above 0 protects at least one structure of each block
    compute=_compute,
    units=_units,
    fits=_fits,
    grows=True,
    shared=True,
)


def replays_of(structures: int) -> int:
    """How often a search of so many structures is replayed: what one takes grows with their square, and more."""
    return min(REPLAYS, max(LEAST_REPLAYS, REPLAYS * REPLAYED // structures))


def _compute_null(context: Context[NullSearch]) -> Iterator[NullSearch]:
    from snapvit.method.null_search import null_search

    history, seed = context.parent("search").history, context.request.config.search.seed
    seen = replace(history, fitness=history.fitness[: int(context.args["generations"])])
    yield null_search(
        seen, seed, replays_of(len(seen.factors)), lambda _: context.reporter.advance(1.0), context.reporter.check
    )


NULL_SEARCH = Stage(
    name="null-search",
    kind=NullSearch,
    title="Replays of the search under random ranks",
    parents=("search",),
    args={"generations": int},  # a search that is under way keeps its key
    compute=_compute_null,
    units=lambda effort, args, beginning: Units(passes=int(args["generations"]) + 1),
    fits=lambda found, topology: found.eigen_low.shape[1] == topology.structures,
)
