"""Published scores as runs: imported from a file without weights, found in the cache, or exported from a run.

No torch at load: only naming an imported file's costs builds its architecture, on no device and without weights.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from snapvit.artifacts import CostModel, RunFacts, Scores, Topology
from snapvit.elastic.ranking import rank
from snapvit.errors import InputError
from snapvit.models.spec import ModelSpec, canonical_model
from snapvit.pipeline.config import NO_IMAGES, RunConfig, RunRequest
from snapvit.pipeline.nodes import request_nodes
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stages.ranking import RANKING, SCORES
from snapvit.pipeline.table import key_of
from snapvit.published.models import PAPER_MODELS, paper_name
from snapvit.published.scores import PublishedScores, write_scores
from snapvit.store.codec import encode
from snapvit.store.store import Store


@dataclass(frozen=True)
class Architecture:
    """What is known of the model that a score file is of."""

    spec: ModelSpec  # a timm model, or the file's own name for one that is not known
    topology: Topology
    costs: CostModel | None  # None: the architecture is not known


def import_scores(store: Store, published: PublishedScores, model: str | None = None) -> str:
    """Make a run without weights or images of published scores and return its name; an existing one is kept.

    `model` names the timm architecture where the file does not. Raises InputError where it does not fit the scores.
    """
    started = time.monotonic()
    architecture = _architecture(published, model)
    request = RunRequest(architecture.spec, NO_IMAGES, RunConfig(floors=published.floors), published.digest)
    facts = RunFacts(architecture.spec.name, NO_IMAGES, architecture.topology, architecture.costs, classes=())
    ranking, nodes = rank(published.scores, published.floors), request_nodes(request)
    with store.computing(request.run):
        store.create(request.run, encode(request)[1], facts, nodes)
        for stage, artifact in ((SCORES, published), (RANKING, ranking)):
            seconds, started = time.monotonic() - started, time.monotonic()
            store.save(request.run, stage.name, key_of(stage, request, nodes), artifact, True, seconds)
    return request.run


def cached_scores(store: Store, request: RunRequest) -> PublishedScores:
    """The published scores that a request names, from whichever run has them. Raises InputError where none has."""
    key = key_of(SCORES, request, request_nodes(request))
    for manifest in store.manifests():
        found = store.load(manifest.run, SCORES.name, PublishedScores, key)
        if found is not None:
            return found
    raise InputError(
        f"The published scores of {request.run} are not in the cache; start it again from their file, with "
        "`python -m snapvit run --scores FILE`."
    )


def differs_from(published: PublishedScores, model: str) -> str | None:
    """The model that the scores say they are of, where that is another one than `model`."""
    known = PAPER_MODELS.get(published.model_type)
    names = {published.model_type} | ({known.timm} if known else set())
    return None if model in names else published.model_type


def export_scores(results: RunResults, path: Path, force: bool = False) -> PublishedScores:
    """Write a run's final scores in the authors' layout. Raises InputError where it has none, or for the file."""
    scores = results.final_scores
    if scores is None:
        raise InputError(f"Run {results.summary.run} has no final scores yet; finish it first.")
    published = results.scores or _published(results, scores)
    write_scores(replace(published, floors=results.request.config.floors), path, force)
    return published


def _published(results: RunResults, scores: Scores) -> PublishedScores:
    request, topology, costs = results.request, results.facts.topology, results.facts.costs
    spec, config = request.model, request.config
    # A neuron of a gated MLP has a row in two layers and a column in a third; of a plain one, one of each.
    gated = costs is not None and costs.neuron_params >= 3 * topology.width
    metadata = {
        "source": "SnapViT explorer",
        "run": results.summary.run,
        "pruning_dataset": results.facts.data,
        "method": config.ranking.method,
        "seed": config.seed,
    }
    if results.searches:
        metadata |= {
            "curvature": config.curvature.criterion,
            "max_samples": config.curvature.images,
            "ga_optimizer": "xnes",
            "ga_max_function_evaluations": results.search.fitness.shape[0] * results.search.fitness.shape[1],
        }
    own_weights = spec.checkpoint is None and spec.image_size is None
    return PublishedScores(
        scores=scores,
        floors=config.floors,
        model_type=(paper_name(spec.name) if own_weights else None) or spec.name,
        mlp_kind="swiglu" if gated else "standard",
        width=topology.width,
        head_width=topology.head_width,
        metadata=metadata,
        digest="",
    )


def _architecture(published: PublishedScores, model: str | None) -> Architecture:
    known = PAPER_MODELS.get(published.model_type)
    spec = ModelSpec(canonical_model(model) if model else published.model_type)
    if model is None and known is not None:
        spec = ModelSpec(known.timm, image_size=known.image_size)
    try:
        topology, costs = _build(spec)
        published.check_fit(topology, spec.name)
    except InputError:
        if model is not None:
            raise
        return Architecture(spec, published.topology, None)
    return Architecture(spec, topology, costs)


def _build(spec: ModelSpec) -> tuple[Topology, CostModel]:
    """Counts and costs of an architecture, without its weights. Raises InputError where it is not known."""
    from snapvit.elastic.cost import cost_model
    from snapvit.models.loading import build_without_weights

    model, anatomy = build_without_weights(spec)
    return anatomy.topology, cost_model(model, anatomy)
