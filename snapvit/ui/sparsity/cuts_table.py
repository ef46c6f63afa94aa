"""The measured cuts of the path as a table."""

from __future__ import annotations

import pandas as pd

from snapvit.evaluation.knn import wilson_interval
from snapvit.pipeline.path import beside_full, latency_of, measured_on_path
from snapvit.pipeline.results import RunResults
from snapvit.tables import Measurement


def cuts_table(results: RunResults) -> pd.DataFrame:
    """A row for each measured cut on the path, by sparsity; no accuracy where the images allow none."""
    return pd.DataFrame([_row(results, m) for m in measured_on_path(results)])


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
