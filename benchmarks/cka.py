"""The CKA map against the forward passes and the one product it cannot do without."""

from __future__ import annotations

import torch

from benchmarks.subjects import VIT_S, random_images, random_vit
from benchmarks.timing import Line, compare, seconds
from snapvit.method.cka import collect_structures, estimate_cka
from snapvit.pipeline.effort import FORWARD_BATCH

IMAGES, IMAGE_SIZE = 500, 112


def vit_s_map(images: int = IMAGES, pairs: int = 5) -> Line:
    """84 structures, 500 images. At 112 pixels a pass costs a quarter, so the map's own share weighs four times more
    than at 224: the strict side of the target."""
    loaded = random_vit(VIT_S, IMAGE_SIZE)
    model, anatomy = loaded.model, loaded.anatomy
    batches = random_images(loaded, images).split(FORWARD_BATCH)
    grams = torch.randn(anatomy.topology.structures, images * images)  # what the flattened Gram matrices would be

    def bare() -> None:
        collect_structures(model, anatomy, batches)
        torch.mm(grams, grams.mT)

    result = compare(
        lambda: seconds(lambda: estimate_cka(model, anatomy, batches)),
        lambda: seconds(bare),
        pairs,
    )
    return Line(
        subject="CKA map, ViT-S",
        value=result.ratio,
        unit="x",
        target=1.2,
        times=(("map", result.ours), ("passes and one product", result.bare)),
        note=f"{anatomy.topology.structures} structures, {images} images of {IMAGE_SIZE} px",
    )
