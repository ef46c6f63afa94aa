"""The vocabulary of the house: what the stages pass to one another.

L blocks, H heads a block, F hidden neurons a block, D embedding width, d head width.
A *structure* is what one search factor scales: S = L + L*H of them. Index i < L is the MLP of block i; index
L + b*H + h is head h of block b.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from snapvit.errors import InputError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

Criterion = Literal["fisher", "accumulated"]  # which gradients the local curvature squares
Damping = Literal["mean", "p95", "max"]  # of a covariance's diagonal, a share of which is added to it
Pairs = tuple[tuple[float, float], ...]  # (mlp, heads) sparsities
PAPER_PAIRS: Pairs = ((0.15, 0.0), (0.35, 0.2), (0.55, 0.4), (0.65, 0.5))


@dataclass(frozen=True)
class Topology:
    """The counts of a ViT whose blocks are all alike."""

    blocks: int  # L
    heads: int  # H, in each block
    hidden: int  # F, MLP neurons in each block
    width: int  # D
    head_width: int  # d
    tokens: int  # prefix tokens and patches of one image

    @property
    def structures(self) -> int:
        """S: one MLP a block and every head."""
        return self.blocks * (1 + self.heads)

    def structure_name(self, index: int) -> str:
        """Name for people, counted from 1: `Block 3 MLP` or `Block 3 head 2`."""
        if not 0 <= index < self.structures:
            raise IndexError(f"structure {index} of {self.structures}")
        if index < self.blocks:
            return f"Block {index + 1} MLP"
        block, head = divmod(index - self.blocks, self.heads)
        return f"Block {block + 1} head {head + 1}"

    def structure_depth(self) -> Ints:
        """(S,) the block, counted from 0, that each structure belongs to."""
        blocks = np.arange(self.blocks)
        return np.concatenate([blocks, blocks.repeat(self.heads)])


@dataclass(frozen=True)
class Preprocess:
    """How a model wants its images: the numbers of its own data config."""

    size: tuple[int, int]  # height, width in pixels
    mean: tuple[float, float, float]  # of pixels in [0, 1]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    crop_share: float = 1.0  # share of the shorter side that the centre crop keeps


@dataclass(frozen=True)
class Curvature:
    """Local importance of every neuron and head: mean squared gradients, >= 0 (design section 2)."""

    mlp: Floats  # (L, F)
    head: Floats  # (L, H)
    images: int  # how many calibration images it is a mean over


@dataclass(frozen=True)
class CkaMap:
    """Linear CKA between all pairs of structures, as measured."""

    values: Floats  # (S, S), symmetric, in [0, 1], diagonal 1
    images: int


@dataclass(frozen=True)
class CutCkaMap:
    """Linear CKA between the structures that a cut leaves."""

    values: Floats  # (S, S) as in CkaMap; NaN in the rows and columns of structures that are cut away
    images: int


@dataclass(frozen=True)
class MainDirections:
    """Every structure's activations on the direction in which they vary most, over N images."""

    scores: Floats  # (S, N) mean 0 and variance 1, or 0 where a structure does not vary; the sign means nothing
    shares: Floats  # (S,) of the structure's variance that lies in that direction, in [0, 1]


@dataclass(frozen=True)
class MeasuredInteractions:
    """What taking structures out of the full model costs, one by one and in pairs, as far as it is measured.

    A loss is the mean over images of 1 - cos between the projected embedding without the structures and with them.
    """

    singles: Doubles  # (S,) loss without each structure; NaN where not measured
    pairs: Doubles  # (S, S) loss without two, symmetric; NaN where not measured, and on the diagonal
    images: int

    @classmethod
    def empty(cls, structures: int, images: int) -> MeasuredInteractions:
        """Nothing measured yet."""
        return cls(np.full(structures, np.nan), np.full((structures, structures), np.nan), images)

    @property
    def interactions(self) -> Doubles:
        """(S, S) I_ij, how much more two structures cost together than one by one; NaN where not measured."""
        return self.pairs - self.singles[:, None] - self.singles

    def filled(self, other: MeasuredInteractions) -> MeasuredInteractions:
        """With what `other` adds to it, of the same images; where both measured, `other` counts."""
        return MeasuredInteractions(
            np.where(np.isnan(other.singles), self.singles, other.singles),
            np.where(np.isnan(other.pairs), self.pairs, other.pairs),
            other.images,
        )


@dataclass(frozen=True)
class Displacement:
    """How far and in which direction the embedding moves when a structure is taken out, compared over structures.

    d_i is the change of an image's projected, normalised embedding.
    """

    inner: Doubles  # (S, S) mean over images of <d_i, d_j>
    singles: Doubles  # (S,) loss without each structure, as in MeasuredInteractions
    images: int


