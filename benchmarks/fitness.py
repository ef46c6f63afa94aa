"""One fitness evaluation against the forward passes that it cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from torch import Tensor

from benchmarks.subjects import FLOORS, VIT_S, bundled, bundled_split, random_curvature, random_vit
from benchmarks.timing import Line, compare, seconds
from snapvit.artifacts import PAPER_PAIRS
from snapvit.data.pixels import pixel_table
from snapvit.data.sources import open_source
from snapvit.elastic.ranking import cut_at, final_scores, rank
from snapvit.elastic.vit import ElasticViT
from snapvit.method.fitness import Fitness
from snapvit.method.search import start_mean
from snapvit.models.embedding import embed_batch, normalise_pixels
from snapvit.models.loading import LoadedModel
from snapvit.pipeline.effort import FORWARD_BATCH

COMPONENTS = 192  # of the PCA, the paper's number
SPREAD = 0.2  # of random factors around the search's start


def bundled_evaluation(images: int = 192, pairs: int = 15) -> Line:
    """The bundled model."""
    return _evaluation("fitness, bundled", bundled(), images, pairs)


def vit_s_evaluation(images: int = 8, pairs: int = 7) -> Line:
    """A ViT-S at 224 pixels, with few images: the worst case for what does not grow with them."""
    return _evaluation("fitness, ViT-S", random_vit(VIT_S), images, pairs)


def _evaluation(subject: str, loaded: LoadedModel, images: int, pairs: int) -> Line:
    """Ours starts from bytes as the pipeline does; the bare passes see finished images and cuts already shown."""
    topology = loaded.anatomy.topology
    table = pixel_table(open_source("bundled"), bundled_split().calibration[:images], loaded.preprocess)

    def normalised() -> Iterable[Tensor]:
        return (normalise_pixels(pixels, loaded.preprocess) for pixels in table.batches(FORWARD_BATCH))

    curvature = random_curvature(topology)
    start = rank(final_scores(curvature, np.ones(topology.structures)), FLOORS)
    rng = np.random.default_rng(0)
    with ElasticViT(loaded.model, loaded.anatomy, start.neuron_order(), start.head_order()) as elastic:
        fitness = Fitness(elastic, curvature, FLOORS, PAPER_PAIRS, normalised, COMPONENTS)
        ready = list(normalised())
        factors = start_mean(topology)

        def ours() -> float:
            nonlocal factors
            factors = start_mean(topology) + SPREAD * rng.standard_normal(topology.structures)
            return seconds(lambda: fitness(factors))

        def bare() -> float:
            """The same candidate's passes: the heads still stand in its order."""
            ranking, taken = rank(final_scores(curvature, factors), FLOORS), 0.0
            for pair in PAPER_PAIRS:
                elastic.keep(cut_at(ranking, *pair))
                taken += seconds(_passes(elastic, ready))
            return taken

        result = compare(ours, bare, pairs, warmup=2)
    return Line(
        subject=subject,
        value=result.ratio,
        unit="x",
        target=1.10,
        times=(("one evaluation", result.ours), ("its bare passes", result.bare)),
        note=f"{images} images, {len(PAPER_PAIRS)} cuts",
    )


def _passes(elastic: ElasticViT, batches: list[Tensor]) -> Callable[[], None]:
    def run() -> None:
        for images in batches:
            embed_batch(elastic.model, images)

    return run
