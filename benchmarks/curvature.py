"""Per-image curvature against autograd's ordinary gradients of the same weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.subjects import VIT_S, bundled, bundled_split, random_vit
from benchmarks.timing import Line, compare, seconds
from snapvit.data.sources import open_source
from snapvit.data.views import ViewSpec, view_batches
from snapvit.method.curvature import estimate_curvature
from snapvit.method.loss import teacher_targets, view_agreement
from snapvit.models.embedding import embed, normalise_pixels
from snapvit.models.loading import LoadedModel
from snapvit.pipeline.config import RunConfig
from snapvit.pipeline.effort import Effort

VIEWS = ViewSpec()


def bundled_curvature(images: int = 64, pairs: int = 9) -> Line:
    """The bundled model."""
    return _curvature("curvature, bundled", bundled(), images, pairs)


def vit_s_curvature(images: int = 1, pairs: int = 7) -> Line:
    """A ViT-S at 224 pixels."""
    return _curvature("curvature, ViT-S", random_vit(VIT_S), images, pairs)


def _curvature(subject: str, loaded: LoadedModel, images: int, pairs: int) -> Line:
    """All images in one batch, for both; the views in groups as a run would take them, autograd's all at once."""
    model, anatomy = loaded.model, loaded.anatomy
    together = Effort(anatomy.topology, RunConfig(), *[images] * 9).views_at_once
    ids = bundled_split().calibration[:images]
    batches = view_batches(open_source("bundled"), ids, VIEWS, loaded.preprocess, 0, images)
    views = normalise_pixels(next(batches), loaded.preprocess)  # (V, n, 3, h, w)
    weights = [part.layer.weight for block in anatomy.blocks for part in (block.mlp_in, block.value)]

    def ours() -> float:
        return seconds(lambda: estimate_curvature(model, anatomy, [views], VIEWS.global_views, views_at_once=together))

    def bare() -> float:
        for weight in weights:
            weight.requires_grad_(True)
        taken = seconds(lambda: _forward_backward(model, views))
        for weight in weights:
            weight.grad = None
            weight.requires_grad_(False)
        return taken

    result = compare(ours, bare, pairs)
    return Line(
        subject=subject,
        value=result.ratio,
        unit="x",
        target=1.1,
        times=(("curvature", result.ours), ("autograd's gradients", result.bare)),
        note=f"{images} images of {VIEWS.count} views, {together} at once",
    )


def _forward_backward(model: nn.Module, views: Tensor) -> None:
    count, images = views.shape[:2]
    with torch.enable_grad():
        embeddings = embed(model, views.flatten(0, 1)).unflatten(0, (count, images))
        targets = teacher_targets(embeddings[: VIEWS.global_views])
        view_agreement(embeddings, targets).sum().backward()
