"""A run along the paper's path, as the live slider shows it."""

from __future__ import annotations

from dataclasses import replace

from snapvit.browser.live_sparsity import LivePoint, LiveSparsity, LiveStep
from snapvit.elastic.ranking import cut_at
from snapvit.evaluation.knn import wilson_interval
from snapvit.pipeline.config import PATH_END, path_pair
from snapvit.pipeline.path import beside_full, chance, latency_of, measured_on_path, no_accuracy
from snapvit.pipeline.results import RunResults

STEPS = 190  # of half a percent


def live_data(results: RunResults) -> LiveSparsity:
    """Everything the live slider shows of a run with a ranking."""
    facts, steps = results.facts, []
    for i in range(STEPS + 1):
        sparsity = round(PATH_END * i / STEPS, 4)
        cut = cut_at(results.ranking, *path_pair(sparsity))
        costs = (facts.costs.params(cut), facts.costs.macs(cut))
        steps.append(LiveStep(sparsity, cut.mlp, cut.heads, *costs, cut.kept_neurons, cut.kept_heads))
    points = []
    for m in measured_on_path(results):
        low, high = (None, None) if m.hits is None else wilson_interval(m.hits, m.queries)
        pair, took = beside_full(results, m), latency_of(results, m)
        gain = (None, None, None) if pair is None else (pair.difference, pair.low, pair.high)
        times = (None, None) if took is None else (took.ms, took.ratio)
        points.append(LivePoint(m.cut.mlp, m.top1, low, high, m.cosine, *gain, *times))
    table = results.measurements
    other = measured_on_path(replace(results, correct=not results.correct))
    evaluation = results.request.config.evaluation
    return LiveSparsity(
        steps=tuple(steps),
        points=tuple(points),
        hidden=facts.topology.hidden,
        num_heads=facts.topology.heads,
        chance=chance(results),
        k=table.k if table else evaluation.k,
        queries=table.queries if table else evaluation.queries,
        accuracy_missing=no_accuracy(results),
        timed_here=results.timed_here,
        corrected=results.correct,
        other=tuple((m.cut.mlp, m.cosine if m.top1 is None else m.top1) for m in other),
    )
