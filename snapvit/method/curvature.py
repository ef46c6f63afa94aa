"""Local importance: the diagonal of the empirical Fisher of each head's and neuron's input weights.

The weights stay frozen. Autograd computes gradients of activations only; the gradient of one layer's weights for one
image is then one small product of its tokens' output gradients and inputs, squared and averaged at once. An image's
views can be taken a few at a time, which needs the memory of so many only; its products are then added up before they
are squared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snapvit.artifacts import Criterion, Curvature, Doubles, Floats
from snapvit.devices import home_of_doubles, in_doubles
from snapvit.method.loss import teacher_targets, view_agreement
from snapvit.models.anatomy import Anatomy, replace_forwards, restore_forwards
from snapvit.models.embedding import embed
from snapvit.ranks.ranks import ALONE, Ranks, Sum

# Layer number, inputs (v, n, T, D) and output gradients (v, n, T, out) of v views, whether they are the batch's last.
Collect = Callable[[int, Tensor, Tensor, bool], None]

# Bound on the per-image weight gradients computed at once, in numbers: 64 MB of float32.
CHUNK_NUMBERS = 16_000_000
# Where whole gradients are added up, images whose gradients are one summand: with fewer, processes that share the work
# would send each other more than they compute.
SUMMED_IMAGES = 32


def estimate_curvature(
    model: nn.Module,
    anatomy: Anatomy,
    batches: Iterable[Tensor],
    global_views: int,
    criterion: Criterion = "fisher",
    views_at_once: int | None = None,
    ranks: Ranks = ALONE,
) -> Curvature:
    """Curvature of every neuron and head from batches (V, n, 3, h, w) of normalised views.

    `fisher` averages squared per-image gradients (the paper's equation); `accumulated` squares the mean gradient over
    all images (what the reference code does). The model must be frozen and in evaluation mode.

    views_at_once: how many views of a batch go through the model together; None: all. With fewer, activations take as
    much less, and `fisher` holds n times the numbers of all layers' gradients instead. The result is the same to
    rounding. ranks: whose own the batches are, as `curvature_items` deals them out.
    """
    gathered = (_Fisher if criterion == "fisher" else _Accumulated)(*_layers(model, anatomy))
    images = _gather(gathered, model, anatomy, batches, global_views, views_at_once, ranks)
    return _curvature(gathered, anatomy, images)


def _curvature(gathered: _Fisher | _Accumulated, anatomy: Anatomy, images: int) -> Curvature:
    if not images:
        raise ValueError("no images to estimate curvature from")
    layers = gathered.row_means(images)
    mlp = torch.stack(layers[0::2])
    head = _by_head(torch.stack(layers[1::2]), anatomy)
    return Curvature(mlp.float().cpu().numpy(), head.float().cpu().numpy(), images)


def head_gradients(
    model: nn.Module,
    anatomy: Anatomy,
    batches: Iterable[Tensor],
    global_views: int,
    views_at_once: int | None = None,
) -> tuple[Doubles, Floats, Floats]:
    """What the curvature of the heads is made of, from batches (V, n, 3, h, w) of normalised views.

    Returns each image's loss (N,), each image's mean squared gradient of every head (N, L, H), whose mean over images
    is the Fisher curvature, and the accumulated curvature (L, H) of the same images. views_at_once: as above.
    """
    gradients, accumulated = _ImageGradients(), _Accumulated(*_layers(model, anatomy))
    heads: dict[int, list[Tensor]] = {}  # (n, H) of each batch, by layer

    def collect(layer: int, x: Tensor, grad: Tensor, last: bool) -> None:
        if layer % 2 == 0:  # the lessons are of heads
            return
        accumulated.collect(layer, x, grad, last)
        squares = gradients.squares(layer, x, grad, last)
        if squares is not None:
            heads.setdefault(layer, []).append(_by_head(squares / x.shape[-1], anatomy))

    losses = [_backward(model, anatomy, views, global_views, views_at_once, collect) for views in batches]
    if not losses:
        raise ValueError("no images to take gradients of")
    by_image = torch.stack([torch.cat(heads[layer]) for layer in sorted(heads)], dim=1)
    total = _by_head(torch.stack(accumulated.row_means(sum(map(len, losses)))[1::2]), anatomy)
    return (
        torch.cat(losses).cpu().double().numpy(),
        by_image.float().cpu().numpy(),
        total.float().cpu().numpy(),
    )


def label_curvature(
    model: nn.Module, anatomy: Anatomy, classifier: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
) -> Curvature:
    """As `fisher`, of the cross-entropy that the model's own head has with labels, which SnapViT does without.

    classifier: embeddings (n, D) to logits (n, classes); batches: normalised images (n, 3, h, w) and classes (n,).
    """
    gathered, images = _Fisher(*_layers(model, anatomy)), 0
    for pixels, labels in batches:
        with torch.enable_grad(), _gradient_taps(anatomy, len(pixels), partial(gathered.collect, last=True)):
            F.cross_entropy(classifier(embed(model, pixels)), labels, reduction="sum").backward()
        images += len(pixels)
    return _curvature(gathered, anatomy, images)


def mean_gradients(
    model: nn.Module,
    anatomy: Anatomy,
    batches: Iterable[Tensor],
    global_views: int,
    views_at_once: int | None = None,
    ranks: Ranks = ALONE,
) -> list[Tensor]:
    """Gradient of the mean loss of all images by the weights that the curvature looks at: (F, D) of each block's fc1,
    or gate projection, and (H*d, D) of its value projection, block by block. views_at_once, ranks: as above."""
    gathered = _Accumulated(*_layers(model, anatomy))
    images = _gather(gathered, model, anatomy, batches, global_views, views_at_once, ranks)
    if not images:
        raise ValueError("no images to take gradients of")
    return gathered.means(images)


def curvature_items(criterion: Criterion, batch: int) -> int:
    """Images whose gradients are one summand, where batches are of so many: a batch, or several where the gradients
    themselves are added up."""
    return batch if criterion == "fisher" else batch * max(1, SUMMED_IMAGES // batch)


def _gather(
    gathered: _Fisher | _Accumulated,
    model: nn.Module,
    anatomy: Anatomy,
    batches: Iterable[Tensor],
    global_views: int,
    at_once: int | None,
    ranks: Ranks,
) -> int:
    """Add up what all images give; returns how many there are."""
    images = Sum(gathered.pieces[0].numbers.new_empty(0))

    def work() -> Iterator[None]:
        taken = item = 0  # images of the item under way, and of a whole one
        for views in batches:
            item = item or curvature_items(gathered.criterion, views.shape[1])
            count = len(_backward(model, anatomy, views, global_views, at_once, gathered.collect))
            images.count += count
            taken += count
            if taken >= item:
                yield
                taken = 0
        if taken:
            yield

    ranks.reduce(work(), [*gathered.pieces, images], gathered.direct)
    return images.count


def _layers(model: nn.Module, anatomy: Anatomy) -> tuple[list[int], int, Tensor]:
    """Rows of each fc1 and each value projection, how wide they are, and a tensor of the weights' kind and place."""
    topology = anatomy.topology
    rows = [topology.hidden, topology.heads * topology.head_width] * topology.blocks
    return rows, topology.width, next(model.parameters())


def _by_head(value_rows: Tensor, anatomy: Anatomy) -> Tensor:
    """(..., H*d) to (..., H): the mean over each head's rows."""
    topology = anatomy.topology
    return value_rows.unflatten(-1, (topology.heads, topology.head_width)).mean(dim=-1)


def _backward(
    model: nn.Module, anatomy: Anatomy, views: Tensor, global_views: int, at_once: int | None, collect: Collect
) -> Tensor:
    """Loss (n,) of each image of one batch of views (V, n, 3, h, w); `collect` sees the gradients of their sum."""
    count, images = views.shape[:2]
    at_once = at_once or count
    with torch.no_grad():  # of the global views that the first group lacks: it needs their targets already
        targets = [teacher_targets(embed(model, view)[None]) for view in views[at_once:global_views]]

    def group_loss(group: Tensor, first: int) -> Tensor:
        """In a scope of its own: what it leaves holds no graph, which would hold the taps and their activations."""
        embeddings = embed(model, group.flatten(0, 1)).unflatten(0, group.shape[:2])
        if first == 0:
            targets.insert(0, teacher_targets(embeddings[:global_views]))
        losses = view_agreement(embeddings, torch.cat(targets), first)
        losses.sum().backward()
        return losses.detach()

    losses = []
    for first in range(0, count, at_once):
        last = first + at_once >= count
        with torch.enable_grad(), _gradient_taps(anatomy, images, partial(collect, last=last)):
            losses.append(group_loss(views[first : first + at_once], first))
    return torch.stack(losses).sum(dim=0)


@contextmanager
def _gradient_taps(anatomy: Anatomy, images: int, collect: Callable[[int, Tensor, Tensor], None]) -> Iterator[None]:
    """Within, `collect` sees the inputs and output gradients of what leads into each MLP and of each value projection.

    Layers are numbered 2*b for fc1, or the gate projection, of block b and 2*b + 1 for its value rows.
    """

    def tap(layer: int, rows: slice) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x = inputs[0].detach().unflatten(0, (-1, images))
            if not output.requires_grad:  # the first layer: gradients need to flow no further down than here
                output = output.detach().requires_grad_()
            output.register_hook(lambda grad: collect(layer, x, grad[..., rows].unflatten(0, (-1, images))))
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

    criterion: Criterion = "fisher"
    direct = True  # a batch is one summand

    def __init__(self, rows: list[int], width: int, like: Tensor) -> None:
        home = home_of_doubles(like.device)
        self.pieces = [Sum(torch.zeros(r, dtype=torch.float64, device=home)) for r in rows]
        self._width = width
        self._gradients = _ImageGradients()

    def collect(self, layer: int, x: Tensor, grad: Tensor, last: bool) -> None:
        squares = self._gradients.squares(layer, x, grad, last)
        if squares is not None:
            self.pieces[layer].numbers += squares.sum(dim=0)

    def row_means(self, images: int) -> list[Tensor]:
        return [piece.numbers / (images * self._width) for piece in self.pieces]


class _ImageGradients:
    """Each image's gradient of each layer's weights, added up over its views until the last of them has come.

    Where all views come at once, none is held.
    """

    def __init__(self) -> None:
        self._held: dict[int, Tensor] = {}  # (n, out, D) by layer

    def squares(self, layer: int, x: Tensor, grad: Tensor, last: bool) -> Tensor | None:
        """(n, out) as doubles, the sum of squares along each row of the n gradients; None before the last views."""
        x, grad = _by_image(x), _by_image(grad).mT  # (n, v*T, D), (n, out, v*T)
        held = self._held.pop(layer, None)
        if not last:
            self._held[layer] = grad @ x if held is None else held.baddbmm_(grad, x)
            return None
        rows = []
        step = max(1, CHUNK_NUMBERS // (grad.shape[1] * x.shape[2]))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            sums = grad[part] @ x[part] if held is None else held[part].baddbmm_(grad[part], x[part])
            # A norm reads the gradients once; squaring and summing them takes half as long as the product itself
            # where the layer is small.
            rows.append(in_doubles(torch.linalg.vector_norm(sums, dim=2)).square_())
        return torch.cat(rows)


class _Accumulated:
    """Squares of the mean gradient over all images, averaged over each row's weights."""

    criterion: Criterion = "accumulated"
    direct = False  # products of single batches go into the same sum before it is rounded

    def __init__(self, rows: list[int], width: int, like: Tensor) -> None:
        self.pieces = [Sum(torch.zeros(r, width, dtype=like.dtype, device=like.device)) for r in rows]
        self._width = width

    def collect(self, layer: int, x: Tensor, grad: Tensor, last: bool) -> None:
        self.pieces[layer].numbers.addmm_(grad.flatten(0, 2).mT, x.flatten(0, 2))

    def means(self, images: int) -> list[Tensor]:
        return [piece.numbers / images for piece in self.pieces]

    def row_means(self, images: int) -> list[Tensor]:
        return [in_doubles(g.square_()).mean(dim=1) for g in self.means(images)]


def _by_image(tokens: Tensor) -> Tensor:
    """(v, n, T, C) to (n, v*T, C): all views' tokens of an image side by side."""
    return tokens.transpose(0, 1).flatten(1, 2)
