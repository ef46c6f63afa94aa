"""Which timm architectures weights may be of: what to tell a person whose checkpoint does not fit the one named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

MODULES = ("vision_transformer", "deit", "eva")  # of timm, where the families that can be cut are
# Words of timm's names by the width of the embedding; only names with one of them are built and compared.
WORDS = {
    192: ("tiny",),
    384: ("small",),
    512: ("medium",),
    768: ("base",),
    1024: ("large",),
    1152: ("so400m",),
    1280: ("huge",),
    1408: ("giant",),
    1536: ("giant",),
    1664: ("gigantic",),
    4096: ("7b",),
}
NAMED = 3


def describe_weights(weights: Mapping[str, Tensor]) -> str:
    """`12 blocks, width 384, patches of 8 pixels`, as far as the tensors tell."""
    patch, width, blocks = (_traits(weights).get(name) for name in ("patch", "width", "blocks"))
    known = [f"{blocks} blocks" if blocks else "", f"width {width}" if width else ""]
    known.append(f"patches of {patch} pixels" if patch else "")
    return ", ".join(part for part in known if part)


def architectures_like(weights: Mapping[str, Tensor]) -> list[str]:
    """At most three timm names whose tensors have the shapes of `weights` wherever the image size says nothing."""
    traits = _traits(weights)
    patch, width = traits.get("patch"), traits.get("width")
    words = WORDS.get(width, ()) if patch else ()
    likely = [
        name
        for module in MODULES
        for name in timm.list_models(module=module)
        if f"patch{patch}" in name and any(word in name for word in words)
    ]
    found: list[str] = []
    for name in sorted(likely, key=len):
        if len(found) < NAMED and _traits_of(name) == traits:
            found.append(name)
    return found


def _traits_of(name: str) -> dict[str, Any] | None:
    try:
        with torch.device("meta"):  # shapes alone
            model: nn.Module = timm.create_model(name, num_classes=0)
    except (AssertionError, RuntimeError, TypeError, ValueError):
        return None
    return _traits(model.state_dict())


def _traits(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What of an architecture its tensors tell, whatever the image size and the classifier."""
    patches = weights.get("patch_embed.proj.weight")
    first = {name.removeprefix("blocks.0."): t for name, t in weights.items() if name.startswith("blocks.0.")}
    fc1 = _first_of(first, "mlp.fc1.weight", "mlp.fc1_g.weight", "mlp.w12.weight", "mlp.w1.weight")
    registers = _first_of(weights, "reg_token", "register_tokens", "storage_tokens")
    blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    return {
        "patch": patches.shape[-1] if patches is not None and patches.ndim == 4 else None,
        "width": len(patches) if patches is not None and patches.ndim else None,
        "blocks": len(blocks),
        "hidden": len(fc1) if fc1 is not None and fc1.ndim else None,
        "registers": registers.shape[-2] if registers is not None and registers.ndim > 1 else 0,
        "distilled": "dist_token" in weights,
        "pool": "attn_pool.latent" in weights,
        "positions": "pos_embed" in weights,
        "scaled": any(name.startswith(("ls1.", "gamma_1")) for name in first),
        "bias": any(name in first for name in ("attn.qkv.bias", "attn.q_bias")),
    }


def _first_of(tensors: Mapping[str, Tensor], *names: str) -> Tensor | None:
    return next((tensors[name] for name in names if name in tensors), None)
