"""Linear CKA between all pairs of structures (Kornblith et al., 2019), and its repair to a correlation matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from snapvit.artifacts import CkaMap, Cut, CutCkaMap, Doubles, MainDirections
from snapvit.devices import home_of_doubles, in_doubles
from snapvit.elastic.vit import ElasticViT
from snapvit.method.one_thread import ONE_THREAD
from snapvit.models.anatomy import Anatomy, BlockAnatomy
from snapvit.models.embedding import embed
from snapvit.ranks.ranks import ALONE, Ranks, Sum

# Bound on the rows of all Gram matrices held at once, in numbers: 64 MB of float32.
CHUNK_NUMBERS = 16_000_000
SMALLEST_EIGENVALUE = 1e-6


def estimate_cka(model: nn.Module, anatomy: Anatomy, batches: Iterable[Tensor], ranks: Ranks = ALONE) -> CkaMap:
    """CKA map over batches (B, 3, h, w) of normalised images: each MLP by its fc1 output (a gated one by that of its
    gate projection), each head by its slice of proj's input, read at the tokens that the embedding reads: the class
    token, or the mean of the patches where the model pools those. ranks: whose own the batches are."""
    seen = collect_structures(model, anatomy, batches, ranks)
    return CkaMap(linear_cka_map(seen, ranks).cpu().numpy(), images=len(seen[0]))


def collect_structures(
    model: nn.Module, anatomy: Anatomy, batches: Iterable[Tensor], ranks: Ranks = ALONE
) -> list[Tensor]:
    """Features of the S structures, in structure order: L of (N, F), then L*H of (N, d).

    Of a cut model: L of (N, kept neurons), then each block's kept heads in the order in which the model has them.
    ranks: whose own the batches are, of a whole model.
    """
    topology, width = anatomy.topology, anatomy.topology.head_width
    parts = _features(model, anatomy, batches)
    if ranks.size > 1:
        sizes = [topology.hidden] * topology.blocks + [topology.heads * width] * topology.blocks
        parts = _everyones(parts, sizes, next(model.parameters()), ranks)
    layers = [torch.cat(batch_by_batch) for batch_by_batch in zip(*parts, strict=True)]
    heads = [h.unflatten(1, (h.shape[1] // width, width)).unbind(1) for h in layers[topology.blocks :]]
    return layers[: topology.blocks] + [features for block in heads for features in block]


def _features(model: nn.Module, anatomy: Anatomy, batches: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """What each MLP, then the heads of each block, give of one batch after the other: 2 L of (B, C)."""
    blocks = anatomy.topology.blocks
    seen: list[list[Tensor]] = [[] for _ in range(2 * blocks)]
    with _activation_taps(anatomy, seen[:blocks], seen[blocks:]):
        for images in batches:
            with torch.no_grad():
                embed(model, images)
            yield [layer.pop() for layer in seen]


def _everyones(
    parts: Iterable[list[Tensor]], sizes: list[int], like: Tensor, ranks: Ranks
) -> Iterator[tuple[Tensor, ...]]:
    """The features of all batches, of layers that are so wide, where each process has those of its own."""
    kind = torch.empty(0, dtype=like.dtype).numpy().dtype
    for raw in ranks.gather(torch.cat(part, dim=1).cpu().numpy().tobytes() for part in parts):
        rows = np.frombuffer(raw, kind).reshape(-1, sum(sizes)).copy()
        yield torch.from_numpy(rows).to(like.device).split(sizes, dim=1)


def estimate_cut_cka(elastic: ElasticViT, anatomy: Anatomy, cut: Cut, batches: Iterable[Tensor]) -> CutCkaMap:
    """CKA map of the model that `cut` leaves: its MLPs by their kept neurons, its heads by themselves."""
    elastic.keep(cut)
    seen = collect_structures(elastic.model, anatomy, batches)
    topology = anatomy.topology
    heads = [
        topology.blocks + b * topology.heads + int(head)
        for b, (order, kept) in enumerate(zip(elastic.head_order, cut.kept_heads, strict=True))
        for head in order[:kept]
    ]
    places = np.array([*range(topology.blocks), *heads])
    present = np.array([features.shape[1] > 0 for features in seen])
    values = np.full((topology.structures, topology.structures), np.nan, np.float32)
    left = places[present]
    values[np.ix_(left, left)] = linear_cka_map([f for f in seen if f.shape[1]]).cpu().numpy()
    return CutCkaMap(values, images=len(seen[0]))


def main_directions(features: list[Tensor]) -> MainDirections:
    """First principal component of each structure's features (N, C_s), and its share of their variance."""
    scores, shares = zip(*map(_main_direction, features), strict=True)
    return MainDirections(torch.stack(scores).cpu().numpy(), np.array(shares, np.float32))


