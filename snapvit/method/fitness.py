"""How good a set of factors is: how close the cut models' embeddings stay to the full model's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import Tensor

from snapvit.artifacts import Curvature, Doubles, Floors, Pairs
from snapvit.devices import Precision, in_doubles
from snapvit.elastic.ranking import cut_at, final_scores, rank
from snapvit.elastic.vit import ElasticViT
from snapvit.models.embedding import embed_batch


@dataclass(frozen=True)
class PcaProjection:
    """P: the leading principal components of the full model's embeddings."""

    mean: Tensor  # (D,)
    components: Tensor  # (C, D)

    def __call__(self, embeddings: Tensor) -> Tensor:
        """(B, D) to (B, C)."""
        return (embeddings - self.mean) @ self.components.mT


def fit_projection(embeddings: Tensor, components: int) -> PcaProjection:
    """PCA of embeddings (N, D) with min(components, D, N - 1) components: N centred points span no more."""
    count = min(components, embeddings.shape[1], len(embeddings) - 1)
    pca = PCA(count, svd_solver="full").fit(embeddings.cpu().double().numpy())
    found = (torch.from_numpy(numbers).to(embeddings.dtype) for numbers in (pca.mean_, pca.components_))
    return PcaProjection(*(numbers.to(embeddings.device) for numbers in found))


class Fitness:
    """Mean of 1 - cos(P z_cut, P z_full) over the search images, at each sparsity pair. Lower is better.

    A candidate changes which prefix of each weight the elastic model shows, never the weights' number: within a block
    the order of neurons is that of the local curvature whatever the factors, so only counts change, and heads are
    put in the candidate's order.
    """

    def __init__(
        self,
        elastic: ElasticViT,
        curvature: Curvature,
        floors: Floors,
        pairs: Pairs,
        batches: Callable[[], Iterable[Tensor]],
        components: int,
        precision: Precision = "float32",
    ) -> None:
        """`batches()` starts over the normalised search images (B, 3, h, w); `elastic` shows the whole model.

        precision: of the forward passes.
        """
        self._precision: Precision = precision
        self._elastic, self._curvature, self._floors = elastic, curvature, floors
        self._pairs, self._batches = pairs, batches
        with torch.inference_mode():
            full = torch.cat([embed_batch(elastic.model, images, precision) for images in batches()])
            self.projection = fit_projection(full, components)
            self._target = F.normalize(self.projection(full), dim=1)  # (N, C)

    def __call__(self, factors: Doubles, at: Sequence[int] | None = None) -> Doubles:
        """(P,) value at each sparsity pair, or at those of these numbers, for factors (S,) by their absolute value."""
        ranking = rank(final_scores(self._curvature, factors), self._floors)
        self._elastic.order_heads(ranking.head_order())
        values = []
        for mlp, heads in self._pairs if at is None else [self._pairs[number] for number in at]:
            self._elastic.keep(cut_at(ranking, mlp, heads))
            values.append(self._distance())
        return np.array(values)

    @torch.inference_mode()
    def _distance(self) -> float:
        total, row = 0.0, 0
        for images in self._batches():
            projected = self.projection(embed_batch(self._elastic.model, images, self._precision))
            target = self._target[row : row + len(images)]
            total += float(in_doubles(1 - F.cosine_similarity(projected, target, dim=1)).sum())
            row += len(images)
        return total / row
