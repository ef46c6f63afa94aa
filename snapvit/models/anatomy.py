"""The one place that knows where a block keeps its neurons and heads.

Everything else asks `describe(model)` and works on what it names, so a new family is a change here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MethodType
from weakref import WeakSet

import torch.nn as nn
from timm.layers import Attention, AttentionPoolLatent, AttentionRope, GluMlp, Mlp, PatchEmbed, SwiGLU
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor

from snapvit.artifacts import Topology
from snapvit.errors import InputError
from snapvit.models.attention import eva_attention
from snapvit.models.families import FAMILIES

MODELS = (VisionTransformer, VisionTransformerDistilled, Eva)
BLOCKS = (Block, EvaBlock)
ATTENTIONS = (Attention, AttentionRope, EvaAttention)
MLPS = (Mlp, GluMlp, SwiGLU)
LAYERS = ("qkv", "q_proj", "k_proj", "v_proj", "gate", "proj", "fc1", "fc1_g", "fc1_x", "fc2")
POOLS = ("token", "avg", "avgmax", "max")


def _names(kinds: tuple[type, ...]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


KNOWN = (
    f"the families {', '.join(family.name for family in FAMILIES)} as timm builds them ({_names(MODELS)}, of "
    f"{_names(BLOCKS)} with {_names(ATTENTIONS)} and {_names(MLPS)})"
)

# Models whose weights an ElasticViT has put in another order for now.
_held: WeakSet[nn.Module] = WeakSet()


@dataclass(frozen=True)
class Share:
    """A tensor in which every unit (neuron or head) owns an equal run: along `dim` it is [unit, width]."""

    owner: nn.Module
    name: str
    dim: int = 0


@dataclass(frozen=True)
class Stack:
    """A linear layer that does the work of several: its rows are [part, unit, width].

    The parts are query, key and value, or gate and value of a gated MLP.
    """

    owner: nn.Module  # that calls the layer
    name: str
    parts: int
    flat: bool  # the caller splits the output's last dimension; otherwise it reshapes it to (B, T, part, unit, width)


@dataclass(frozen=True)
class Size:
    """A number in which a module says how many units it has, times `each`."""

    owner: nn.Module
    name: str
    each: int = 1


@dataclass(frozen=True)
class Units:
    """A block's neurons, or its heads: all that must be put in order and cut with them."""

    count: int
    shares: tuple[Share, ...]
    stacks: tuple[Stack, ...]
    sizes: tuple[Size, ...]

    def tensors(self) -> Iterator[Tensor]:
        """Every weight (two dimensions) and bias that the units share out among them, in uncut models."""
        for share in self.shares:
            yield getattr(share.owner, share.name)
        for stack in self.stacks:
            yield from getattr(stack.owner, stack.name).parameters()


@dataclass(frozen=True)
class Rows:
    """Some outputs of a linear layer that reads the block's input of width D."""

    layer: nn.Linear
    rows: slice


@dataclass(frozen=True)
class BlockAnatomy:
    """Where one block keeps its neurons and heads, and the layers that the method looks at."""

    attention: nn.Module
    mlp: nn.Module
    neurons: Units
    heads: Units
    mlp_in: Rows  # F outputs, one a neuron: fc1, or the gate projection of a gated MLP
    value: Rows  # H*d outputs, head by head: the value projection
    proj: nn.Linear  # H*d, head by head, to D
    fc2: nn.Linear  # F to D
    # What must run in place of the attention's own forward where that assumes every head, or hides a layer from hooks.
    forward: Callable[..., Tensor] | None


@dataclass(frozen=True)
class Anatomy:
    """A model's topology and the anatomy of each of its blocks."""

    topology: Topology
    blocks: tuple[BlockAnatomy, ...]
    has_class_token: bool
    reads: slice  # tokens that the embedding is made of: the class token, or the patches that are pooled
    prefix_tokens: int  # class, distillation and register tokens before the patches
    pooled_tokens: int  # how many tokens an attention-pool head looks at; 0 where there is none

    @property
    def reads_class_token(self) -> bool:
        """Whether the embedding is made of the class token (and of a distilled model's second one), not of patches."""
        return self.reads.stop is not None


