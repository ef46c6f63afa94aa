"""Gauss-Newton: how the embedding moves as masks on structures leave 1, by backward passes alone (design section 2).

A mask multiplies what a neuron or a head hands to the layer behind it, whose bias stays. With J_i the derivative of e
(an image's embedding, projected and normalised) by mask i at 1, the mean over images of J_i' J_j is how removals
interact to second order, and its diagonal what a removal costs. A probe v, normal, gives v'J_i of all masks at once in
one backward pass, and E_v (v'J_i)(v'J_j) = J_i' J_j.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snapvit.artifacts import GaussNewton
from snapvit.devices import home_of_doubles, in_doubles
from snapvit.method.interactions import Batches, Directions, Done
from snapvit.models.anatomy import Anatomy
from snapvit.models.embedding import embed
from snapvit.ranks.ranks import ALONE, Ranks, Sum

# Numbers multiplied before they are added up: a product that stays in a core's cache takes a quarter of the time.
CHUNK_NUMBERS = 130_000

# Layer number, its input (B, T, C) and the gradient of that.
Collect = Callable[[int, Tensor, Tensor], None]


def estimate_gauss_newton(
    model: nn.Module,
    anatomy: Anatomy,
    batches: Batches,
    directions: Directions,
    probes: int,
    seed: int,
    done: Done = lambda _: None,
    images_at_once: int | None = None,
    ranks: Ranks = ALONE,
) -> GaussNewton:
    """Scores of every neuron and head, and the interactions of all structures, from so many probes an image.

    directions: of the same images. images_at_once: of a batch, whose activations are kept for the backward passes;
    None: all. `done` hears of the images of each probe. An image's probes depend on `seed` and its place alone, not on
    the batches. The model must be frozen and in evaluation mode. ranks: who share the images that go together.
    """
    totals, rng = _Totals(anatomy, directions.full), np.random.default_rng(seed)
    images = Sum(totals.products.numbers.new_empty(0))

    def work() -> Iterator[None]:
        parts = (part for whole in batches() for part in whole.split(images_at_once or len(whole)))
        for number, batch in enumerate(parts):
            v = rng.standard_normal((len(batch), probes, directions.full.shape[1]))
            if number % ranks.size != ranks.rank:
                continue
            v = torch.from_numpy(v).to(directions.full.dtype).to(directions.full.device)
            with torch.enable_grad(), _mask_taps(anatomy, totals.collect) as first:
                e = F.normalize(directions.projection(embed(model, batch)), dim=1)
                for probe in range(probes):
                    totals.begin(len(batch))
                    torch.autograd.grad((e * v[:, probe]).sum(), first, retain_graph=probe + 1 < probes)
                    totals.end()
                    done(len(batch))
            images.count += len(batch)
            del e
            yield

    # Each probe is added by itself, so what a batch's probes give together is rounded before it is added.
    ranks.reduce(work(), [totals.mlp, totals.products, images], direct=False)
    return totals.result(images.count, probes)


class _Totals:
    """Sums over images and probes."""

    def __init__(self, anatomy: Anatomy, directions: Tensor) -> None:
        topology, double = anatomy.topology, {"dtype": torch.float64, "device": home_of_doubles(directions.device)}
        self._topology = topology
        self.mlp = Sum(torch.zeros(topology.blocks, topology.hidden, **double))
        self.products = Sum(torch.zeros(topology.structures, topology.structures, **double))
        self._slopes = self._product = directions.new_empty(0)

    def begin(self, images: int) -> None:
        if len(self._slopes) != images:
            self._slopes = self._slopes.new_empty(images, self._topology.structures)

    def collect(self, layer: int, x: Tensor, grad: Tensor) -> None:
        """v'J of the masks on x (B, T, C), which is summed over tokens."""
        slopes = self._token_sums(grad, x)  # (B, C)
        block, of_heads = divmod(layer, 2)
        topology = self._topology
        if of_heads:
            start = topology.blocks + block * topology.heads
            by_head = slopes.unflatten(1, (topology.heads, topology.head_width))
            torch.sum(by_head, dim=2, out=self._slopes[:, start : start + topology.heads])
        else:
            torch.sum(slopes, dim=1, out=self._slopes[:, block])
            self.mlp.numbers[block] += in_doubles(torch.linalg.vector_norm(slopes, dim=0)).square_()

    def _token_sums(self, a: Tensor, b: Tensor) -> Tensor:
        """(B, C) sums over tokens of the products of a and b (B, T, C), a few images at a time in the same memory."""
        images, tokens, channels = a.shape
        step = min(images, max(1, CHUNK_NUMBERS // (tokens * channels)))
        if self._product.numel() < step * tokens * channels:
            self._product = a.new_empty(step * tokens * channels)
        product = self._product[: step * tokens * channels].view(step, tokens, channels)
        sums = a.new_empty(images, channels)
        for first in range(0, images, step):
            part = slice(first, min(first + step, images))
            torch.sum(torch.mul(a[part], b[part], out=product[: part.stop - first]), dim=1, out=sums[part])
        return sums

    def end(self) -> None:
        slopes = in_doubles(self._slopes)
        self.products.numbers += slopes.mT @ slopes

    def result(self, images: int, probes: int) -> GaussNewton:
        if not images:
            raise ValueError("no images to take derivatives of")
        count, topology = images * probes, self._topology
        products = (self.products.numbers / count).cpu().numpy()
        head = np.diag(products)[topology.blocks :].reshape(topology.blocks, topology.heads)
        return GaussNewton((self.mlp.numbers / count).cpu().numpy(), head.copy(), products, images, probes)


@contextmanager
def _mask_taps(anatomy: Anatomy, collect: Collect) -> Iterator[list[Tensor]]:
    """Within, `collect` sees the inputs of each fc2 (layer 2*b of block b) and proj (2*b + 1), and their gradients.

    Yields a list that holds, after a forward pass, the first of these inputs: gradients need to flow no further down.
    """
    first: list[Tensor] = []

    def tap(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor]]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
            x = inputs[0]
            if not x.requires_grad:
                x = x.detach().requires_grad_()
                first.append(x)
            seen = x.detach()
            x.register_hook(lambda grad: collect(layer, seen, grad))
            return (x,)

        return hook

    with ExitStack() as stack:
        for b, block in enumerate(anatomy.blocks):
            for layer, part in ((2 * b, block.fc2), (2 * b + 1, block.proj)):
                stack.callback(part.register_forward_pre_hook(tap(layer)).remove)
        yield first
