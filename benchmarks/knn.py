"""k-NN through FAISS."""

from __future__ import annotations

import numpy as np

from benchmarks.timing import Line, repeated
from snapvit.evaluation.knn import Knn

GALLERY, QUERIES, WIDTH, CLASSES, K = 10_000, 1000, 384, 10, 20


def queries(repeats: int = 30) -> Line:
    """Naming 1,000 queries, search and vote, with the index built before. Building is timed beside it."""
    rng = np.random.default_rng(0)
    gallery, asked = (rng.standard_normal((n, WIDTH), dtype=np.float32) for n in (GALLERY, QUERIES))
    labels = rng.integers(CLASSES, size=GALLERY)
    knn = Knn(gallery, labels, K)
    named = repeated(lambda: knn.predict(asked), repeats, warmup=3)
    searched = repeated(lambda: knn.neighbours(asked), repeats)
    built = repeated(lambda: Knn(gallery, labels, K).predict(asked), repeats)
    return Line(
        subject="k-NN, FAISS",
        value=1000 * named.median,
        unit="ms",
        target=50.0,
        times=(("search and vote", named), ("search alone", searched), ("with building the index", built)),
        note=f"{QUERIES:,} queries on {GALLERY:,} x {WIDTH}, k = {K}",
    )
