"""Checkpoints that say what they are: a VisionTransformer whose safetensors metadata hold its arguments, mean and std.

The metadata are a stranger's: each argument is held to bounds, and no model is built that is larger than its file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from snapvit.artifacts import Preprocess
from snapvit.errors import InputError, harmless

KEYS = ("config", "mean", "std")
# Least and most of each numeric argument; the largest ViT is 8,192 wide and 48 blocks deep.
NUMBERS = {
    "img_size": (1, 2048),
    "patch_size": (1, 512),
    "in_chans": (3, 3),
    "num_classes": (0, 1_000_000),
    "embed_dim": (1, 16_384),
    "depth": (1, 200),
    "num_heads": (1, 512),
    "reg_tokens": (0, 256),
    "mlp_ratio": (0.01, 64),
    "init_values": (0, 100),
    "drop_rate": (0, 1),
    "pos_drop_rate": (0, 1),
    "patch_drop_rate": (0, 1),
    "proj_drop_rate": (0, 1),
    "attn_drop_rate": (0, 1),
    "drop_path_rate": (0, 1),
}
SLACK = 2**20  # numbers that a model may have more than its file: positions of a larger image


def build_described(
    metadata: Mapping[str, str], numbers: int, file: str
) -> tuple[nn.Module, Preprocess, dict[str, Any]]:
    """The model without its weights, how images are prepared for it, and its arguments.

    metadata: with all of KEYS. numbers: how many the file holds. Raises InputError for what describes no model.
    """
    try:
        config = _checked(json.loads(metadata["config"]))
        mean, std = float(metadata["mean"]), float(metadata["std"])
        if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
            raise ValueError(f"mean {mean:g} and std {std:g} normalise no image")
        with torch.device("meta"):  # shapes alone: what is described may need any amount of memory
            needed = sum(tensor.numel() for tensor in VisionTransformer(**config).state_dict().values())
        if needed > 2 * numbers + SLACK:
            raise ValueError(f"a model of {needed:,} numbers, of which the file holds {numbers:,}")
        model = VisionTransformer(**config)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = harmless(error, 200)
        raise InputError(f"The metadata of {file} describe no model that can be built ({reason}).") from error
    return model, Preprocess(tuple(model.patch_embed.img_size), (mean,) * 3, (std,) * 3), config


def _checked(config: object) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise ValueError("its config is no JSON object")
    for name, value in config.items():
        if name in NUMBERS:
            least, most = NUMBERS[name]
            for number in value if isinstance(value, list) else [value]:
                if number is not None and not (_is_number(number) and least <= number <= most):
                    raise ValueError(f"{name} is {str(value)[:40]}; it must be between {least} and {most}")
        elif value is not None and not isinstance(value, bool | str):
            raise ValueError(f"{name[:40]} is no argument that a file may give")
    return config


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
