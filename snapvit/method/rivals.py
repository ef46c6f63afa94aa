"""Rankings to hold SnapViT's against: one score for every neuron and head, higher is kept longer.

Neurons are ranked among neurons and heads among heads, so the two tables of a method need no common unit. Where a
method scores weights, they are those that the local curvature looks at: a neuron's row of fc1 (of the gate projection
where there is one), a head's rows of the value projection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor, nn

from snapvit.artifacts import Floats, LayerStatistics, Scores, Topology
from snapvit.devices import home_of_doubles, in_doubles
from snapvit.elastic.correction import unpacked
from snapvit.method.curvature import mean_gradients
from snapvit.models.anatomy import Anatomy
from snapvit.models.embedding import embed
from snapvit.ranks.ranks import ALONE, Ranks

ALPHA = 0.001  # weight of the magnitude in SNIP-magnitude, as the paper's code has it


def random_scores(topology: Topology, seed: int) -> Scores:
    """Independent uniform numbers."""
    rng = np.random.default_rng(seed)
    return Scores(rng.random((topology.blocks, topology.hidden)), rng.random((topology.blocks, topology.heads)))


def magnitude_scores(anatomy: Anatomy) -> Scores:
    """Mean squared weight."""
    return _by_unit(anatomy, [in_doubles(weight).square() for weight in _weights(anatomy)])


def lamp_scores(anatomy: Anatomy) -> Scores:
    """Layer-adaptive magnitude (Lee et al., 2021), each weight against those of its matrix that are not smaller, as the
    paper uses it: the mean over a unit's weights of |w| / sqrt(sum of squares of w and of all larger ones)."""
    return _by_unit(anatomy, [_lamp(in_doubles(weight)) for weight in _weights(anatomy)])


def _lamp(weight: Tensor) -> Tensor:
    squares, order = weight.square().flatten().sort(descending=True)
    squares = squares / squares.cumsum(0).clamp_min(torch.finfo(squares.dtype).tiny)
    return torch.empty_like(squares).scatter_(0, order, squares).sqrt().view_as(weight)


def snip_scores(
    model: nn.Module,
    anatomy: Anatomy,
    views: Iterable[Tensor],
    global_views: int,
    views_at_once: int | None = None,
    ranks: Ranks = ALONE,
) -> Scores:
    """SNIP-magnitude (openreview.net/forum?id=shw9MeqlMF) of the loss of the views, as the paper's code has it:
    s = |w g| + 0.001 w^2 of each weight w and its mean gradient g; a neuron's mean s, a head's mean s^2.

    views: batches (V, n, 3, h, w), global ones first; views_at_once, ranks: see `estimate_curvature`.
    """
    gradients = mean_gradients(model, anatomy, views, global_views, views_at_once, ranks)
    saliency = [
        in_doubles((weight * gradient).abs()) + ALPHA * in_doubles(weight).square()
        for weight, gradient in zip(_weights(anatomy), gradients, strict=True)
    ]
    saliency[1::2] = [s.square() for s in saliency[1::2]]
    return _by_unit(anatomy, saliency)


def variance_scores(model: nn.Module, anatomy: Anatomy, batches: Iterable[Tensor], ranks: Ranks = ALONE) -> Scores:
    """Variance of what a unit hands on, over all tokens of all images (Berisha et al., 2025): of a neuron after its
    activation, of a head the mean over its channels before the output projection. ranks: whose own the batches are."""
    device = home_of_doubles(next(model.parameters()).device)
    readers = list(_readers(anatomy))
    spreads = [_Spread(torch.zeros(2, layer.in_features, dtype=torch.float64, device=device)) for layer in readers]

    def work() -> Iterator[None]:
        for batch in batches:
            embed(model, batch)  # not each core for itself: all add to the same sums
            yield

    with ExitStack() as stack, torch.inference_mode():
        for spread, layer in zip(spreads, readers, strict=True):
            stack.callback(layer.register_forward_pre_hook(spread).remove)
        ranks.reduce(work(), spreads)
    return _by_unit(anatomy, [spread.variance[:, None] for spread in spreads])