@dataclass(frozen=True)
class GaussNewton:
    """Mean squared slopes of the embedding by masks at 1, neurons, heads and structures in the same unit."""

    mlp: Doubles  # (L, F) of each neuron
    head: Doubles  # (L, H)
    interactions: Doubles  # (S, S) mean product of two structures' slopes; an MLP's mask is on the whole of it
    images: int
    probes: int  # an image


@dataclass(frozen=True)
class SearchHistory:
    """The evolution strategy's path. Entry 0 of means and covariances is the start, before any evaluation.

    G generations, p individuals each, P sparsity pairs. A generation changes the covariance by D' W D, D (p, S) being
    its individuals less the mean before it: p^2 numbers for S^2. K is 0, but where an earlier version of this program
    kept its first K generations' covariances whole.
    """

    factors: Doubles  # (S,) absolute factors of the best individual seen
    means: Doubles  # (G+1, S)
    covariances: Floats  # (K+1, S, S) A A' of the search distribution; `covariance` knows all G+1
    individuals: Floats  # (G, p, S) as evaluated, before the absolute value
    fitness: Doubles  # (G, p, P) mean 1 - cos at each sparsity pair; lower is better, non-finite as measured
    mixings: Doubles = field(default_factory=lambda: np.empty((0, 0, 0)))  # (G-K, p, p) W of the later generations

    @property
    def generations(self) -> int:
        """G, finished generations."""
        return len(self.fitness)

    @property
    def individual_fitness(self) -> Doubles:
        """(G, p) what the search minimises: the mean over the sparsity pairs."""
        return self.fitness.mean(axis=2)

    @property
    def best_so_far(self) -> Doubles:
        """(G,) the lowest fitness of all individuals up to each generation; NaN where none was finite yet."""
        values = self.individual_fitness
        lowest = np.min(values, axis=1, where=np.isfinite(values), initial=np.inf)
        best = np.minimum.accumulate(lowest)
        return np.where(np.isfinite(best), best, np.nan)

    @property
    def non_finite(self) -> int:
        """How many individuals had no finite fitness; they rank last."""
        return int((~np.isfinite(self.individual_fitness)).sum())

    def covariance(self, generation: int) -> Doubles:
        """(S, S) of the search distribution after `generation` generations; 0 is the start."""
        return next(self._grown([generation]))

    def correlation(self, generation: int) -> Floats:
        """(S, S) the Hessian correlation estimate after `generation` generations."""
        return next(self.correlations([generation]))

    def correlations(self, generations: Iterable[int]) -> Iterator[Floats]:
        """`correlation` of many generations, which takes least where they rise: each goes on from the one before."""
        for covariance in self._grown(generations):
            scale = np.sqrt(np.diag(covariance))
            yield (covariance / np.outer(scale, scale)).astype(np.float32)

    def _grown(self, generations: Iterable[int]) -> Iterator[Doubles]:
        kept, at, found = len(self.covariances) - 1, -1, np.empty(0)
        for generation in generations:
            whole = min(generation, kept)
            if not whole <= at <= generation:
                at, found = whole, self.covariances[whole].astype(np.float64)
            for g in range(at, generation):
                moves = self.individuals[g] - self.means[g]
                found = found + moves.T @ self.mixings[g - kept] @ moves
            at = generation
            yield found


@dataclass(frozen=True)
class NullSearch:
    """What the search's correlations look like when its individuals are ranked at random.

    R replays draw the very numbers that the search drew, but each generation's ranks are shuffled. A *change* is the
    absolute change of one pair's correlation since the start. Entry 0 of G+1 is the start.
    """

    levels: Doubles  # (Q,) rising, in [0, 1]
    quantiles: Floats  # (G+1, Q) of the changes of all pairs in all replays
    low: Floats  # (G+1, Q) 2.5th percentile over the replays of a replay's own quantile
    high: Floats  # (G+1, Q) 97.5th percentile
    strongest: Floats  # (R, G+1) the largest change in each replay
    p99: Doubles  # (G+1,) 99th percentile of the changes of all pairs in all replays
    above: Ints  # (R, G+1) how many of a replay's pairs lie above p99
    eigen_low: Floats  # (G+1, S) 2.5th percentile over the replays of the correlation's eigenvalues, largest first
    eigen_high: Floats  # (G+1, S) 97.5th percentile


@dataclass(frozen=True)
class Floors:
    """Share of its best structures that every block keeps whatever the sparsity: rounded down, but at least one where
    it is above 0."""

    neurons: float = 0.05
    heads: float = 0.2

    def __post_init__(self) -> None:
        for name, share in (("neurons", self.neurons), ("heads", self.heads)):
            if not isinstance(share, int | float) or not 0 <= share <= 1:
                raise InputError(f"The floor for {name} is {share!r}; it must be a number between 0 and 1.")


