"""How long it takes to show a model another sparsity with its weights corrected; no images are read."""

from __future__ import annotations

import random
from functools import partial

from benchmarks.subjects import VIT_B, VIT_S, bundled, random_images, random_ranking, random_vit
from benchmarks.timing import Line, Spread, seconds
from snapvit.artifacts import LayerStatistics
from snapvit.elastic.correction import ElasticCorrection, collect_statistics
from snapvit.elastic.ranking import cut_at
from snapvit.elastic.vit import ElasticViT
from snapvit.models.loading import LoadedModel
from snapvit.pipeline.config import CorrectionConfig, path_pair, path_points

MOVES = 40
IMAGES = 8  # the time of a move does not depend on how many the statistics are of


def _line(subject: str, loaded: LoadedModel, target: float) -> Line:
    """Jumps between random points of the slider's path. The value is the worst after the factors are made."""
    ranking, config = random_ranking(loaded.anatomy.topology), CorrectionConfig()
    orders = ranking.neuron_order(), ranking.head_order()
    images = random_images(loaded, IMAGES)
    found: list[LayerStatistics] = []
    collected = seconds(lambda: found.append(collect_statistics(loaded.model, loaded.anatomy, [images])))
    correction = ElasticCorrection(found[0], *orders, config.damping, config.share)
    cuts = [cut_at(ranking, *path_pair(s)) for s in path_points(39) if s > 0]
    picker = random.Random(0)
    with ElasticViT(loaded.model, loaded.anatomy, *orders, correction) as elastic:
        first = seconds(lambda: elastic.keep(cuts[0]))
        moves = [seconds(partial(elastic.keep, picker.choice(cuts))) for _ in range(MOVES)]
    return Line(
        subject=f"change sparsity, corrected, {subject}",
        value=1000 * max(moves),
        unit="ms",
        target=target,
        times=(
            ("a move", Spread.of(moves)),
            ("the first, with the factors of all blocks", Spread.of([first])),
            (f"statistics of {IMAGES} images", Spread.of([collected])),
        ),
        note=f"worst of {MOVES} jumps, no forward",
    )


def bundled_model() -> Line:
    """The bundled model."""
    return _line("bundled", bundled(), 50.0)


def vit_s() -> Line:
    """A ViT-S/16; between the two that have a target."""
    return _line("ViT-S", random_vit(VIT_S), 1000.0)


def vit_b() -> Line:
    """A ViT-B/16."""
    return _line("ViT-B", random_vit(VIT_B), 1000.0)
