"""Gauss-Newton against the passes it cannot do without, and measured interactions against whole forward passes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.subjects import VIT_S, bundled, bundled_split, random_images, random_vit
from benchmarks.timing import Line, compare, seconds
from snapvit.data.pixels import pixel_table
from snapvit.data.sources import open_source
from snapvit.method.gauss_newton import estimate_gauss_newton
from snapvit.method.interactions import Directions, measured_rows, sampled_pairs
from snapvit.models.embedding import embed, embed_batch, normalise_pixels
from snapvit.models.loading import LoadedModel

PROBES = 8
COMPONENTS = 192
BARE_PASSES = 20


def bundled_gauss_newton(images: int = 64, pairs: int = 9) -> Line:
    """The bundled model."""
    return _gauss_newton("Gauss-Newton, bundled", bundled(), images, pairs)


def vit_s_gauss_newton(images: int = 4, pairs: int = 5) -> Line:
    """A ViT-S at 224 pixels."""
    return _gauss_newton("Gauss-Newton, ViT-S", random_vit(VIT_S), images, pairs)


def _gauss_newton(subject: str, loaded: LoadedModel, images: int, pairs: int) -> Line:
    """One batch. The embeddings that the projection is fitted on are there already, for both."""
    model, anatomy = loaded.model, loaded.anatomy
    batch = random_images(loaded, images)
    directions = Directions(model, lambda: [batch], COMPONENTS)
    v = torch.randn(PROBES, *directions.full.shape)

    def ours() -> object:
        return estimate_gauss_newton(model, anatomy, lambda: [batch], directions, PROBES, 0)

    result = compare(
        lambda: seconds(ours),
        lambda: seconds(lambda: _forward_and_backwards(model, anatomy.blocks[0].proj, directions, batch, v)),
        pairs,
    )
    return Line(
        subject=subject,
        value=result.ratio,
        unit="x",
        target=1.1,
        times=(("Gauss-Newton", result.ours), (f"1 forward, {PROBES} backwards", result.bare)),
        note=f"{images} images, {PROBES} probes",
    )


def _forward_and_backwards(
    model: nn.Module, first: nn.Linear, directions: Directions, batch: Tensor, v: Tensor
) -> None:
    """One forward pass, and for each of v (K, B, C) a backward pass of activations down to the first layer's input."""
    leaf: list[Tensor] = []

    def begin(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        leaf.append(inputs[0].detach().requires_grad_())
        return (leaf[0],)

    hook = first.register_forward_pre_hook(begin)
    with torch.enable_grad():
        e = F.normalize(directions.projection(embed(model, batch)), dim=1)
    hook.remove()
    for k in range(len(v)):
        torch.autograd.grad((e * v[k]).sum(), leaf, retain_graph=k + 1 < len(v))


def measured_pairs(images: int = 64, pairs: int = 1) -> Line:
    """All pairs of the bundled model, against half as many whole forward passes as S^2."""
    loaded = bundled()
    model, anatomy, size = loaded.model, loaded.anatomy, loaded.anatomy.topology.structures
    table = pixel_table(open_source("bundled"), bundled_split().calibration[:images], loaded.preprocess)
    batch = normalise_pixels(table.pixels, loaded.preprocess)
    every = sampled_pairs(size, size * size, 0)

    def bare() -> float:
        passes = seconds(lambda: [embed_batch(model, batch) for _ in range(BARE_PASSES)])
        return passes / BARE_PASSES * size**2 / 2

    result = compare(
        lambda: seconds(lambda: list(measured_rows(model, anatomy, lambda: [batch], COMPONENTS, every))),
        bare,
        pairs,
        warmup=0,
    )
    return Line(
        subject="measured interactions, bundled",
        value=result.ratio,
        unit="x",
        target=0.6,
        times=(("all pairs", result.ours), (f"{size}^2 / 2 forwards", result.bare)),
        note=f"{len(every):,} pairs, {images} images",
    )