def describe(model: nn.Module) -> Anatomy:
    """Find neurons and heads of `model`. Raises InputError naming what is unknown about it."""
    kind = type(model).__name__
    if model in _held:
        raise InputError(
            f"This {kind} is held by an ElasticViT, which shows it in another order and cut; describe it before, or "
            "after its release."
        )
    if type(model) not in MODELS:
        raise InputError(f"{kind} is not an architecture the explorer can cut; it knows {KNOWN}.")
    _check_surroundings(kind, model)
    blocks = tuple(_describe_block(f"Block {i + 1} of this {kind}", block) for i, block in enumerate(model.blocks))
    shapes = {(b.heads.count, b.attention.head_dim, b.neurons.count) for b in blocks}
    if len(shapes) != 1:
        raise InputError(f"The blocks of {kind} differ in heads or neurons ({sorted(shapes)}); they must be alike.")
    heads, head_width, hidden = shapes.pop()
    prefix, patches = model.num_prefix_tokens, model.patch_embed.num_patches
    topology = Topology(
        blocks=len(blocks),
        heads=heads,
        hidden=hidden,
        width=model.embed_dim,
        head_width=head_width,
        tokens=prefix + patches,
    )
    pooled = 0
    with_prefix = getattr(model, "pool_include_prefix", model.attn_pool is not None)  # Eva has no setting for it
    if model.attn_pool is not None:
        pooled = topology.tokens if with_prefix else patches
    reads = slice(0 if with_prefix else prefix, None)
    if type(model) is VisionTransformerDistilled:  # the mean of its two tokens, whatever its setting says
        reads = slice(0, 2)
    elif model.attn_pool is None and model.global_pool == "token":
        reads = slice(0, 1)
    return Anatomy(topology, blocks, model.cls_token is not None, reads, prefix, pooled)


def hold(model: nn.Module) -> None:
    """Until let_go(model), describe() and a second hold (ValueError) refuse the model."""
    if model in _held:
        raise ValueError(f"this {type(model).__name__} is held by another ElasticViT; release that first")
    _held.add(model)


def let_go(model: nn.Module) -> None:
    """End what hold() began."""
    _held.discard(model)


def replace_forwards(anatomy: Anatomy) -> None:
    """Make attention whose own forward will not do run what `anatomy` names instead, until restore_forwards()."""
    for block in anatomy.blocks:
        if block.forward is not None:
            block.attention.forward = MethodType(block.forward, block.attention)


def restore_forwards(anatomy: Anatomy) -> None:
    """Give every attention its own forward back."""
    for block in anatomy.blocks:
        if block.forward is not None:
            del block.attention.forward


def _check_surroundings(kind: str, model: nn.Module) -> None:
    """Refuse what lies outside the blocks and would make embeddings, costs or cuts wrong."""
    if type(model.patch_embed) is not PatchEmbed:
        raise InputError(
            f"This {kind} makes its tokens by {type(model.patch_embed).__name__}, not by one convolution over patches "
            f"(PatchEmbed), so its costs cannot be counted; the explorer knows {KNOWN}."
        )
    if model.attn_pool is None and model.global_pool not in POOLS:
        raise InputError(
            f"This {kind} pools its tokens in no known way (global_pool {model.global_pool!r}), so an image has no "
            f"single embedding; the explorer knows {', '.join(POOLS)} and map."
        )
    if model.attn_pool is not None and type(model.attn_pool) is not AttentionPoolLatent:
        raise InputError(
            f"This {kind} pools its tokens by {type(model.attn_pool).__name__}; the explorer knows {', '.join(POOLS)} "
            "and map (AttentionPoolLatent)."
        )
    if getattr(model, "rope_mixed", False):
        raise InputError(
            f"This {kind} learns rotary frequencies of its own for every head (mixed RoPE), which the explorer does "
            "not cut."
        )


