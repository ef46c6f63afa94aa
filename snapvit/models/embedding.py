"""From pixels to embeddings, the same way everywhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor, nn

from snapvit.artifacts import Preprocess

LEAST_SHARE = 4  # images a core; with fewer, handing them out costs more than it brings


def normalise_pixels(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    """(..., 3, h, w) uint8, or float in [0, 1], to the model's own mean and standard deviation, float32."""
    scale = 255.0 if pixels.dtype == torch.uint8 else 1.0
    mean = torch.tensor(preprocess.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(preprocess.std, device=pixels.device).view(3, 1, 1)
    return (pixels.float() / scale - mean) / std


def embed(model: nn.Module, images: Tensor) -> Tensor:
    """Embedding z(x) of normalised images (B, 3, h, w): what the model gives before its classification head, (B, D)."""
    return model.forward_head(model.forward_features(images), pre_logits=True)


@torch.inference_mode()
def embed_batch(model: nn.Module, images: Tensor) -> Tensor:
    """The same without gradients; on the CPU the images are shared out, each core taking its own through all layers.

    Torch's way is to share out every single layer, whose pieces are so small in a small model that the cores mostly
    wait for one another. One batch at a time: the number of torch's threads belongs to the process.
    """
    cores = torch.get_num_threads()
    if images.device.type != "cpu" or cores == 1 or len(images) < LEAST_SHARE * cores:
        return embed(model, images)
    torch.set_num_threads(1)
    try:
        return torch.cat(list(_threads(cores).map(lambda share: _embed_share(model, share), images.chunk(cores))))
    finally:
        torch.set_num_threads(cores)


@torch.inference_mode()  # which a thread has to say for itself
def _embed_share(model: nn.Module, images: Tensor) -> Tensor:
    return embed(model, images)


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="snapvit-embed")
