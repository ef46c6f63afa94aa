"""Cuts any sparsity out of the whole model that lies beside this file: `model = load(mlp=0.65, heads=0.5)`.

The model's weights are in order of importance, so what a cut keeps of a block comes first in every layer. Beside them
model.safetensors holds the ranking and, where the export is corrected, what that takes: the layer that reads the kept
units is solved anew, so that it gives the whole layer's output back as well as it can. With L the Cholesky factor of
its inputs' damped covariance these are the lower triangle of L's inverse, the weight times L, and the inputs' mean.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from snapvit.export.load import build

# Layers and biases whose rows are the units' own; those of qkv and of a packed MLP lie one part after the other.
ROWS = {"qkv", "q_proj", "k_proj", "v_proj", "gate", "q_bias", "k_bias", "v_bias", "fc1", "fc1_g", "fc1_x"}
ELASTIC = "elastic."  # how the names of what is no part of the whole model begin in model.safetensors
CORRECTION = ("inverse", "product", "mean")  # of a layer, where the export is corrected


def kept(order: Tensor, protected: int, blocks: int, ratio: float) -> list[int]:
    """How many units each block keeps when the first floor(ratio * count) of `order` go, but no protected one."""
    if not 0 <= ratio < 1:
        raise ValueError(f"the sparsity is {ratio}; it must be at least 0 and below 1")
    gone = min(math.floor(ratio * len(order) + 1e-9), len(order) - protected)
    return torch.bincount(order[gone:] // (len(order) // blocks), minlength=blocks).tolist()


def corrected(
    weight: Tensor, bias: Tensor | None, keep: int, inverse: Tensor, product: Tensor, mean: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight (D, keep) and bias (D,) that make up for the columns of `weight` (D, n) from `keep` on.

    inverse: the lower triangle of L's inverse, row by row; product (D, n): weight L; mean (n,): of the inputs.
    """
    whole = weight.shape[1]
    lower = weight.new_zeros(whole, whole)
    lower[tuple(torch.tril_indices(whole, whole))] = inverse
    if 2 * keep < whole:
        new = product[:, :keep] @ lower[:keep, :keep]
    else:
        new = torch.addmm(weight[:, :keep], product[:, keep:], lower[keep:, :keep], alpha=-1)
    shift = weight @ mean - new @ mean[:keep]
    return new, shift if bias is None else bias + shift


def cut(config: dict, numbers: dict[str, Tensor], mlp: float, heads: float) -> tuple[dict, dict[str, Tensor]]:
    """`config` and tensors of the model that is left without these shares of all MLP neurons and of all heads.

    numbers: all that model.safetensors holds.
    """
    ranking = {name.removeprefix(ELASTIC): tensor for name, tensor in numbers.items() if name.startswith(ELASTIC)}
    tensors = {name: tensor for name, tensor in numbers.items() if not name.startswith(ELASTIC)}
    blocks, whole_heads, protected = len(config["kept_heads"]), config["kept_heads"][0], config["elastic"]
    neurons = kept(ranking["mlp"], protected["mlp_protected"], blocks, mlp)
    kept_heads = kept(ranking["heads"], protected["heads_protected"], blocks, heads)
    for b in range(blocks):
        head_width = tensors[f"blocks.{b}.attn.proj.weight"].shape[1] // whole_heads
        for part, last, keep in (("attn", "proj", kept_heads[b] * head_width), ("mlp", "fc2", neurons[b])):
            prefix = f"blocks.{b}.{part}."
            weight, bias = tensors[f"{prefix}{last}.weight"], tensors.get(f"{prefix}{last}.bias")
            whole, solve = weight.shape[1], [ranking.get(f"{prefix}{last}.{name}") for name in CORRECTION]
            tensors[f"{prefix}{last}.weight"] = weight[:, :keep].contiguous()
            if solve[0] is not None and keep < whole:
                new = corrected(weight, bias, keep, *solve)
                tensors[f"{prefix}{last}.weight"], tensors[f"{prefix}{last}.bias"] = new
            for name in [name for name in tensors if name.startswith(prefix)]:
                if name.removeprefix(prefix).partition(".")[0] in ROWS:
                    tensors[name] = tensors[name].unflatten(0, (-1, whole))[:, :keep].flatten(0, 1).contiguous()
                if not keep and name != f"{prefix}{last}.bias":
                    del tensors[name]
    return config | {"kept_heads": kept_heads, "kept_neurons": neurons}, tensors


def load(folder: str | Path = ".", mlp: float = 0.0, heads: float = 0.0) -> nn.Module:
    """The model in `folder` without these shares of all its MLP neurons and of all its heads."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    return build(*cut(config, load_file(Path(folder) / "model.safetensors"), mlp, heads))
