"""Embeddings of whole image tables."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snapvit.devices import Precision
from snapvit.models.embedding import embed_batch


def embeddings(model: nn.Module, batches: Iterable[Tensor], precision: Precision = "float32") -> Tensor:
    """(N, D) float32 on the CPU, one row an image, of normalised batches (B, 3, h, w)."""
    return torch.cat([embed_batch(model, images, precision).float().cpu() for images in batches])


def mean_cosine(a: Tensor, b: Tensor) -> float:
    """Mean over rows of the cosine between a (N, D) and b (N, D)."""
    return float(F.cosine_similarity(a, b, dim=1).mean())
