"""A run along the slider's path: what is measured there, beside the full model, and what cannot be measured."""

from __future__ import annotations

from dataclasses import replace

from snapvit.data.fashion_mnist import BUNDLED
from snapvit.evaluation.paired import PairedComparison, answers_of, compare
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.config import PATH_END, path_pair
from snapvit.pipeline.results import RunResults
from snapvit.tables import Latency, Measurement


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


def both_ways(results: RunResults) -> list[tuple[Measurement, Measurement]]:
    """Cuts on the slider's path that are measured as they are and with corrected weights, by sparsity."""
    as_cut, corrected = (measured_on_path(replace(results, correct=correct)) for correct in (False, True))
    after = {m.cut.mlp: m for m in corrected}
    return [(m, after[m.cut.mlp]) for m in as_cut if m.cut.mlp in after]


def beside_full(results: RunResults, m: Measurement) -> PairedComparison | None:
    """A measured cut beside the full model, on the same queries; None where either has no answers."""
    full = None if results.measurements is None else results.measurements.find(0.0, 0.0)
    if full is None or full.answers is None or m.answers is None:
        return None
    return compare(answers_of(full), answers_of(m))


def latency_of(results: RunResults, m: Measurement) -> Latency | None:
    """How long a measured cut takes, on the machine that `results.latencies` names."""
    return None if results.latencies is None else results.latencies.find(m.cut.mlp, m.cut.heads)


def chance(results: RunResults) -> float | None:
    """Accuracy of guessing among equally frequent classes."""
    return 1 / len(results.facts.classes) if results.facts.classes else None


def no_accuracy(results: RunResults) -> str | None:
    """Why this run has no k-NN accuracy and will have none, as the beginning of a sentence; None where it has."""
    return "It holds no images" if results.imported else results.facts.accuracy_missing


def never_seen(results: RunResults) -> bool:
    """Whether it is known that the model was not trained on these images: the bundled model on the bundled images."""
    return results.request.model == ModelSpec() and results.request.data == BUNDLED
