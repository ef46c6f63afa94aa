"""Weight correction: the layer that reads a block's neurons, or its heads, solved again on those that a cut keeps.

A cut layer's output is a linear function of what stays, so its weight and bias can give the full layer's output back
as well as possible, in closed form and without labels or training (design section 2). What is needed of the images is
the mean and covariance of the layer's input in the full model. As every cut of a block is a prefix of one order, one
Cholesky factor of the reordered covariance serves them all: a cut is one product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from snapvit.artifacts import Damping, Floats, Ints, LayerStatistics
from snapvit.devices import in_doubles
from snapvit.models.anatomy import Anatomy
from snapvit.models.embedding import embed
from snapvit.ranks.ranks import ALONE, Ranks, Sum

NOISE = 1e-10  # a variance below this share of the squares is rounding of float32; nothing is to be learned from it


class Moments:
    """Mean and centred scatter of the tokens that a layer read so far; no token is kept."""

    def __init__(self, numbers: Tensor) -> None:
        """numbers: (1 + width, width) zeros, which hold the mean and below it the scatter."""
        self.numbers, self.count = numbers, 0

    @property
    def mean(self) -> Tensor:
        """(width,) of all tokens so far."""
        return self.numbers[0]

    @property
    def scatter(self) -> Tensor:
        """(width, width) sum of products of what is left of each token without the mean."""
        return self.numbers[1:]

    def add(self, tokens: Tensor) -> None:
        """Take in tokens (N, width), centred by their own mean first, so that a large mean costs no precision."""
        tokens = tokens.float()
        mean = tokens.mean(0)
        centred = tokens - mean
        self._merge(len(tokens), mean, centred.T @ centred)

    def merge(self, count: int, numbers: Tensor) -> None:
        """Take in so many tokens more, of which these are the mean and the scatter."""
        self._merge(count, numbers[0], numbers[1:])

    def fresh(self) -> Moments:
        """Of no token yet."""
        return Moments(torch.zeros_like(self.numbers))

    def _merge(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        share = count / (self.count + count)
        step = mean - self.mean
        self.scatter.add_(scatter).addr_(step, step, alpha=self.count * share)
        self.mean.add_(share * step)
        self.count += count

    @property
    def covariance(self) -> Tensor:
        """(width, width) over all tokens so far."""
        return self.scatter / max(1, self.count)


@contextmanager
def _reading(layers: Iterable[nn.Linear], device: torch.device) -> Iterator[list[Moments]]:
    """Moments of what each of the layers reads within."""
    found, hooks = [], []
    try:
        for layer in layers:
            moments = Moments(torch.zeros(1 + layer.in_features, layer.in_features, device=device))

            def take(_: nn.Module, read: tuple[Tensor, ...], moments: Moments = moments) -> None:
                moments.add(read[0].flatten(0, -2))

            found.append(moments)
            hooks.append(layer.register_forward_pre_hook(take))
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def collect_statistics(
    model: nn.Module, anatomy: Anatomy, batches: Iterable[Tensor], ranks: Ranks = ALONE
) -> LayerStatistics:
    """Statistics of what `attn.proj` and `mlp.fc2` of every block read in the full model.

    `batches` of images (B, 3, h, w), normalised, on the model's device. One batch's activations are held at a time,
    and a matrix of F x F and one of H*d x H*d numbers a block. ranks: whose own the batches are.
    """
    device = next(model.parameters()).device
    blocks = anatomy.blocks
    images = Sum(torch.empty(0, device=device))

    def work() -> Iterator[None]:
        for batch in batches:
            embed(model, batch)
            images.count += len(batch)
            yield

    with _reading([b.fc2 for b in blocks], device) as neurons, _reading([b.proj for b in blocks], device) as heads:
        ranks.reduce(work(), [*neurons, *heads, images])
    return LayerStatistics(
        neuron_means=_stacked(m.mean for m in neurons),
        neuron_covariances=_stacked(packed(m.covariance) for m in neurons),
        head_means=_stacked(m.mean for m in heads),
        head_covariances=_stacked(packed(m.covariance) for m in heads),
        images=images.count,
        tokens=neurons[0].count,
    )


def _stacked(rows: Iterable[Tensor]) -> Floats:
    return np.stack([row.cpu().numpy() for row in rows])


def packed(covariance: Tensor) -> Tensor:
    """The lower triangle, row by row: half of a symmetric matrix says all."""
    width = len(covariance)
    return covariance[tuple(torch.tril_indices(width, width, device=covariance.device))]


def unpacked(packed: Floats, width: int) -> Tensor:
    """(width, width) the symmetric matrix whose lower triangle was packed."""
    matrix = torch.empty(width, width)
    rows, columns = torch.tril_indices(width, width)
    matrix[rows, columns] = matrix[columns, rows] = torch.from_numpy(packed)
    return matrix


class Factor:
    """One layer's correction at every cut: it reads n numbers, of which a cut keeps the first, and gives D."""

    def __init__(self, layer: nn.Linear, mean: Tensor, covariance: Tensor, damping: Damping, share: float) -> None:
        """The layer's columns, mean (n,) and covariance (n, n) stand in the order in which a cut keeps them."""
        weight = layer.weight.detach().float()
        self.count = len(mean)  # n
        self.mean = mean
        self.full_bias = weight @ mean + (0 if layer.bias is None else layer.bias.detach())
        damped = in_doubles(covariance)
        noise = NOISE * float((covariance.diagonal() + mean.square()).mean())
        damped.diagonal().add_(ridge_of(covariance, damping, share) + noise or 1.0)
        lower = torch.linalg.cholesky(damped).float()
        inverse = torch.linalg.solve_triangular(lower, torch.eye(self.count, device=lower.device), upper=False)
        self.product = weight @ lower.to(weight.device)  # W L
        self.inverse = inverse.to(weight.device)

    def solve(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (D, k) and bias (D,) that give the full layer's output back best from the first k inputs.

        `kept`, (D, k), are the layer's own weights of these. What is added to them is W_cut G_cut,kept G_kept,kept^-1,
        and as G = L L' it is, by blocks of L and of its inverse, both (W L)_kept L^-1_kept,kept - W_kept and
        -(W L)_cut L^-1_cut,kept: the first is the shorter product where little is kept, the second where much is.
        """
        k = kept.shape[1]
        if 2 * k < self.count:
            weight = self.product[:, :k] @ self.inverse[:k, :k]
        else:
            weight = torch.addmm(kept.float(), self.product[:, k:], self.inverse[k:, :k], alpha=-1)
        return weight, self.full_bias - weight @ self.mean[:k]


def ridge_of(covariance: Tensor, damping: Damping, share: float) -> float:
    """What is added to the diagonal: a share of its mean, 95th percentile or maximum."""
    diagonal = in_doubles(covariance.diagonal())
    of = {"mean": diagonal.mean, "max": diagonal.max, "p95": lambda: torch.quantile(diagonal, 0.95)}[damping]()
    return share * float(of)


class Correction(Protocol):
    """What an ElasticViT asks for while it shows a cut, block after block."""

    def factors(self, block: int, fc2: nn.Linear, proj: nn.Linear) -> tuple[Factor, Factor]:
        """Of the layer that reads the block's neurons and of the one that reads its heads, both shown whole."""

    def order_heads(self, head_order: Ints) -> None:
        """Heads stand in this order from now on, (L, H) best first; neurons stay in theirs."""


class ElasticCorrection:
    """Every cut of one ranking, from statistics of the full model: no images are read when the cut changes.

    In memory: (F^2 + (H d)^2 + D (F + H d)) float32 numbers a block, made when they are first asked for.
    """

    def __init__(
        self, statistics: LayerStatistics, neuron_order: Ints, head_order: Ints, damping: Damping, share: float
    ) -> None:
        """neuron_order (L, F) and head_order (L, H), best first, as the ElasticViT has them."""
        self._statistics = statistics
        self._neurons, self._heads = neuron_order, head_order
        self._damping, self._share = damping, share
        self._of_neurons: dict[int, Factor] = {}
        self._of_heads: dict[int, Factor] = {}

    def factors(self, block: int, fc2: nn.Linear, proj: nn.Linear) -> tuple[Factor, Factor]:
        """See Correction."""
        found, b = self._statistics, block
        if b not in self._of_neurons:
            order = self._neurons[b]
            self._of_neurons[b] = self._factor(fc2, found.neuron_means[b], found.neuron_covariances[b], order)
        if b not in self._of_heads:
            width = found.head_means.shape[1] // len(self._heads[b])
            columns = (self._heads[b][:, None] * width + np.arange(width)).ravel()
            self._of_heads[b] = self._factor(proj, found.head_means[b], found.head_covariances[b], columns)
        return self._of_neurons[b], self._of_heads[b]

    def order_heads(self, head_order: Ints) -> None:
        """See Correction."""
        for b in np.flatnonzero((head_order != self._heads).any(axis=1)):
            self._of_heads.pop(int(b), None)
        self._heads = head_order.copy()

    def _factor(self, layer: nn.Linear, mean: Floats, packed: Floats, order: Ints) -> Factor:
        device = layer.weight.device
        covariance = unpacked(packed, len(mean)).to(device)[order][:, order]
        return Factor(layer, torch.from_numpy(mean[order]).to(device), covariance, self._damping, self._share)


class _Enough(Exception):
    """The layers looked at have read their batch; the rest of the model need not run."""


class SequentialCorrection:
    """One cut after another, each block's statistics collected on what the corrected blocks before it give.

    So the images go through the model once a block, for every cut.
    """

    def __init__(
        self, model: nn.Module, batches: Callable[[], Iterable[Tensor]], damping: Damping, share: float
    ) -> None:
        """`batches` gives the calibration images anew: (B, 3, h, w), normalised, on the model's device."""
        self._model, self._batches = model, batches
        self._damping, self._share = damping, share

    def factors(self, block: int, fc2: nn.Linear, proj: nn.Linear) -> tuple[Factor, Factor]:
        """See Correction."""

        def stop(*_: object) -> None:
            raise _Enough

        with _reading((proj, fc2), fc2.weight.device) as (heads, neurons):
            hook = fc2.register_forward_pre_hook(stop)  # after the one that reads
            try:
                for batch in self._batches():
                    with suppress(_Enough):
                        embed(self._model, batch)
            finally:
                hook.remove()
        return tuple(
            Factor(layer, moments.mean, moments.covariance, self._damping, self._share)
            for layer, moments in ((fc2, neurons), (proj, heads))
        )

    def order_heads(self, head_order: Ints) -> None:
        """See Correction. Each cut's images are read in whatever order the heads stand in."""
