"""What a run takes, before it begins: image passes by stage, batch sizes, and memory.

The pipeline counts its progress in these units and takes these batches, so an estimate made of them is of the same
work. Numbers alone: no torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snapvit.artifacts import Ints, Topology
from snapvit.pipeline.config import RunConfig, path_points

BACKWARD_COST = 3.0  # a view costs about this many forward passes: forward, activation and weight gradients
PROBE_COST = 2.2  # a backward pass of activations alone costs about this many forward passes in a batch of its own
SINGLE_COST = 2.0  # an image alone on one thread costs about this many passes of an image in a batch
FORWARD_BATCH = 64  # images, at most
VIEW_TOKENS = 3_000  # of all views in one curvature batch, at most; more is not faster
# What a batch's activations may take. One view of one image is always in a batch, whatever it takes.
BACKWARD_BYTES, FORWARD_BYTES = 0.4e9, 0.25e9
FLOAT = 4  # bytes
GRAM_BYTES = 64e6  # of the CKA map's Gram matrices, and of the curvature's weight gradients, at once


@dataclass(frozen=True)
class Units:
    """What something takes, by kind: progress counts their sum in image passes through the full model, and an estimate
    multiplies each kind with what it takes here."""

    passes: float = 0.0  # of one image in a batch
    views: float = 0.0  # forward and backward, of one view
    singles: float = 0.0  # passes of one image alone on one thread
    set_up: float = 0.0  # passes before the first progress is told; not counted
    decoded: int = 0  # images read and resized; not counted

    @property
    def total(self) -> float:
        """In passes, as progress counts them."""
        return self.passes + BACKWARD_COST * self.views + SINGLE_COST * self.singles


@dataclass(frozen=True)
class Effort:
    """Counts of everything that a run does."""

    topology: Topology
    config: RunConfig
    curvature_images: int  # what the images leave of the numbers asked for
    cka_images: int
    search_images: int
    correction_images: int
    queries: int
    knn_images: int  # queries, and the gallery where there is an accuracy to measure
    gallery: int
    examples: int  # whose attention is shown
    interaction_images: int
    calibration_images: int  # all there are
    halvings: int = 0  # of every batch, where the device has too little memory for the usual ones

    @property
    def candidate_units(self) -> float:
        """Image passes that judging one individual of the search is worth."""
        return self.search_images * sum(pass_share(mlp, heads) for mlp, heads in self.config.search.pairs)

    def cut_units(self, mlp: float, heads: float) -> float:
        """Image passes that measuring one cut is worth."""
        return self.knn_images * pass_share(mlp, heads)

    @property
    def path(self) -> list[float]:
        """Sparsities that the evaluation measures, in its order."""
        return path_points(self.config.evaluation.points)

    @property
    def curvature_batch(self) -> int:
        """Images in one batch of the curvature."""
        return _halved(self._usual_curvature_batch, self.halvings)[0]

    @property
    def _usual_curvature_batch(self) -> int:
        tokens = self.views * self.topology.tokens
        return max(1, min(VIEW_TOKENS // tokens, int(BACKWARD_BYTES // (tokens * backward_token_bytes(self.topology)))))

    @property
    def forward_batch(self) -> int:
        """Images in one batch of a forward pass."""
        return _halved(forward_batch(self.topology), self.halvings)[0]

    @property
    def smallest(self) -> bool:
        """Whether no batch can be halved any more."""
        return max(self.forward_batch, self.curvature_batch * self.views_at_once, self.images_at_once) == 1

    @property
    def views(self) -> int:
        """V, views of an image."""
        return self.config.curvature.global_views + self.config.curvature.local_views

    @property
    def images_at_once(self) -> int:
        """Images whose activations are kept together for backward passes of one view each."""
        usual = max(1, int(BACKWARD_BYTES // (self.topology.tokens * backward_token_bytes(self.topology))))
        return _halved(usual, self.halvings)[0]

    @property
    def views_at_once(self) -> int:
        """How many views of a curvature batch go through the model together: all where that fits."""
        batch = self._usual_curvature_batch
        view_bytes = batch * self.topology.tokens * backward_token_bytes(self.topology)
        usual = max(1, min(self.views, int(BACKWARD_BYTES // view_bytes)))
        return _halved(usual, _halved(batch, self.halvings)[1])[0]

    @property
    def correction_passes(self) -> float:
        """Forward passes that an image is worth in the collection of the correction's statistics."""
        topology = self.topology
        heads = topology.heads * topology.head_width
        forward = topology.width * (4 * heads + 2 * topology.hidden) + 2 * topology.tokens * heads
        return 1 + (topology.hidden**2 + heads**2) / forward

    @property
    def correction_disk(self) -> int:
        """Bytes of the correction's statistics as they are kept: the lower triangles of two covariances a block."""
        widths = self.topology.hidden, self.topology.heads * self.topology.head_width
        return FLOAT * self.topology.blocks * sum(n * (n + 1) // 2 + n for n in widths)

    @property
    def correction_bytes(self) -> int:
        """Bytes that the correction takes in memory: whole covariances while they are collected, and as much for the
        factors of one ranking, with their products with the weights."""
        widths = self.topology.hidden, self.topology.heads * self.topology.head_width
        held = FLOAT * self.topology.blocks * sum(n * (n + self.topology.width) for n in widths)
        return held + self.correction_disk

    def pixel_bytes(self, size: tuple[int, int], limit: int) -> int:
        """Bytes of the images that are kept, at the model's input size (height, width); at most `limit` a table."""
        image = 3 * size[0] * size[1]
        return sum(min(image * count, limit) for count in self._kept)

    def pixel_disk(self, size: tuple[int, int], limit: int) -> int:
        """Bytes of the files of decoded images: of the tables that take more than `limit`."""
        image = 3 * size[0] * size[1]
        return sum(image * count for count in self._kept if image * count > limit)

    @property
    def _kept(self) -> tuple[int, ...]:
        """Images of each table; of those of gallery and queries alone where there is an accuracy."""
        gallery = self.knn_images - self.queries
        return self.cka_images, self.search_images, self.correction_images, self.queries, gallery

    @property
    def largest_batch_bytes(self) -> float:
        """Bytes that the hungriest stage takes beside the weights and the images kept.

        Curvature: what autograd and the taps keep of the views that go together, one layer's gradients, and all layers'
        where more views follow. CKA: the activations of
        all structures, as they were and centred, and a block of Gram matrices. Everything else: one forward batch, with
        the correction beside it.
        """
        topology, together = self.topology, self.views_at_once
        tokens = self.curvature_batch * together * topology.tokens
        rows = topology.blocks * (topology.hidden + topology.heads * topology.head_width)
        held = 0 if together == self.views else self.curvature_batch * rows * topology.width * FLOAT
        gradients = tokens * 3 * topology.hidden * FLOAT + 2 * GRAM_BYTES + held
        structures = topology.blocks * (topology.hidden + topology.heads * topology.head_width)
        forward = self.forward_batch * topology.tokens * forward_token_bytes(topology)
        return max(
            tokens * backward_token_bytes(topology) + gradients,
            2 * self.cka_images * structures * FLOAT + 2 * GRAM_BYTES,
            forward + self.correction_bytes,
        )


@dataclass(frozen=True)
class Estimate:
    """Sizes of the model, and what a run of nothing cached takes here."""

    parameters: int
    tokens: int  # of one image
    memory: float  # bytes, most that is resident at once
    disk: float  # bytes that the correction's statistics, and images too large for memory, take in the cache
    seconds: Mapping[str, float]  # by stage

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    def as_values(self) -> dict[str, float]:
        """The numbers of an event."""
        stages = {f"{stage} seconds": seconds for stage, seconds in self.seconds.items()}
        return {
            "parameters": self.parameters,
            "tokens": self.tokens,
            "memory": self.memory,
            "disk": self.disk,
        } | stages

    @classmethod
    def from_values(cls, values: Mapping[str, float]) -> Estimate:
        """The other way."""
        seconds = {name.removesuffix(" seconds"): s for name, s in values.items() if name.endswith(" seconds")}
        return cls(int(values["parameters"]), int(values["tokens"]), values["memory"], values["disk"], seconds)


def pass_share(mlp: float, heads: float) -> float:
    """Rough time of a cut model's forward pass as a share of the full one's: two thirds of a block is MLP."""
    return 1 - 0.6 * mlp - 0.3 * heads


def removal_passes(topology: Topology) -> float:
    """Passes of an image that taking out each structure once is worth: each goes on from its own block."""
    return (1 + topology.heads) * (topology.blocks + 1) / 2


def row_passes(topology: Topology, pairs: Ints) -> float:
    """The same of measuring pairs (P, 2) row by row: one for the full model, one a structure, and for each pair what is
    left from the later of its blocks on."""
    later = topology.structure_depth()[pairs].max(axis=1)
    return 1 + len(np.unique(pairs)) + float((topology.blocks - later).sum()) / topology.blocks if len(pairs) else 0.0


def sample_passes(topology: Topology, count: int) -> float:
    """About the same of a sample of so many pairs, which meets every structure."""
    every = np.column_stack(np.triu_indices(topology.structures, 1))
    alone = 1 + topology.structures
    return alone + (row_passes(topology, every) - alone) * count / len(every)


def _halved(count: int, times: int) -> tuple[int, int]:
    """`count` halved so many times, but not below 1, and how many times are left."""
    possible = min(times, count.bit_length() - 1)
    return count >> possible, times - possible


def forward_batch(topology: Topology) -> int:
    """Images in one batch of a forward pass, where there is memory for it."""
    image_bytes = topology.tokens * forward_token_bytes(topology)
    return max(1, min(FORWARD_BATCH, int(FORWARD_BYTES // image_bytes)))


def backward_token_bytes(topology: Topology) -> int:
    """Bytes kept of one token until the backward pass of frozen weights, over all blocks.

    In a block: two norms' inputs and two tapped layers' inputs (4 D), query, key, value and attention's output
    (4 H d), and the input of the MLP's activation (F).
    """
    attention = 4 * topology.heads * topology.head_width
    return topology.blocks * (4 * topology.width + attention + topology.hidden) * FLOAT


def forward_token_bytes(topology: Topology) -> int:
    """Bytes of one token at the widest place of a block: both sides of the MLP's activation beside the stream."""
    return (2 * topology.hidden + 4 * topology.width) * FLOAT
