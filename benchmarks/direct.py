"""How long the preset without a search takes to rank a ViT-S/16 and to collect what corrects its cuts."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from benchmarks.subjects import VIT_S, random_images, random_vit
from benchmarks.timing import Line, Spread, seconds
from snapvit.elastic.correction import collect_statistics
from snapvit.method.gauss_newton import estimate_gauss_newton
from snapvit.method.interactions import Directions
from snapvit.pipeline.config import PRESETS

BATCH = 16


def vit_s_ranking() -> Line:
    """All images of the preset, random weights and pictures: they cost what others cost."""
    loaded, config = random_vit(VIT_S), PRESETS["direct"]
    model, anatomy = loaded.model, loaded.anatomy
    images = random_images(loaded, BATCH)

    def batches(count: int) -> Iterator[Tensor]:
        yield from (images[: min(BATCH, count - done)] for done in range(0, count, BATCH))

    settings, corrected = config.interactions, config.correction.images

    def rank() -> object:
        directions = Directions(model, lambda: batches(settings.images), config.search.components)
        return estimate_gauss_newton(
            model, anatomy, lambda: batches(settings.images), directions, settings.probes, 0, images_at_once=4
        )

    ranked = seconds(rank)
    collected = seconds(lambda: collect_statistics(model, anatomy, batches(corrected)))
    return Line(
        subject="direct: ranking and correction of a ViT-S",
        value=ranked + collected,
        unit="s",
        target=600.0,
        times=(("Gauss-Newton", Spread.of([ranked])), ("statistics", Spread.of([collected]))),
        note=f"{settings.images} images, {settings.probes} probes; {corrected} images corrected",
    )
