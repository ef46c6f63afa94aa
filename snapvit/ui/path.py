"""A run along the slider's path, as the live component and the curves want it."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from snapvit.data.fashion_mnist import BUNDLED
from snapvit.elastic.ranking import cut_at
from snapvit.evaluation.knn import wilson_interval
from snapvit.evaluation.paired import PairedComparison, answers_of, compare
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.config import PATH_END, path_pair
from snapvit.pipeline.results import RunResults
from snapvit.tables import Latency, Measurement
from snapvit.ui.components.live_sparsity import LivePoint, LiveSparsity, LiveStep

STEPS = 190  # of half a percent


def measured_rows(results: RunResults) -> list[Measurement]:
    """All measurements, in the order in which they were made."""
    table = results.measurements
    return [] if table is None else [table.row(i) for i in range(len(table))]


def measured_on_path(results: RunResults) -> list[Measurement]:
    """Measurements whose pair of sparsities is on the slider's path, by sparsity."""
    on_path = [
        m for m in measured_rows(results) if abs(path_pair(m.cut.mlp)[1] - m.cut.heads) < 1e-6 and m.cut.mlp <= PATH_END
    ]
    return sorted(on_path, key=lambda m: m.cut.mlp)


def cuts_table(results: RunResults) -> pd.DataFrame:
    """A row for each measured cut on the path, by sparsity; no accuracy where the images allow none."""
    return pd.DataFrame([_row(results, m) for m in measured_on_path(results)])


def beside_full(results: RunResults, m: Measurement) -> PairedComparison | None:
    """A measured cut beside the full model, on the same queries; None where either has no answers."""
    full = None if results.measurements is None else results.measurements.find(0.0, 0.0)
    if full is None or full.answers is None or m.answers is None:
        return None
    return compare(answers_of(full), answers_of(m))


def latency_of(results: RunResults, m: Measurement) -> Latency | None:
    """How long a measured cut takes, on the machine that `results.latencies` names."""
    return None if results.latencies is None else results.latencies.find(m.cut.mlp, m.cut.heads)


def _row(results: RunResults, m: Measurement) -> dict[str, float | None]:
    low, high = wilson_interval(m.hits, m.queries) if m.hits is not None else (None, None)
    pair, took = beside_full(results, m), latency_of(results, m)
    return {
        "MLP sparsity": m.cut.mlp,
        "Head sparsity": m.cut.heads,
        "Top-1": m.top1,
        "95 % low": low,
        "95 % high": high,
        "Less than the full model": None if pair is None else -pair.difference,
        "Less, 95 % low": None if pair is None else -pair.high,
        "Less, 95 % high": None if pair is None else -pair.low,
        "McNemar p": None if pair is None else pair.p_value,
        "Cosine": m.cosine,
        "Parameters": m.params,
        "MACs": m.macs,
        "Latency (ms)": None if took is None else took.ms,
        "Latency, share of full": None if took is None else took.ratio,
    }


def chance(results: RunResults) -> float | None:
    """Accuracy of guessing among equally frequent classes."""
    return 1 / len(results.facts.classes) if results.facts.classes else None


def no_accuracy(results: RunResults) -> str | None:
    """Why this run has no k-NN accuracy and will have none, as the beginning of a sentence; None where it has."""
    return "It holds no images" if results.imported else results.facts.accuracy_missing


def never_seen(results: RunResults) -> bool:
    """Whether it is known that the model was not trained on these images: the bundled model on the bundled images."""
    return results.request.model == ModelSpec() and results.request.data == BUNDLED


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
