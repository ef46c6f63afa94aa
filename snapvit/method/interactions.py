"""How structures depend on one another, by taking them out (design section 2).

e is an image's embedding, projected on its principal components and normalised. L(R) = mean over images of
1 - <e without R, e> is what taking out the structures R costs, and I_ij = L({i,j}) - L({i}) - L({j}) how much more the
two cost together. `measured_rows` gives it pair by pair; `estimate_displacement` estimates all pairs from single
removals: 1 - cos is half a squared distance, so I_ij is about mean_n <d_i, d_j> with d_i = (e without i) - e.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snapvit.artifacts import Displacement, Doubles, Ints, MeasuredInteractions, Topology
from snapvit.devices import home_of_doubles, in_doubles
from snapvit.method.fitness import PcaProjection, fit_projection
from snapvit.method.removal import Passage
from snapvit.models.anatomy import Anatomy
from snapvit.models.embedding import embed_batch
from snapvit.ranks.ranks import ALONE, Ranks, dealt

# Start over normalised images (B, 3, h, w); always the same ones in the same batches.
Batches = Callable[[], Iterable[Tensor]]
# Hears of image passes through the full model that are done; may raise to stop.
Done = Callable[[float], None]


class Directions:
    """e of the full model's images, and of the same images with something taken out."""

    def __init__(self, model: nn.Module, batches: Batches, components: int, done: Done = lambda _: None) -> None:
        """components: of the PCA; at most the embedding's width."""
        embeddings = []
        for images in batches():
            embeddings.append(embed_batch(model, images))
            done(len(images))
        full = torch.cat(embeddings)
        self.projection: PcaProjection = fit_projection(full, components)
        self.full = self.of(full)  # (N, C)

    @torch.inference_mode()
    def of(self, embeddings: Tensor) -> Tensor:
        """(B, C) e of embeddings (B, D)."""
        return F.normalize(self.projection(embeddings), dim=1)


def estimate_displacement(
    model: nn.Module,
    anatomy: Anatomy,
    batches: Batches,
    components: int,
    done: Done = lambda _: None,
    ranks: Ranks = ALONE,
) -> Displacement:
    """Mean <d_i, d_j> of all structures, one removal each; a removal goes on from the block that it changes.

    Held beside one batch's activations: its tokens at one block, and its displacements (S, B, C).
    ranks: who share the structures, of which the earliest go on from the first block.
    """
    size, blocks = anatomy.topology.structures, anatomy.topology.blocks
    shares = dealt([pass_left(int(block), blocks) for block in anatomy.topology.structure_depth()], ranks.size)
    own = set(shares[ranks.rank])
    passage, directions = Passage(model, anatomy), Directions(model, batches, components, done)
    inner = torch.zeros(size, size, dtype=torch.float64, device=home_of_doubles(directions.full.device))
    losses, row = torch.zeros_like(inner[0]), 0
    for images in batches():
        full = directions.full[row : row + len(images)]
        moved = torch.empty(size, *full.shape, dtype=full.dtype, device=full.device)
        tokens = passage.enter(images)
        for block in range(blocks):
            for structure in (s for s in structures_of(anatomy.topology, block) if s in own):
                with passage.without([structure]):
                    moved[structure] = directions.of(passage.leave(block, tokens)) - full
                done(len(images) * pass_left(block, blocks))
            tokens = passage.step(block, tokens)
        moved = ranks.completed(moved, shares)
        losses -= in_doubles(moved * full).sum(dim=(1, 2))
        inner += in_doubles(moved.flatten(1) @ moved.flatten(1).mT)
        row += len(images)
    return Displacement((inner / row).cpu().numpy(), (losses / row).cpu().numpy(), images=row)