@dataclass(frozen=True)
class Scores:
    """Final importance: local curvature times the factor of the structure."""

    mlp: Doubles  # (L, F)
    head: Doubles  # (L, H)


@dataclass(frozen=True)
class Ranking:
    """The order in which structures leave, least important first. Protected ones stand at the end and never leave."""

    mlp: Ints  # (L*F,) flat neuron indices b*F + f
    head: Ints  # (L*H,) flat head indices b*H + h
    mlp_protected: int  # how many at the end of `mlp` are protected, over all blocks
    head_protected: int
    blocks: int  # L

    def neuron_order(self) -> Ints:
        """(L, F) neurons of each block, best first."""
        return _best_first(self.mlp, self.blocks)

    def head_order(self) -> Ints:
        """(L, H) heads of each block, best first."""
        return _best_first(self.head, self.blocks)


def _best_first(order: Ints, blocks: int) -> Ints:
    width = len(order) // blocks
    block, unit = np.divmod(order[::-1], width)
    return np.stack([unit[block == b] for b in range(blocks)])


@dataclass(frozen=True)
class Cut:
    """How many of its best structures each block keeps at a pair of sparsities."""

    mlp: float  # share of all neurons to remove, in [0, 1)
    heads: float  # share of all heads to remove
    kept_neurons: tuple[int, ...]  # (L,)
    kept_heads: tuple[int, ...]  # (L,)


@dataclass(frozen=True)
class CostModel:
    """Parameters and multiply-accumulates of any cut, as linear functions of what it keeps.

    Both count the whole model, classification head included; MACs are of one image's forward pass.
    """

    base_params: int  # what no cut removes
    neuron_params: int
    head_params: int
    base_macs: int
    neuron_macs: int
    head_macs: int

    def params(self, cut: Cut) -> int:
        """Parameters left."""
        return self.base_params + self.neuron_params * sum(cut.kept_neurons) + self.head_params * sum(cut.kept_heads)

    def macs(self, cut: Cut) -> int:
        """Multiply-accumulates left."""
        return self.base_macs + self.neuron_macs * sum(cut.kept_neurons) + self.head_macs * sum(cut.kept_heads)


@dataclass(frozen=True)
class LayerStatistics:
    """Mean and covariance of what each block's fc2 and attn.proj read in the full model, over all tokens.

    Covariances are symmetric and held as their lower triangles, row by row: n (n + 1) / 2 numbers.
    """

    neuron_means: Floats  # (L, F)
    neuron_covariances: Floats  # (L, F (F + 1) / 2)
    head_means: Floats  # (L, H d)
    head_covariances: Floats  # (L, H d (H d + 1) / 2)
    images: int
    tokens: int


@dataclass(frozen=True)
class BlockSize:
    """What one block has that a cut can take, and what it costs."""

    neurons: int
    heads: int
    attention_width: int  # all heads together
    mlp_params: int
    attention_params: int
    mlp_macs: int  # of one image's forward pass
    attention_macs: int

    @property
    def params(self) -> int:
        """Of its heads and neurons."""
        return self.mlp_params + self.attention_params

    @property
    def macs(self) -> int:
        """Of its heads and neurons."""
        return self.mlp_macs + self.attention_macs


@dataclass(frozen=True)
class StructureDiff:
    """Every block before and after a cut; the rest is what no block's heads and neurons own, such as the patches'
    projection, norms, the biases of the layers that read them, and the classification head."""

    full: tuple[BlockSize, ...]  # (L,)
    cut: tuple[BlockSize, ...]  # (L,)
    rest_params: tuple[int, int]  # before, after
    rest_macs: tuple[int, int]

    @property
    def params(self) -> tuple[int, int]:
        """Of the whole model, before and after."""
        before, after = (sum(block.params for block in blocks) for blocks in (self.full, self.cut))
        return before + self.rest_params[0], after + self.rest_params[1]

    @property
    def macs(self) -> tuple[int, int]:
        """Of the whole model, before and after."""
        before, after = (sum(block.macs for block in blocks) for blocks in (self.full, self.cut))
        return before + self.rest_macs[0], after + self.rest_macs[1]


@dataclass(frozen=True)
class RunFacts:
    """What pages need to know of a run's model and images without loading either."""

    model: str  # label for people
    data: str
    topology: Topology  # its tokens are 0 where only scores are known
    costs: CostModel | None  # None where only scores are known, of an unknown architecture
    classes: tuple[str, ...]  # empty where the images have no labels
    accuracy_missing: str | None = None  # why k-NN says nothing about them, as the beginning of a sentence
    notes: tuple[str, ...] = ()  # sentences on the images that a reader of their accuracy should know
    device: str = ""  # that computed it last, for people; empty where only scores are known
