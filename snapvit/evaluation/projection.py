"""UMAP (McInnes, Healy and Melville, 2018): features laid out in a plane, and laid out again after they changed.

The second layout starts from the first and is only refined, so that a point's way from one to the other means that its
features' neighbours changed. Fitting both at once (AlignedUMAP) was tried: it takes several times as long, blurs the
full model's layout, and makes it another one for every cut.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_matrix

from snapvit.artifacts import Floats
from snapvit.evaluation.knn import Nearest

NEIGHBOURS = 20  # of each image in UMAP's graph
MIN_DISTANCE = 0.1  # UMAP's own default
EPOCHS = 500  # of a layout from nothing, as UMAP does it for up to 10,000 points
REFINE_EPOCHS, REFINE_STEP = 200, 0.1  # gentle: a larger step shakes points whose neighbours did not change
LEAST = 4  # images; below that there is no spectral start

Tick = Callable[[float], None]


def lay_out(features: Floats, seed: int, tick: Tick = lambda share: None) -> Floats:
    """(N, 2) float32 layout of features (N, D) by cosine; the same for the same features and seed.

    `tick` is called with the share done, 0 to 1, every few epochs; what it raises stops the work.
    Raises ValueError for fewer than 4 images.
    """
    if len(features) < LEAST:
        raise ValueError(f"{len(features)} images cannot be laid out; at least {LEAST} are needed")
    from umap.umap_ import simplicial_set_embedding

    random = np.random.RandomState(seed)
    graph = _graph(features, random)
    layout, _ = simplicial_set_embedding(
        features,
        graph,
        n_components=2,
        initial_alpha=1.0,
        **_shape(),
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=EPOCHS,
        init="spectral",
        random_state=random,
        metric="euclidean",
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
        parallel=False,
        tqdm_kwds=_bar(tick, EPOCHS),
    )
    return layout


def refine(features: Floats, start: Floats, seed: int, tick: Tick = lambda share: None) -> Floats:
    """(N, 2) layout of features (N, D) in the plane of `start` (N, 2), another layout of the same images.

    UMAP's own descent, on one thread, from `start` as it is: `UMAP(init=start)` would stretch it to a square first.
    `tick` as in `lay_out`.
    """
    from umap.layouts import optimize_layout_euclidean
    from umap.umap_ import make_epochs_per_sample

    random = np.random.RandomState(seed)
    edges = _graph(features, random).tocoo()
    edges.data[edges.data < edges.data.max() / REFINE_EPOCHS] = 0  # too weak to be drawn once
    edges.eliminate_zeros()
    places = np.array(start, dtype=np.float32, order="C")
    bounds = np.iinfo(np.int32)
    return optimize_layout_euclidean(
        places,
        places,
        edges.row,
        edges.col,
        REFINE_EPOCHS,
        len(places),
        make_epochs_per_sample(edges.data, REFINE_EPOCHS),
        **_shape(),
        rng_state=random.randint(bounds.min, bounds.max, 3).astype(np.int64),
        initial_alpha=REFINE_STEP,
        parallel=False,
        tqdm_kwds=_bar(tick, REFINE_EPOCHS),
        move_other=True,
    )


def _graph(features: Floats, random: np.random.RandomState) -> csr_matrix:
    """UMAP's fuzzy graph of exact nearest neighbours; chords of unit rows grow as cosines fall."""
    from umap.umap_ import fuzzy_simplicial_set

    count = len(features)
    k = min(NEIGHBOURS, count - 1)
    rows, cosines = Nearest(features, k + 1).of(features)
    own = np.arange(count)[:, None]
    # An image is its own first neighbour, also where its copy came out before it.
    at = np.where((rows == own).any(axis=1), (rows == own).argmax(axis=1), k)[:, None]
    order = np.argsort(np.arange(k + 1)[None] == at, axis=1, kind="stable")[:, :k]
    others, cosines = np.take_along_axis(rows, order, axis=1), np.take_along_axis(cosines, order, axis=1)
    distances = np.sqrt(np.maximum(2 - 2 * cosines, 0))
    rows, distances = np.hstack([own, others]), np.hstack([np.zeros((count, 1)), distances]).astype(np.float32)
    return fuzzy_simplicial_set(
        features, k + 1, random, "euclidean", knn_indices=rows.astype(np.int32), knn_dists=distances
    )[0]


def _shape() -> dict[str, float]:
    """UMAP's curve of closeness over distance in the plane."""
    from umap.umap_ import find_ab_params

    a, b = find_ab_params(1.0, MIN_DISTANCE)
    return {"a": float(a), "b": float(b)}


def _bar(tick: Tick, epochs: int) -> dict[str, object]:
    return {"disable": False, "file": _Ticks(tick, epochs), "bar_format": "{n} ", "mininterval": 0.2, "miniters": 1}


class _Ticks:
    """Listens to UMAP's progress bar, its only way to say how far it is, as the file that the bar is written to."""

    def __init__(self, tick: Tick, epochs: int) -> None:
        self._tick, self._epochs = tick, epochs

    def write(self, text: str) -> None:
        """`\r`, a number of epochs and blanks."""
        if text.strip().isdecimal():
            self._tick(int(text) / self._epochs)

    def flush(self) -> None:
        """Nothing is kept back."""
