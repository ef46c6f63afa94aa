"""Weights under the names of Hugging Face's transformers (ViT, DeiT, DINOv2, DINOv3, SigLIP), renamed to the names that
timm's own converters take: those of the original publications. Facts from transformers' conversion scripts."""

from __future__ import annotations

import re

import torch
from torch import Tensor

Weights = dict[str, Tensor]

# A file of transformers has one of these, which timm never has.
ANCHORS = (
    "embeddings.patch_embeddings.projection.weight",
    "embeddings.patch_embeddings.weight",
    "embeddings.patch_embedding.weight",
)
LAYER = r"(?:encoder\.)?layers?\.(\d+)\."
# (pattern, replacement) of whole names; `.weight` and `.bias` at the end stay.
RULES = [
    (re.compile(rf"{pattern}(\.weight|\.bias)?"), replacement)
    for pattern, replacement in (
        (r"embeddings\.patch_embeddings?(?:\.projection)?", r"patch_embed.proj"),
        (r"embeddings\.(?:position_embeddings|position_embedding\.weight)", r"pos_embed"),
        (r"embeddings\.(cls_token|mask_token|register_tokens)", r"\1"),
        (r"embeddings\.distillation_token", r"dist_token"),
        (r"(?:layernorm|post_layernorm|norm)", r"norm"),
        (r"(?:cls_)?classifier", r"head"),
        (r"distillation_classifier", r"head_dist"),
        (rf"{LAYER}(?:layernorm_before|layer_norm1|norm1)", r"blocks.\1.norm1"),
        (rf"{LAYER}(?:layernorm_after|layer_norm2|norm2)", r"blocks.\1.norm2"),
        (rf"{LAYER}(?:attention\.attention|attention|self_attn)\.(query|key|value)", r"blocks.\1.attn.\2"),
        (rf"{LAYER}(?:attention|self_attn)\.q_proj", r"blocks.\1.attn.query"),
        (rf"{LAYER}(?:attention|self_attn)\.k_proj", r"blocks.\1.attn.key"),
        (rf"{LAYER}(?:attention|self_attn)\.v_proj", r"blocks.\1.attn.value"),
        (rf"{LAYER}(?:attention\.output\.dense|attention\.o_proj|self_attn\.out_proj)", r"blocks.\1.attn.proj"),
        (rf"{LAYER}layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
        (rf"{LAYER}(?:intermediate\.dense|mlp\.fc1|mlp\.up_proj)", r"blocks.\1.mlp.fc1"),
        (rf"{LAYER}(?:output\.dense|mlp\.fc2|mlp\.down_proj)", r"blocks.\1.mlp.fc2"),
        (rf"{LAYER}mlp\.gate_proj", r"blocks.\1.mlp.gate"),
        (rf"{LAYER}mlp\.weights_in", r"blocks.\1.mlp.w12"),
        (rf"{LAYER}mlp\.weights_out", r"blocks.\1.mlp.w3"),
        (r"head\.probe", r"attn_pool.latent"),
        (r"head\.attention\.out_proj", r"attn_pool.proj"),
        (r"head\.layernorm", r"attn_pool.norm"),
        (r"head\.mlp\.(fc[12])", r"attn_pool.mlp.\1"),
    )
]


def is_of_transformers(weights: Weights) -> bool:
    """Whether these names are those of transformers, with nothing before them."""
    return any(anchor in weights for anchor in ANCHORS)


def from_transformers(weights: Weights) -> Weights:
    """The same numbers under the original names: query, key and value in one tensor, as timm has them.

    What no rule knows keeps its name, so that a misfit is told by it.
    """
    renamed = {_renamed(name): tensor for name, tensor in weights.items()}
    _join(renamed)
    if "pos_embed" not in renamed and "register_tokens" in renamed:  # DINOv3 turns positions in its attention
        renamed["storage_tokens"] = renamed.pop("register_tokens")
        renamed.pop("mask_token", None)
        return renamed
    if "register_tokens" in renamed:  # by the token that only training needs, timm knows DINOv2's files
        renamed.setdefault("mask_token", torch.zeros(1))
    if renamed.get("pos_embed", torch.zeros(1, 1, 1)).ndim == 2:  # a table of SigLIP
        renamed["pos_embed"] = renamed["pos_embed"][None]
    return renamed


def _renamed(name: str) -> str:
    for pattern, replacement in RULES:
        found = pattern.fullmatch(name)
        if found:
            return found.expand(replacement) + (found[found.re.groups] or "")
    in_pool = re.fullmatch(r"head\.attention\.in_proj_(weight|bias)", name)
    return f"attn_pool.in_proj.{in_pool[1]}" if in_pool else name


def _join(weights: Weights) -> None:
    """Put what timm keeps in one tensor together, and apart what it keeps apart, in place."""
    for query in [name for name in weights if ".attn.query." in name]:
        names = [query.replace("query", part) for part in ("query", "key", "value")]
        parts = [weights.pop(name, None) for name in names]
        if parts[1] is None and query.endswith("bias"):  # DINOv3's keys have none
            parts[1] = torch.zeros_like(parts[0])
        if any(part is None for part in parts):
            weights |= {name: part for name, part in zip(names, parts, strict=True) if part is not None}
        else:
            weights[query.replace("query", "qkv")] = torch.cat(parts)
    for gate in [name for name in weights if ".mlp.gate." in name]:
        for part, published in (("gate", "w1"), ("fc1", "w2"), ("fc2", "w3")):
            name = gate.replace("gate", part)
            if name in weights:
                weights[gate.replace("gate", published)] = weights.pop(name)
    for kind in ("weight", "bias"):
        whole = weights.pop(f"attn_pool.in_proj.{kind}", None)
        if whole is not None:
            width = len(whole) // 3
            weights[f"attn_pool.q.{kind}"], weights[f"attn_pool.kv.{kind}"] = whole[:width], whole[width:]
