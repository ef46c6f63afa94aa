"""What makes two models with the same weights two models: everything that changes the function they compute."""

from __future__ import annotations

from typing import Any

from timm.layers import GluMlp
from torch import nn

from snapvit.models.anatomy import Anatomy
from snapvit.models.spec import ModelSpec

Plain = dict[str, Any]
# Of a rotary embedding, what changes where it turns what.
ROTARY = (
    "max_res",
    "temperature",
    "min_period",
    "max_period",
    "in_pixels",
    "linear_bands",
    "ref_feat_shape",
    "grid_offset",
    "grid_indexing",
)


def architecture_of(model: nn.Module, anatomy: Anatomy, spec: ModelSpec, config: Plain | None) -> Plain:
    """Plain values that differ wherever the function may: timm's name, the arguments given, and what was built.

    config: keyword arguments of a checkpoint that describes itself, else None. Pretrained tags say which weights, not
    which function. What was built is named in words of our own, so that another version of timm changes nothing.
    """
    block = model.blocks[0]
    special = {  # what few models have; others are named without it
        "pool_heads": 0 if model.attn_pool is None else model.attn_pool.num_heads,
        "pool_prefix": getattr(model, "pool_include_prefix", False),
        "gate_last": isinstance(block.mlp, GluMlp) and block.mlp.gate_last,
    }
    return {name: value for name, value in special.items() if value} | {
        "name": type(model).__name__ if config is not None else spec.name.partition(".")[0],
        "config": config,
        "image_size": list(model.patch_embed.img_size),
        "patch_size": list(model.patch_embed.patch_size),
        "blocks": anatomy.topology.blocks,
        "heads": anatomy.topology.heads,
        "head_width": anatomy.topology.head_width,
        "hidden": anatomy.topology.hidden,
        "width": anatomy.topology.width,
        "prefix_tokens": anatomy.prefix_tokens,
        "pool": "attention" if model.attn_pool is not None else model.global_pool,
        "mlp": type(block.mlp).__name__,
        "activation": _activation(block.mlp.act),
        "attention": type(block.attn).__name__,
        "attention_scale": round(float(block.attn.scale), 9),
        "norms": {
            name: _norm(getattr(owner, name, None))
            for owner, names in ((model, ("norm_pre", "norm", "fc_norm")), (block, ("norm1", "norm2")))
            for name in names
        },
        "query_norm": _norm(getattr(block.attn, "q_norm", None)),
        "rotary": _rotary(model, block.attn),
        "layer_scale": any(
            not isinstance(getattr(block, name, None), nn.Identity | type(None)) for name in ("ls1", "gamma_1")
        ),
    }


def _rotary(model: nn.Module, attention: nn.Module) -> Plain | bool:
    """Its settings, or False where there is none."""
    rope = getattr(model, "rope", None)
    if rope is None:
        return False
    settings = {name: _number(getattr(rope, name, None)) for name in ROTARY}
    return {"kind": type(rope).__name__, "half": attention.rotate_half} | settings


def _number(value: Any) -> Any:
    """100 and 100.0 are one setting."""
    if isinstance(value, tuple | list):
        return [_number(item) for item in value]
    return value if value is None or isinstance(value, bool | str) else float(value)


def _activation(layer: nn.Module) -> str:
    approximate = getattr(layer, "approximate", "none")
    return type(layer).__name__ + ("" if approximate == "none" else f" {approximate}")


def _norm(layer: nn.Module | None) -> str | None:
    if layer is None or isinstance(layer, nn.Identity):
        return None
    return f"{type(layer).__name__} {getattr(layer, 'eps', None):g}"
