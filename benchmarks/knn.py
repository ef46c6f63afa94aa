"""k-NN through FAISS."""

from __future__ import annotations

import numpy as np

from benchmarks.timing import Line, repeated
from snapvit.evaluation.knn import Knn

GALLERY, QUERIES, WIDTH, CLASSES, K = 10_000, 1000, 384, 10, 20
LARGE = 100_000  # images of a gallery that is searched in blocks


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


def large_gallery(repeats: int = 5) -> Line:
    """Naming 1,000 queries in a gallery of 100,000, block by block, beside one FAISS index of all of it.

    Raises AssertionError where the two find other neighbours, but for cosines that are equal to rounding.
    """
    import faiss

    rng = np.random.default_rng(0)
    gallery, asked = (rng.standard_normal((n, WIDTH), dtype=np.float32) for n in (LARGE, QUERIES))
    for rows in (gallery, asked):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    knn = Knn(gallery, rng.integers(CLASSES, size=LARGE), K)
    whole = faiss.IndexFlatIP(WIDTH)
    whole.add(gallery)
    cosines, near = whole.search(asked, K)
    found, similar = knn.neighbours(asked)
    np.testing.assert_allclose(similar, cosines, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(np.where(similar == cosines, found, 0), np.where(similar == cosines, near, 0))
    blocks = repeated(lambda: knn.predict(asked), repeats, warmup=1)
    one = repeated(lambda: whole.search(asked, K), repeats, warmup=1)
    return Line(
        subject="k-NN, gallery of 100,000",
        value=blocks.median,
        unit="s",
        target=0.5,  # ten times that of a tenth
        times=(("in blocks, search and vote", blocks), ("one FAISS index, search alone", one)),
        note=f"{QUERIES:,} queries on {LARGE:,} x {WIDTH}, k = {K}; the same neighbours",
    )
