"""Linear probe: what a linear classifier reads out of the embeddings of labelled images."""

from __future__ import annotations

import warnings

import numpy as np

from snapvit.artifacts import Floats, Ints

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # inverse regularisation, of standardised embeddings
HELD_OUT = 0.25  # of the gallery, on which the strength is chosen
STEPS = 200


def probe_predictions(gallery: Floats, labels: Ints, queries: Floats, seed: int = 0) -> Ints:
    """Class of each query (M,) by multinomial logistic regression on gallery (N, D) with labels (N,).

    Embeddings are standardised by the gallery. The regularisation is the one of STRENGTHS that names most of a
    stratified, seeded quarter of the gallery right, the strongest of equals, and the probe is then fitted to all of it.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    scaler = StandardScaler().fit(gallery)
    x, asked = scaler.transform(gallery), scaler.transform(queries)
    stratify = labels if np.unique(labels, return_counts=True)[1].min() > 1 else None
    parts = train_test_split(x, labels, test_size=HELD_OUT, random_state=seed, stratify=stratify)
    fit_x, held_x, fit_y, held_y = parts

    def fitted(strength: float, rows: Floats, names: Ints) -> LogisticRegression:
        # One thread: on products this small more of them wait for one another, ten times longer on a busy machine.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last steps change no answer worth waiting for
            return LogisticRegression(C=strength, max_iter=STEPS).fit(rows, names)

    right = [float(fitted(strength, fit_x, fit_y).score(held_x, held_y)) for strength in STRENGTHS]
    best = STRENGTHS[int(np.argmax(right))]
    return fitted(best, x, labels).predict(asked)
