"""From pixels to embeddings, the same way everywhere."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor, nn

from snapvit.artifacts import Preprocess
from snapvit.devices import Precision

LEAST_SHARE = 4  # images a core; with fewer, handing them out costs more than it brings


def normalise_pixels(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    """(..., 3, h, w) uint8, or float in [0, 1], to the model's own mean and standard deviation, float32."""
    scale = 255.0 if pixels.dtype == torch.uint8 else 1.0
    mean, std = (torch.tensor(by).view(3, 1, 1).to(pixels.device) for by in (preprocess.mean, preprocess.std))
    return (pixels.float() / scale - mean) / std


def embed(model: nn.Module, images: Tensor) -> Tensor:
    """Embedding z(x) of normalised images (B, 3, h, w): what the model gives before its classification head, (B, D)."""
    return model.forward_head(model.forward_features(images), pre_logits=True)


def embed_batch(model: nn.Module, images: Tensor, precision: Precision = "float32") -> Tensor:
    """The same without gradients, by every core of the CPU (`over_cores`); float32, whatever the layers multiply in."""

    def work(share: Tensor) -> Tensor:  # on a thread of its own, which has to be told of the precision itself
        if precision == "float32":
            return embed(model, share)
        with torch.autocast(share.device.type, getattr(torch, precision)):
            return embed(model, share).float()

    return over_cores(work, images)


@torch.inference_mode()
def over_cores(work: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """`work` on a batch (B, ...), row by row its own; on the CPU rows are shared out, each core doing all the work on
    its own.

    Torch's way is to share out every single layer, whose pieces are so small in a small model that the cores mostly
    wait for one another. One batch at a time: the number of torch's threads belongs to the process.
    """
    cores = torch.get_num_threads()
    if batch.device.type != "cpu" or cores == 1 or len(batch) < LEAST_SHARE * cores:
        return work(batch)
    torch.set_num_threads(1)
    try:
        return torch.cat(list(_threads(cores).map(lambda share: _inferred(work, share), batch.chunk(cores))))
    finally:
        torch.set_num_threads(cores)


@torch.inference_mode()  # which a thread has to say for itself
def _inferred(work: Callable[[Tensor], Tensor], share: Tensor) -> Tensor:
    return work(share)


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="snapvit-embed")
