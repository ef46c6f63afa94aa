"""What bfloat16 forward passes bring on this machine, and what they do to the accuracy of cuts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.subjects import bundled, bundled_split
from benchmarks.timing import Line, compare, seconds
from snapvit.data.pixels import pixel_table
from snapvit.data.sources import open_source
from snapvit.devices import Precision
from snapvit.elastic.ranking import cut_at
from snapvit.elastic.vit import ElasticViT
from snapvit.evaluation.features import embeddings
from snapvit.evaluation.knn import Knn
from snapvit.evaluation.paired import compare as in_pairs
from snapvit.models.embedding import normalise_pixels
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.effort import FORWARD_BATCH
from snapvit.pipeline.opening import SHIPPED
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.store.store import Store

CACHE = Path(__file__).parents[1] / "cache"
CUTS = (0.0, 0.35, 0.65)
K = 20


def bundled_model(gallery: int = 1000, queries: int = 500, pairs: int = 5) -> Line:
    """Cuts of the shipped run: the time of a batch in both, and their k-NN answers to the same queries in pairs."""
    loaded, split, source = bundled(), bundled_split(), open_source("bundled")
    ids = split.gallery[:gallery], split.query[:queries]
    ready = [
        [normalise_pixels(pixels, loaded.preprocess) for pixels in table.batches(FORWARD_BATCH)]
        for table in (pixel_table(source, part, loaded.preprocess) for part in ids)
    ]
    ranking = StoredRun.open(Store(CACHE), SHIPPED).need(RANKING)
    told = []
    with ElasticViT(loaded.model, loaded.anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:

        def right(precision: Precision) -> np.ndarray:
            known, asked = (embeddings(elastic.model, batches, precision).numpy() for batches in ready)
            return Knn(known, source.labels[ids[0]], K).predict(asked) == source.labels[ids[1]]

        for sparsity in CUTS:
            elastic.keep(cut_at(ranking, *path_pair(sparsity)))
            whole, half = right("float32"), right("bfloat16")
            pair = in_pairs(whole, half)
            told.append(
                f"{sparsity:.0%}: {100 * pair.difference:+.1f} [{100 * pair.low:+.1f}, {100 * pair.high:+.1f}] points, "
                f"{int((whole != half).sum())} answers differ"
            )
        elastic.show_all()
        batch = ready[0][:1]

        def timed(precision: Precision) -> float:
            return seconds(lambda: embeddings(elastic.model, batch, precision))

        result = compare(lambda: timed("bfloat16"), lambda: timed("float32"), pairs)
    return Line(
        subject="bfloat16 forward, bundled",
        value=result.ratio,
        unit="x",
        target=1.0,
        times=(("a batch in bfloat16", result.ours), ("in float32", result.bare)),
        note=f"{queries} queries; {'; '.join(told)}",
    )