def unexplained_shares(statistics: LayerStatistics, heads: int, share: float) -> Scores:
    """Which share of a unit's variance the other units of its block cannot explain by a linear map, 0 to 1.

    That is what a corrected cut loses of it: what the others explain, their new weights give back. With G the damped
    covariance (its diagonal raised by `share` of its mean) of what a layer reads, a neuron's is 1 / (G^-1_ii G_ii); a
    head's is the trace of the inverse of its block of G^-1, over that of its block of G.
    """
    neurons, width = statistics.neuron_means.shape[1], statistics.head_means.shape[1]
    mlp, head = [], []
    for packed_neurons, packed_heads in zip(statistics.neuron_covariances, statistics.head_covariances, strict=True):
        covariance, inverse = _damped(packed_neurons, neurons, share)
        mlp.append(1 / (inverse.diagonal() * covariance.diagonal()))
        covariance, inverse = _damped(packed_heads, width, share)
        own, left = (_diagonal_blocks(matrix, heads) for matrix in (covariance, inverse))
        head.append(_traces(torch.linalg.inv(left)) / _traces(own))
    return Scores(torch.stack(mlp).numpy(), torch.stack(head).numpy())


def _damped(packed: Floats, width: int, share: float) -> tuple[Tensor, Tensor]:
    """The covariance (width, width) in float64 with its ridge, and its inverse."""
    covariance = unpacked(packed, width).double()
    covariance.diagonal().add_(share * float(covariance.diagonal().mean()) or 1.0)
    return covariance, torch.cholesky_inverse(torch.linalg.cholesky(covariance))


def _diagonal_blocks(matrix: Tensor, count: int) -> Tensor:
    """(count, d, d) of a matrix (count * d, count * d)."""
    size = len(matrix) // count
    return matrix.view(count, size, count, size).diagonal(dim1=0, dim2=2).permute(2, 0, 1)


def _traces(blocks: Tensor) -> Tensor:
    return blocks.diagonal(dim1=1, dim2=2).sum(1)


class _Spread:
    """A hook before a layer: mean and squared deviations of its input's channels, added up batch by batch.

    By the update of Chan, Golub and LeVeque (1979), which cancels nothing where a mean is far from 0.
    """

    def __init__(self, numbers: Tensor) -> None:
        """numbers: (2, C) zeros, which hold the means and the sums of squares."""
        self.numbers, self.count = numbers, 0

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows = in_doubles(inputs[0].flatten(0, -2))
        mean = rows.mean(dim=0)
        self.merge(len(rows), torch.stack([mean, (rows - mean).square().sum(dim=0)]))

    def merge(self, count: int, numbers: Tensor) -> None:
        """Take in so many rows more, of which these are the means and the sums of squares."""
        total = self.count + count
        step = numbers[0] - self.numbers[0]
        between = step.square() * (self.count * count / total)
        self.numbers[1].add_(numbers[1]).add_(between)
        self.numbers[0] += step * (count / total)
        self.count = total

    def fresh(self) -> _Spread:
        """Of no row yet."""
        return _Spread(torch.zeros_like(self.numbers))

    @property
    def variance(self) -> Tensor:
        """(C,) over all that came by."""
        return self.numbers[1] / self.count


def _weights(anatomy: Anatomy) -> Iterator[Tensor]:
    """(F, D) of fc1 or the gate projection, (H*d, D) of the value projection, block by block."""
    for block in anatomy.blocks:
        for part in (block.mlp_in, block.value):
            yield part.layer.weight.data[part.rows]


def _readers(anatomy: Anatomy) -> Iterator[nn.Module]:
    """The layers that read a block's neurons and heads, in the same order."""
    for block in anatomy.blocks:
        yield from (block.fc2, block.proj)


def _by_unit(anatomy: Anatomy, parts: list[Tensor]) -> Scores:
    """Means over each neuron's and each head's numbers, from (F, n) and (H*d, n), block by block."""
    topology = anatomy.topology
    mlp = torch.stack([part.mean(dim=1) for part in parts[0::2]])
    head = torch.stack([part.unflatten(0, (topology.heads, -1)).mean(dim=(1, 2)) for part in parts[1::2]])
    return Scores(mlp.double().cpu().numpy(), head.double().cpu().numpy())