def measured_rows(
    model: nn.Module,
    anatomy: Anatomy,
    batches: Batches,
    components: int,
    pairs: Ints,
    done: Done = lambda _: None,
    ranks: Ranks = ALONE,
) -> Iterator[MeasuredInteractions]:
    """Measure pairs (P, 2), row by row: each piece holds one structure's own loss and those of its pairs with
    structures of the same block or later ones; the latest structures come first.

    Every pair goes on from the later of its two blocks: with one structure out the tokens walk through the blocks, and
    at each block they branch off for the partners in it. So two batches of tokens are held, whatever S is: as they
    reach the structure's block, and as they reach the partner's. Every image passes once for each row, and for each
    pair through the part of the model that is left. ranks: who share the rows, which all of them are given.
    """
    topology = anatomy.topology
    passage, directions = Passage(model, anatomy), Directions(model, batches, components, done)
    rows, images = rows_of(topology, pairs), len(directions.full)

    def measured(structure: int, partners: Ints) -> bytes:
        losses, row = np.zeros(1 + len(partners)), 0
        for batch in batches():
            full = directions.full[row : row + len(batch)]
            losses += _row_losses(passage, directions, batch, full, structure, partners, topology.blocks, done)
            row += len(batch)
        return losses.tobytes()

    found = ranks.gather(measured(*row) for row in ranks.share(rows))
    for (structure, partners), raw in zip(rows, found, strict=True):
        losses = np.frombuffer(raw)
        piece = MeasuredInteractions.empty(topology.structures, images)
        piece.singles[structure] = losses[0] / images
        piece.pairs[structure, partners] = piece.pairs[partners, structure] = losses[1:] / images
        yield piece


@torch.inference_mode()
def _row_losses(
    passage: Passage,
    directions: Directions,
    images: Tensor,
    full: Tensor,
    structure: int,
    partners: Ints,
    blocks: int,
    done: Done,
) -> Doubles:
    """(1 + P,) summed over the images: the loss without `structure`, then without each partner too."""
    losses = np.zeros(1 + len(partners))
    home, homes = passage.block_of[structure], np.array(passage.block_of)[partners]

    def branch(place: int, block: int, tokens: Tensor, out: list[int]) -> None:
        with passage.without(out):
            e = directions.of(passage.leave(block, tokens))
        losses[place] = float(in_doubles(1 - (e * full).sum(dim=1)).sum())
        done(len(images) * pass_left(block, blocks))

    tokens = passage.enter(images)
    for block in range(home):
        tokens = passage.step(block, tokens)
        done(len(images) / blocks)
    for block in range(home, blocks):
        for place in np.flatnonzero(homes == block):
            out = [int(partners[place])] + ([structure] if block == home else [])
            branch(1 + int(place), block, tokens, out)
        with passage.without([structure] if block == home else []):
            tokens = passage.step(block, tokens)
        done(len(images) / blocks)
    branch(0, blocks, tokens, [])
    return losses


def rows_of(topology: Topology, pairs: Ints) -> list[tuple[int, Ints]]:
    """What `measured_rows` does for pairs (P, 2): (structure, its partners in the same block or later ones), the
    latest first, so that both structures' own losses are known when a pair's is. Partners without a row of their own
    get an empty one."""
    depth = topology.structure_depth()
    # by block, then index: of a pair the first in this order has it in its row
    first, second = np.where(
        (depth[pairs[:, 0]] < depth[pairs[:, 1]])
        | ((depth[pairs[:, 0]] == depth[pairs[:, 1]]) & (pairs[:, 0] < pairs[:, 1])),
        pairs.T,
        pairs.T[::-1],
    )
    rows = sorted(set(pairs.ravel().tolist()), key=lambda i: (depth[i], i), reverse=True)
    return [(i, np.sort(second[first == i])) for i in rows]


def sampled_pairs(size: int, count: int, seed: int) -> Ints:
    """(min(count, all), 2) different pairs of `size` structures; a smaller sample is the beginning of a larger one."""
    every = np.column_stack(np.triu_indices(size, 1)).astype(np.int64)
    return every[np.random.default_rng(seed).permutation(len(every))[:count]]


def structures_of(topology: Topology, block: int) -> list[int]:
    """The MLP and the heads of one block."""
    return np.flatnonzero(topology.structure_depth() == block).tolist()


def pass_left(block: int, blocks: int) -> float:
    """Share of a pass that is left before `block`."""
    return (blocks - block) / blocks
