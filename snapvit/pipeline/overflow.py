"""Weights can be finite and what they make of an image not: said after the first stage that sees it, kept by none."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from snapvit.errors import InputError

# Tables without which nothing follows, by the stage that finds them; elsewhere a number that is not finite is a result.
ALWAYS_FINITE = {
    "curvature": ("mlp", "head"),
    "cka": ("values",),
    "search": ("history.factors", "history.means", "history.covariances", "history.mixings"),
}


def not_finite(stage: str, artifact: Any) -> tuple[int, int]:
    """How many numbers of the tables above are not finite, and how many there are."""
    tables = [attrgetter(name)(artifact) for name in ALWAYS_FINITE.get(stage, ())]
    return sum(int((~np.isfinite(table)).sum()) for table in tables), sum(table.size for table in tables)


def check_overflow(stage: str, within: str, model: str, artifact: Any) -> None:
    """Raise InputError where numbers of what a stage has found are not finite.

    within: the stage's name inside a sentence. model: what to call the model.
    """
    bad, count = not_finite(stage, artifact)
    if bad:
        raise InputError(
            f"The activations of {model} overflow: {bad:,} of the {count:,} numbers of its {within} are not finite in "
            "float32, although all its weights are; look for a block whose weights are far larger than the others'."
        )
