"""From pixels to embeddings, the same way everywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snapvit.artifacts import Preprocess


def normalise_pixels(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    """(..., 3, h, w) uint8, or float in [0, 1], to the model's own mean and standard deviation, float32."""
    scale = 255.0 if pixels.dtype == torch.uint8 else 1.0
    mean = torch.tensor(preprocess.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(preprocess.std, device=pixels.device).view(3, 1, 1)
    return (pixels.float() / scale - mean) / std


def embed(model: nn.Module, images: Tensor) -> Tensor:
    """Embedding z(x) of normalised images (B, 3, h, w): what the model gives before its classification head, (B, D)."""
    return model.forward_head(model.forward_features(images), pre_logits=True)
