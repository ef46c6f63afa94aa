"""Queries, keys and values of every kind of attention, and EvaAttention's forward for any number of heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import apply_rot_embed_cat
from timm.models.eva import EvaAttention
from torch import Tensor, nn


def eva_attention(
    attention: EvaAttention,
    tokens: Tensor,
    rope: Tensor | None = None,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """What `attention` computes of tokens (B, T, D) in evaluation mode, whatever number of heads it has left.

    timm's own forward cannot be used on part of the heads, since it reshapes to the width of the input; and where
    the biases of query, key and value are kept apart it reads qkv's weight past the layer, so that no hook sees it.
    """
    q, k, v = queries_keys_values(attention, tokens, rope)
    if attention.fused_attn or attn_mask is not None or is_causal:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, is_causal=is_causal)
    else:  # what somebody switches to who wants to see the probabilities, which pass through attn_drop
        out = attention.attn_drop((q @ k.mT * attention.scale).softmax(dim=-1)) @ v
    out = out.transpose(1, 2).flatten(2)
    if attention.gate is not None:
        out = out * attention.gate(tokens).sigmoid()
    return attention.proj(out)


def queries_keys_values(
    attention: nn.Module, tokens: Tensor, rope: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What Attention, AttentionRope or EvaAttention compares and mixes, each (B, h, T, d), for its tokens (B, T, D).

    Queries and keys come normalised and rotated where the model does so, but not scaled.
    """
    by_head = (attention.num_heads, attention.head_dim)
    if attention.qkv is None:
        layers = (attention.q_proj, attention.k_proj, attention.v_proj)
        qkv = [layer(tokens).unflatten(2, by_head) for layer in layers]
    else:
        fused = attention.qkv(tokens).reshape(*tokens.shape[:2], 3, *by_head)
        if getattr(attention, "q_bias", None) is not None:
            fused = fused + torch.stack([attention.q_bias, attention.k_bias, attention.v_bias]).view(3, *by_head)
        qkv = fused.unbind(2)
    q, k, v = (part.transpose(1, 2) for part in qkv)  # (B, h, T, d)
    q, k = attention.q_norm(q), attention.k_norm(k)
    if rope is not None:
        q, k = (_rotated(part, rope, attention).type_as(v) for part in (q, k))
    return q, k, v


def _rotated(part: Tensor, rope: Tensor, attention: nn.Module) -> Tensor:
    """(B, h, T, d) with the patches, not the prefix tokens, rotated by their places."""
    prefix, patches = part.tensor_split((attention.num_prefix_tokens,), dim=2)
    return torch.cat([prefix, apply_rot_embed_cat(patches, rope, half=attention.rotate_half)], dim=2)
