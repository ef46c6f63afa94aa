"""Where a model looks: attention weights of every head, and their rollout through the whole model.

timm's fused attention never holds its weights, so they are computed here again from the very tokens that the
attention is given.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snapvit.errors import InputError
from snapvit.models.anatomy import ATTENTIONS, Anatomy
from snapvit.models.attention import queries_keys_values


@dataclass(frozen=True)
class Looks:
    """Shares of attention that the reader gives to each of P patches of B images.

    The reader is what the embedding reads: the class token, or the mean over all patches as queries where the model
    pools those. What a row lacks to 1 goes to prefix tokens.
    """

    heads: list[Tensor]  # L of (B, h, P), the heads that the block shows, in the order it shows them
    rollout: Tensor  # (B, P)


def attention_weights(attention: nn.Module, tokens: Tensor, rope: Tensor | None = None) -> Tensor:
    """(B, h, T, T) softmax(q k' / sqrt(d)) of each head that `attention` shows, for its input tokens (B, T, D).

    rope: the rotary embedding that the block hands on, where it does. Raises InputError for an unknown attention.
    """
    if type(attention) not in ATTENTIONS:
        known = ", ".join(kind.__name__ for kind in ATTENTIONS)
        raise InputError(f"The weights of {type(attention).__name__} cannot be shown; the explorer knows {known}.")
    queries, keys, _ = queries_keys_values(attention, tokens, rope)
    return (queries * attention.scale @ keys.mT).softmax(dim=-1)


@torch.inference_mode()
def look(model: nn.Module, anatomy: Anatomy, images: Tensor) -> Looks:
    """Attention of every head to the patches, and its rollout, for normalised images (B, 3, h, w).

    Works on a cut model too. Nothing larger than one block's weights is held.
    """
    seen: list[Tensor] = []
    joint: list[Tensor] = []

    def read(attention: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor | None]) -> None:
        weights = attention_weights(attention, inputs[0], named.get("rope"))
        seen.append(_reader_row(weights, anatomy))
        joint[:] = [roll(weights, joint[0] if joint else None)]

    with ExitStack() as stack:
        for block in anatomy.blocks:
            stack.callback(block.attention.register_forward_pre_hook(read, with_kwargs=True).remove)
        model.forward_features(images)
    return Looks(seen, _reader_row(joint[0], anatomy))


def roll(weights: Tensor, before: Tensor | None) -> Tensor:
    """Attention rollout (Abnar and Zuidema, 2020) through one more block, (B, T, T).

    Heads are averaged, the residual connection counts as much as the attention. A block without heads hands its
    tokens on as they are. weights: (B, h, T, T); before: the rollout of the blocks so far.
    """
    same = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device).expand(len(weights), -1, -1)
    step = (weights.mean(dim=1) + same) / 2 if weights.shape[1] else same
    return step if before is None else step @ before


def _reader_row(weights: Tensor, anatomy: Anatomy) -> Tensor:
    """(..., T, T) to (..., P): what the class token, or the mean patch, gives to each patch."""
    return weights[..., anatomy.reads, :].mean(dim=-2)[..., anatomy.prefix_tokens :]
