"""Answers of queries that a test makes up, put into a stored run: by pixels alone, and by random cuts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from stage_samples import put

from snapvit.data.sources import open_images
from snapvit.data.splits import split_source
from snapvit.evaluation.paired import answers_of, pack_answers
from snapvit.image_artifacts import PixelAnswers
from snapvit.pipeline.results import load_results
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.pipeline.stages.pixel_knn import PIXEL_KNN
from snapvit.store.store import Store
from snapvit.tables import Comparison, Measurements

SEEDS = 3
POINTS = ((0.35, 0.2), (0.65, 0.5), (0.8, 0.65), (0.95, 0.8))


def put_pixels(store: Store, run: str, seed: int = 0) -> PixelAnswers:
    """Three of four queries named right; the queries are the run's own."""
    results = load_results(store, run)
    source = open_images(results.facts.data, None, None, cache=store.root)
    ids = split_source(source, results.request.config.split_seed).query[: results.measurements.queries]
    right = np.random.default_rng(seed).random(len(ids)) < 0.75
    found = PixelAnswers(ids, source.labels[ids].astype(np.int64), pack_answers(right), 28)
    put(store, run, PIXEL_KNN, found)
    return found


def put_random(store: Store, run: str, lost: int = 100) -> Comparison:
    """Cuts of the contender `random` that answer as the run's own do, but for `lost` more that are wrong; of seed 0
    none more at the first point."""
    results = load_results(store, run)
    table = results.measurements
    found = Comparison.empty(
        Measurements.empty(results.facts.topology.blocks, table.queries, table.gallery, table.k, labelled=True)
    )
    for seed in range(SEEDS):
        for i, pair in enumerate(POINTS):
            own = table.find(*pair)
            right = answers_of(own)
            fewer = 0 if (seed, i) == (0, 0) else lost
            right[np.flatnonzero(right)[:fewer]] = False
            found = found.with_row("random", seed, False, replace(own, answers=pack_answers(right).tobytes().hex()))
    put(store, run, COMPARISON, found)
    return found