def _describe_block(where: str, block: nn.Module) -> BlockAnatomy:
    attention, mlp = getattr(block, "attn", None), getattr(block, "mlp", None)
    if type(block) not in BLOCKS or type(attention) not in ATTENTIONS or type(mlp) not in MLPS:
        found = ", ".join(type(part).__name__ for part in (block, attention, mlp))
        raise InputError(f"{where} is built from {found}; the explorer knows {KNOWN}.")
    for name, layer in (("attention", attention.norm), ("MLP", mlp.norm)):
        if not isinstance(layer, nn.Identity):
            raise InputError(
                f"{where} normalises across its whole {name} ({type(layer).__name__}), so removing part of it would "
                "change the rest and exact slicing is impossible."
            )
    for name in LAYERS:
        layer = getattr(attention, name, None) or getattr(mlp, name, None)
        if layer is not None and type(layer) is not nn.Linear:
            raise InputError(f"{where} has a {type(layer).__name__} as {name}; the explorer cuts plain linear layers.")
    heads, value = _describe_heads(where, attention)
    neurons, mlp_in = _describe_neurons(mlp)
    forward = eva_attention if type(attention) is EvaAttention else None
    return BlockAnatomy(attention, mlp, neurons, heads, mlp_in, value, attention.proj, mlp.fc2, forward)


def _describe_heads(where: str, attention: nn.Module) -> tuple[Units, Rows]:
    groups = getattr(attention, "num_kv_groups", 1)
    if groups != 1:
        raise InputError(
            f"In {where[0].lower()}{where[1:]} {groups} heads share each key and value (grouped queries), so a head is "
            "not its own to remove; the explorer cuts attention whose heads share nothing."
        )
    count, width = attention.num_heads, attention.head_dim
    shares, stacks, sizes = _outputs_into(attention.proj, width)
    if attention.qkv is not None:
        stacks.append(Stack(attention, "qkv", parts=3, flat=False))
        value = Rows(attention.qkv, slice(2 * count * width, None))
    else:
        for layer in (attention.q_proj, attention.k_proj, attention.v_proj):
            _add_rows(layer, width, shares, sizes)
        value = Rows(attention.v_proj, slice(None))
    apart = ("q_bias", "k_bias", "v_bias")  # of a fused qkv; that of the keys is a buffer of zeros
    shares += [Share(attention, name) for name in apart if getattr(attention, name, None) is not None]
    if getattr(attention, "gate", None) is not None:
        _add_rows(attention.gate, width, shares, sizes)
    names = {"num_heads": 1, "attn_dim": width, "num_kv_heads": 1, "kv_dim": width}
    sizes += [Size(attention, name, each) for name, each in names.items() if hasattr(attention, name)]
    return Units(count, tuple(shares), tuple(stacks), tuple(sizes)), value


def _describe_neurons(mlp: nn.Module) -> tuple[Units, Rows]:
    count = mlp.fc2.in_features
    shares, stacks, sizes = _outputs_into(mlp.fc2, 1)
    if type(mlp) is GluMlp:
        stacks.append(Stack(mlp, "fc1", parts=2, flat=True))
        mlp_in = Rows(mlp.fc1, slice(count, None) if mlp.gate_last else slice(count))
    elif type(mlp) is SwiGLU:
        _add_rows(mlp.fc1_g, 1, shares, sizes)
        _add_rows(mlp.fc1_x, 1, shares, sizes)
        mlp_in = Rows(mlp.fc1_g, slice(None))
    else:
        _add_rows(mlp.fc1, 1, shares, sizes)
        mlp_in = Rows(mlp.fc1, slice(None))
    return Units(count, tuple(shares), tuple(stacks), tuple(sizes)), mlp_in


def _outputs_into(layer: nn.Linear, width: int) -> tuple[list[Share], list[Stack], list[Size]]:
    """Shares, stacks and sizes to begin with: the columns of the layer that reads the units; its bias is nobody's."""
    return [Share(layer, "weight", dim=1)], [], [Size(layer, "in_features", width)]


def _add_rows(layer: nn.Linear, width: int, shares: list[Share], sizes: list[Size]) -> None:
    """A layer whose outputs are the units' own, `width` each."""
    shares.append(Share(layer, "weight"))
    if layer.bias is not None:
        shares.append(Share(layer, "bias"))
    sizes.append(Size(layer, "out_features", width))
