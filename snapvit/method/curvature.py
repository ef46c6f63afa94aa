"""Local importance: the diagonal of the empirical Fisher of each head's and neuron's input weights.

The weights stay frozen. Autograd computes gradients of activations only; the gradient of one layer's weights for one
image is then one small product of its tokens' output gradients and inputs, squared and averaged at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from snapvit.artifacts import Criterion, Curvature, Doubles, Floats
from snapvit.method.loss import view_agreement
from snapvit.models.anatomy import Anatomy, replace_forwards, restore_forwards
from snapvit.models.embedding import embed

Collect = Callable[[int, Tensor, Tensor], None]  # layer number, inputs (V*n, T, D), output gradients (V*n, T, out)

# Bound on the per-image weight gradients held at once, in numbers: 64 MB of float32.
CHUNK_NUMBERS = 16_000_000


def estimate_curvature(
    model: nn.Module, anatomy: Anatomy, batches: Iterable[Tensor], global_views: int, criterion: Criterion = "fisher"
) -> Curvature:
    """Curvature of every neuron and head from batches (V, n, 3, h, w) of normalised views.

    `fisher` averages squared per-image gradients (the paper's equation); `accumulated` squares the mean gradient over
    all images (what the reference code does). The model must be frozen and in evaluation mode.
    """
    accumulator = (_Fisher if criterion == "fisher" else _Accumulated)(*_layers(model, anatomy))
    images = 0
    for views in batches:
        accumulator.batch_of(views.shape[1])
        images += len(_backward(model, anatomy, views, global_views, accumulator.collect))
    if not images:
        raise ValueError("no images to estimate curvature from")
    layers = accumulator.row_means(images)
    mlp = torch.stack(layers[0::2])
    return Curvature(mlp.float().cpu().numpy(), _by_head(layers[1::2], anatomy).float().cpu().numpy(), images)


def head_gradients(
    model: nn.Module, anatomy: Anatomy, batches: Iterable[Tensor], global_views: int
) -> tuple[Doubles, Floats, Floats]:
    """What the curvature of the heads is made of, from batches (V, n, 3, h, w) of normalised views.

    Returns each image's loss (N,), each image's mean squared gradient of every head (N, L, H), whose mean over images
    is the Fisher curvature, and the accumulated curvature (L, H) of the same images.
    """
    losses, by_image = [], []
    accumulated = _Accumulated(*_layers(model, anatomy))
    for views in batches:
        squares = _ByImage(anatomy, views.shape[1])

        def collect(layer: int, x: Tensor, grad: Tensor, squares: _ByImage = squares) -> None:
            if layer % 2:  # value rows; the lessons are of heads
                squares.collect(layer, x, grad)
                accumulated.collect(layer, x, grad)

        losses.append(_backward(model, anatomy, views, global_views, collect))
        by_image.append(squares.heads())
    if not losses:
        raise ValueError("no images to take gradients of")
    total = _by_head(accumulated.row_means(sum(map(len, losses)))[1::2], anatomy)
    return (
        torch.cat(losses).double().cpu().numpy(),
        torch.cat(by_image).float().cpu().numpy(),
        total.float().cpu().numpy(),
    )


def _layers(model: nn.Module, anatomy: Anatomy) -> tuple[list[int], int, torch.device]:
    """Rows of each fc1 and each value projection, what they read, and where they are."""
    topology = anatomy.topology
    rows = [topology.hidden, topology.heads * topology.head_width] * topology.blocks
    return rows, topology.width, next(model.parameters()).device


def _by_head(value_rows: list[Tensor], anatomy: Anatomy) -> Tensor:
    """L times (H*d,) to (L, H): the mean over each head's rows."""
    topology = anatomy.topology
    return torch.stack(value_rows).unflatten(1, (topology.heads, topology.head_width)).mean(dim=2)


def _backward(model: nn.Module, anatomy: Anatomy, views: Tensor, global_views: int, collect: Collect) -> Tensor:
    """Loss (n,) of each image of one batch of views (V, n, 3, h, w); `collect` sees the gradients of their sum.

    What is returned holds no graph: that would hold the taps, and they this batch's activations.
    """
    with torch.enable_grad(), _gradient_taps(anatomy, collect):
        embeddings = embed(model, views.flatten(0, 1)).unflatten(0, views.shape[:2])
        losses = view_agreement(embeddings, global_views)
        losses.sum().backward()
    return losses.detach()


@contextmanager
def _gradient_taps(anatomy: Anatomy, collect: Collect) -> Iterator[None]:
    """Within, `collect` sees the inputs and output gradients of what leads into each MLP and of each value projection.

    Layers are numbered 2*b for fc1, or the gate projection, of block b and 2*b + 1 for its value rows.
    """

    def tap(layer: int, rows: slice) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x = inputs[0].detach()
            if not output.requires_grad:  # the first layer: gradients need to flow no further down than here
                output = output.detach().requires_grad_()
            output.register_hook(lambda grad: collect(layer, x, grad[..., rows]))
            return output

        return hook

    with ExitStack() as stack:
        replace_forwards(anatomy)
        stack.callback(restore_forwards, anatomy)
        for b, block in enumerate(anatomy.blocks):
            for layer, part in ((2 * b, block.mlp_in), (2 * b + 1, block.value)):
                stack.callback(part.layer.register_forward_hook(tap(layer, part.rows)).remove)
        yield


class _Fisher:
    """Sums over images of squared per-image gradients, averaged over each row's weights."""

    def __init__(self, rows: list[int], width: int, device: torch.device) -> None:
        self._sums = [torch.zeros(r, dtype=torch.float64, device=device) for r in rows]
        self._width = width
        self._batch = 0

    def batch_of(self, images: int) -> None:
        self._batch = images

    def collect(self, layer: int, x: Tensor, grad: Tensor) -> None:
        x, grad = (_by_image(t, self._batch) for t in (x, grad))  # (n, V*T, D), (n, V*T, out)
        step = max(1, CHUNK_NUMBERS // (grad.shape[2] * self._width))
        for gs, xs in zip(grad.split(step), x.split(step), strict=True):
            self._sums[layer] += _row_squares(gs, xs).sum(dim=0)

    def row_means(self, images: int) -> list[Tensor]:
        return [s / (images * self._width) for s in self._sums]


class _ByImage:
    """Squared gradients of one batch's images, averaged over each head's weights."""

    def __init__(self, anatomy: Anatomy, images: int) -> None:
        self._anatomy, self._images = anatomy, images
        self._blocks: dict[int, Tensor] = {}  # (n, H) by layer

    def collect(self, layer: int, x: Tensor, grad: Tensor) -> None:
        topology = self._anatomy.topology
        x, grad = (_by_image(t, self._images) for t in (x, grad))  # (n, V*T, D), (n, V*T, H*d)
        step = max(1, CHUNK_NUMBERS // (grad.shape[2] * topology.width))
        rows = [_row_squares(gs, xs) / topology.width for gs, xs in zip(grad.split(step), x.split(step), strict=True)]
        self._blocks[layer] = torch.cat(rows).unflatten(1, (topology.heads, topology.head_width)).mean(dim=2)

    def heads(self) -> Tensor:
        """(n, L, H)."""
        return torch.stack([self._blocks[layer] for layer in sorted(self._blocks)], dim=1)


class _Accumulated:
    """Squares of the mean gradient over all images, averaged over each row's weights."""

    def __init__(self, rows: list[int], width: int, device: torch.device) -> None:
        self._grads = [torch.zeros(r, width, device=device) for r in rows]
        self._width = width

    def batch_of(self, images: int) -> None:
        """The sum over images needs no boundaries between them."""

    def collect(self, layer: int, x: Tensor, grad: Tensor) -> None:
        self._grads[layer].addmm_(grad.flatten(0, 1).mT, x.flatten(0, 1))

    def row_means(self, images: int) -> list[Tensor]:
        return [(g / images).square_().mean(dim=1, dtype=torch.float64) for g in self._grads]


def _row_squares(grad: Tensor, x: Tensor) -> Tensor:
    """(n, out) as doubles: of n images' weight gradients G'X, the sum of squares along each row, summed as they are.

    grad (n, T, out), x (n, T, D). A norm reads the gradients once; squaring and summing them takes half as long as
    the product itself where the layer is small.
    """
    return torch.linalg.vector_norm(grad.mT @ x, dim=2).double().square_()


def _by_image(tokens: Tensor, images: int) -> Tensor:
    """(V*n, T, C) to (n, V*T, C): all views' tokens of an image side by side."""
    return tokens.unflatten(0, (-1, images)).transpose(0, 1).flatten(1, 2)
