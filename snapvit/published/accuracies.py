"""The authors' published k-NN accuracies: facts that ship with the explorer, to stand beside its own measurements."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from snapvit.published.models import PAPER_MODELS
from snapvit.published.scores import PublishedScores

TABLE = Path(__file__).parents[1] / "assets" / "published_knn.csv"
CALIBRATION = "imagenet-1k"  # what the scores behind the table were computed on


@dataclass(frozen=True)
class PublishedAccuracy:
    """One number of the table."""

    model: str  # as the table calls it
    mlp: float  # share of neurons removed
    heads: float
    dataset: str
    top1: float  # share, of k-NN with k = 20


@cache
def published_table() -> tuple[PublishedAccuracy, ...]:
    """All rows, in the file's order."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(
            PublishedAccuracy(
                row["model"],
                float(row["mlp_sparsity"]),
                float(row["head_sparsity"]),
                row["dataset"],
                float(row["knn_top1_percent"]) / 100,
            )
            for row in csv.DictReader(file)
        )


def published_accuracies(scores: PublishedScores) -> list[PublishedAccuracy]:
    """What the authors measured with these scores; empty where their table has no such model or other scores."""
    model = PAPER_MODELS.get(scores.model_type)
    if model is None or scores.metadata.get("pruning_dataset") != CALIBRATION:
        return []
    return [row for row in published_table() if row.model == model.table_name]
