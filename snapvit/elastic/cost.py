"""What a cut costs: parameters and multiply-accumulates exactly, latency by measurement."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

from snapvit.artifacts import CostModel, Preprocess
from snapvit.models.anatomy import Anatomy


def cost_model(model: nn.Module, anatomy: Anatomy) -> CostModel:
    """Costs of every cut of the uncut `model`.

    MACs count linear layers, the patch convolution and the two products of attention; a bias, a norm or an
    activation counts nothing.
    """
    topology, block = anatomy.topology, anatomy.blocks[0]
    tokens, width, head_width = topology.tokens, topology.width, topology.head_width
    neuron_params = 2 * width + (block.fc1.bias is not None)
    head_params = 4 * head_width * width + 3 * head_width * (block.qkv.bias is not None)
    cuttable = topology.blocks * (topology.hidden * neuron_params + topology.heads * head_params)
    patches = tokens - anatomy.prefix_tokens
    return CostModel(
        base_params=sum(p.numel() for p in model.parameters()) - cuttable,
        neuron_params=neuron_params,
        head_params=head_params,
        base_macs=patches * model.patch_embed.proj.weight.numel() + _pool_macs(model, tokens) + _classifier_macs(model),
        neuron_macs=2 * tokens * width,
        head_macs=4 * tokens * width * head_width + 2 * tokens * tokens * head_width,
    )


def _classifier_macs(model: nn.Module) -> int:
    classifier = model.get_classifier()
    return classifier.weight.numel() if isinstance(classifier, nn.Linear) else 0


def _pool_macs(model: nn.Module, tokens: int) -> int:
    """Of timm's attention pooling, where a few learned queries look at all tokens."""
    pool = getattr(model, "attn_pool", None)
    if pool is None:
        return 0
    seen = tokens if model.pool_include_prefix else tokens - model.num_prefix_tokens
    queries = [pool.q, pool.proj] + ([pool.mlp.fc1, pool.mlp.fc2] if pool.mlp is not None else [])
    per_query = sum(layer.weight.numel() for layer in queries if isinstance(layer, nn.Linear))
    products = 2 * seen * pool.num_heads * pool.head_dim
    return seen * pool.kv.weight.numel() + pool.latent_len * (per_query + products)


@torch.inference_mode()
def measure_latency(model: nn.Module, preprocess: Preprocess, repeats: int = 25) -> float:
    """Median milliseconds of one forward pass of one image on one thread, after two that are not counted.

    On one thread, because for a single image waking the others costs as much as they save and varies far more.
    """
    device = next(model.parameters()).device
    image = torch.zeros(1, 3, *preprocess.size, device=device)
    times = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for turn in range(repeats + 2):
            start = time.perf_counter()
            model(image)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= 2:
                times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return 1000 * float(np.median(times))
