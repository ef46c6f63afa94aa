"""The one place that knows where a block keeps its neurons and heads.

Everything else asks `describe(model)` and works on what it names, so a new family is a change here alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn as nn
from timm.layers import Attention, Mlp
from timm.models.vision_transformer import Block, VisionTransformer

from snapvit.artifacts import Topology
from snapvit.errors import InputError

KNOWN = "timm's VisionTransformer with plain pre-norm blocks (fused qkv attention, fc1/fc2 MLP)"


@dataclass(frozen=True)
class BlockAnatomy:
    """The layers of one block that hold its heads and neurons.

    qkv maps D to 3*H*d, its rows being [query, key, value] x head x head width; proj maps H*d to D;
    fc1 maps D to F and fc2 maps F to D.
    """

    attention: Attention
    mlp: Mlp
    qkv: nn.Linear
    proj: nn.Linear
    fc1: nn.Linear
    fc2: nn.Linear


@dataclass(frozen=True)
class Anatomy:
    """A model's topology and the named layers of each of its blocks."""

    topology: Topology
    blocks: tuple[BlockAnatomy, ...]
    has_class_token: bool
    prefix_tokens: int  # class, distillation and register tokens before the patches


def describe(model: nn.Module) -> Anatomy:
    """Find neurons and heads of `model`. Raises InputError naming what is unknown about it."""
    kind = type(model).__name__
    if type(model) is not VisionTransformer:
        raise InputError(f"{kind} is not an architecture the explorer can cut; it knows {KNOWN}.")
    blocks = tuple(_describe_block(kind, i, block) for i, block in enumerate(model.blocks))
    shapes = {(b.attention.num_heads, b.attention.head_dim, b.fc1.out_features) for b in blocks}
    if len(shapes) != 1:
        raise InputError(f"The blocks of {kind} differ in heads or neurons ({sorted(shapes)}); they must be alike.")
    heads, head_width, hidden = shapes.pop()
    topology = Topology(
        blocks=len(blocks),
        heads=heads,
        hidden=hidden,
        width=model.embed_dim,
        head_width=head_width,
        tokens=model.patch_embed.num_patches + model.num_prefix_tokens,
    )
    return Anatomy(topology, blocks, model.has_class_token, model.num_prefix_tokens)


def _describe_block(kind: str, index: int, block: nn.Module) -> BlockAnatomy:
    where = f"Block {index + 1} of this {kind}"
    if type(block) is not Block or type(block.attn) is not Attention or type(block.mlp) is not Mlp:
        parts = (block, getattr(block, "attn", None), getattr(block, "mlp", None))
        found = ", ".join(type(part).__name__ for part in parts)
        raise InputError(f"{where} is built from {found}; the explorer knows {KNOWN}.")
    attention, mlp = block.attn, block.mlp
    for name, layer in (("attention", attention.norm), ("MLP", mlp.norm)):
        if not isinstance(layer, nn.Identity):
            raise InputError(
                f"{where} normalises across its whole {name} ({type(layer).__name__}), so removing part of it would "
                "change the rest and exact slicing is impossible."
            )
    if attention.gate is not None:
        raise InputError(f"{where} has gated attention, which the explorer does not cut yet; it knows {KNOWN}.")
    return BlockAnatomy(attention, mlp, attention.qkv, attention.proj, mlp.fc1, mlp.fc2)