def _main_direction(features: Tensor) -> tuple[Tensor, float]:
    centred = in_doubles(_centred(features))
    total = float(centred.square().sum())
    if total == 0:
        return centred.new_zeros(len(features), dtype=torch.float32), 0.0
    rows, columns = centred.shape
    # the smaller of the two Gram matrices has the same leading eigenvalue
    if columns <= rows:
        values, vectors = torch.linalg.eigh(centred.mT @ centred)
        scores = centred @ vectors[:, -1]
    else:
        values, vectors = torch.linalg.eigh(centred @ centred.mT)
        scores = vectors[:, -1]
    scores = scores / scores.square().mean().sqrt()
    sign = scores[scores.abs().argmax()].sign()  # eigenvectors have none of their own
    return (sign * scores).float(), min(1.0, float(values[-1]) / total)


@contextmanager
def _activation_taps(anatomy: Anatomy, mlp: list[list[Tensor]], head: list[list[Tensor]]) -> Iterator[None]:
    def read(tokens: Tensor) -> Tensor:  # (B, T, C) to (B, C)
        return tokens[:, anatomy.reads].detach().mean(dim=1)

    with ExitStack() as stack:
        for b, block in enumerate(anatomy.blocks):
            layer, parts, part = _mlp_layer(block)
            after = layer.register_forward_hook(
                lambda _m, _i, y, n=parts, p=part, seen=mlp[b]: seen.append(read(y.chunk(n, dim=-1)[p]))
            )
            before = block.proj.register_forward_pre_hook(lambda _m, i, seen=head[b]: seen.append(read(i[0])))
            stack.callback(after.remove)
            stack.callback(before.remove)
        yield


def _mlp_layer(block: BlockAnatomy) -> tuple[nn.Module, int, int]:
    """The layer that puts out a number a neuron, in how many equal parts it puts them out, and which part is meant.

    An ElasticViT puts another layer in the place of one that holds gate and value both.
    """
    if not block.neurons.stacks:
        return block.mlp_in.layer, 1, 0
    (stack,) = block.neurons.stacks
    return getattr(stack.owner, stack.name), stack.parts, (block.mlp_in.rows.start or 0) // block.neurons.count


def linear_cka_map(features: list[Tensor], ranks: Ranks = ALONE) -> Tensor:
    """(S, S) linear CKA of centred features (N, C_s). A structure without variance gets 0 with all but itself.

    HSIC of two structures is the inner product of their centred Gram matrices, so the map is one product of the
    matrix whose rows are flattened Grams; it is summed over blocks of Gram rows, so the whole is never held.
    ranks: who share the products; all have the same features.
    """
    count = len(features[0])
    centred = [_centred(f) for f in features]
    device = home_of_doubles(features[0].device)
    total = Sum(torch.zeros(len(features), len(features), dtype=torch.float64, device=device))
    step = max(1, CHUNK_NUMBERS // (count * len(features)))

    def work() -> Iterator[None]:
        for start in ranks.share(range(0, count, step)):
            rows = torch.stack([(f[start : start + step] @ f.mT).flatten() for f in centred])  # (S, step*N)
            total.numbers += in_doubles(rows @ rows.mT)
            yield

    ranks.reduce(work(), [total])
    hsic = total.numbers
    scale = hsic.diagonal().clamp_min(0).sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    cka = hsic / torch.outer(scale, scale)
    cka.fill_diagonal_(1.0)
    return cka.clamp_(0.0, 1.0).float()


def _centred(features: Tensor) -> Tensor:
    """features (N, C) less their mean; a column that is constant but for rounding becomes exactly 0."""
    centred = features - features.mean(dim=0)
    rounding = 16 * torch.finfo(features.dtype).eps * features.abs().amax(dim=0)
    return centred * (centred.abs().amax(dim=0) > rounding)


@ONE_THREAD
def nearest_correlation(matrix: np.ndarray) -> Doubles:
    """A correlation matrix close to `matrix` (S, S): symmetrised, negative eigenvalues lifted, unit diagonal."""
    if not np.isfinite(matrix).all():
        raise ValueError("the matrix holds values that are not finite")
    symmetric = (matrix + matrix.T).astype(np.float64) / 2
    values, vectors = np.linalg.eigh(symmetric)
    lifted = (vectors * np.maximum(values, SMALLEST_EIGENVALUE * values[-1])) @ vectors.T
    scale = np.sqrt(np.diag(lifted))
    correlation = lifted / np.outer(scale, scale)
    return (correlation + correlation.T) / 2
