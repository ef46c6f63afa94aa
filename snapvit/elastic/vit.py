"""Any sparsity of a ViT at once: every cut is a prefix of weights that were put in order once.

Neurons and heads of every block are reordered best first, in place; a cut then shows the model a prefix of each
weight, as a view. Nothing is copied or reloaded on the way down or back up, and the model's own timm forward runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from snapvit.artifacts import Cut, Ints
from snapvit.models.anatomy import Anatomy, BlockAnatomy


class QkvByHead(nn.Module):
    """A fused query, key and value projection whose rows are ordered [head, qkv, width] instead of [qkv, head, width].

    So the first heads are a prefix of the weight. The output is a view of shape (B, T, 3, h, d), which timm's own
    reshape to those sizes leaves as it is.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight (H, 3, d, D), bias (H, 3, d)."""
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) to (B, T, 3, h, d)."""
        heads, three, head_width, width = self.weight.shape
        bias = None if self.bias is None else self.bias.flatten()
        out = nn.functional.linear(tokens, self.weight.view(-1, width), bias)
        return out.view(*tokens.shape[:2], heads, three, head_width).transpose(2, 3)


class ElasticBlock:
    """One block's full weights in order of importance, and the prefix of them that the block shows."""

    def __init__(self, block: BlockAnatomy, heads: int) -> None:
        self._block = block
        self._qkv_linear = block.qkv
        self._heads = heads
        fc1, fc2, qkv, proj = block.fc1, block.fc2, block.qkv, block.proj
        self._fc1_weight, self._fc2_weight = fc1.weight.data, fc2.weight.data  # (F, D), (D, F)
        self._fc1_bias = None if fc1.bias is None else fc1.bias.data  # (F,)
        self._proj_weight = proj.weight.data.unflatten(1, (heads, -1))  # (D, H, d)
        self._qkv_weight = _by_head(qkv.weight.data, heads)  # (H, 3, d, D)
        self._qkv_bias = None if qkv.bias is None else _by_head(qkv.bias.data, heads)  # (H, 3, d)
        self._shown_qkv = QkvByHead(self._qkv_weight, self._qkv_bias)
        block.attention.qkv = self._shown_qkv
        # The standard layer gives up its storage, so that the weights are in memory once.
        qkv.weight.data = qkv.weight.data.new_empty(0)

    def order_neurons(self, order: Tensor) -> None:
        """Put neuron order[i] of the present order at place i."""
        self._fc1_weight.copy_(self._fc1_weight[order])
        self._fc2_weight.copy_(self._fc2_weight[:, order])
        if self._fc1_bias is not None:
            self._fc1_bias.copy_(self._fc1_bias[order])

    def order_heads(self, order: Tensor) -> None:
        """Put head order[i] of the present order at place i."""
        self._qkv_weight.copy_(self._qkv_weight[order])
        self._proj_weight.copy_(self._proj_weight[:, order])
        if self._qkv_bias is not None:
            self._qkv_bias.copy_(self._qkv_bias[order])

    def show_neurons(self, kept: int) -> None:
        """Give the block its first `kept` neurons."""
        fc1, fc2 = self._block.fc1, self._block.fc2
        fc1.weight.data = self._fc1_weight[:kept]
        fc2.weight.data = self._fc2_weight[:, :kept]
        if self._fc1_bias is not None:
            fc1.bias.data = self._fc1_bias[:kept]
        fc1.out_features = fc2.in_features = kept

    def show_heads(self, kept: int) -> None:
        """Give the block its first `kept` heads; with none, only the bias of the projection is left."""
        attention, proj, qkv = self._block.attention, self._block.proj, self._shown_qkv
        qkv.weight.data = self._qkv_weight[:kept]
        if self._qkv_bias is not None:
            qkv.bias.data = self._qkv_bias[:kept]
        proj.weight.data = self._proj_weight[:, :kept].flatten(1)
        proj.in_features = kept * attention.head_dim
        attention.num_heads = kept
        attention.attn_dim = kept * attention.head_dim

    def release(self) -> None:
        """Give the block back its own qkv layer, with the rows where they were."""
        weight = self._qkv_weight.transpose(0, 1).flatten(0, 2).contiguous()
        self._qkv_linear.weight.data = weight
        if self._qkv_bias is not None:
            self._qkv_linear.bias.data = self._qkv_bias.transpose(0, 1).flatten().contiguous()
        self._block.attention.qkv = self._qkv_linear


def _by_head(rows: Tensor, heads: int) -> Tensor:
    """(3*H*d, ...) ordered [qkv, head, width] to a new (H, 3, d, ...)."""
    return rows.unflatten(0, (3, heads, -1)).transpose(0, 1).contiguous()


class ElasticViT:
    """A ViT that any cut of one ranking can be taken from, in either direction, without a copy of the model.

    with ElasticViT(model, anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
        elastic.keep(cut)
        embed(elastic.model, images)

    It works on `model` itself: leaving the block gives every weight back its first place, bit for bit.
    """

    def __init__(self, model: nn.Module, anatomy: Anatomy, neuron_order: Ints, head_order: Ints) -> None:
        """neuron_order (L, F) and head_order (L, H): each block's structures, best first."""
        topology = anatomy.topology
        self.model = model
        self.topology = topology
        for name, order, width in (("neuron", neuron_order, topology.hidden), ("head", head_order, topology.heads)):
            if order.shape != (topology.blocks, width) or (np.sort(order, axis=1) != np.arange(width)).any():
                raise ValueError(f"the {name} order must hold each of {width} in each of {topology.blocks} blocks once")
        self._neuron_order = np.array(neuron_order)
        self._head_order = np.tile(np.arange(topology.heads), (topology.blocks, 1))
        with torch.no_grad():
            self._blocks = [ElasticBlock(block, topology.heads) for block in anatomy.blocks]
            for block, order in zip(self._blocks, neuron_order, strict=True):
                block.order_neurons(torch.from_numpy(order))
        self.order_heads(head_order)
        self.show_all()

    @property
    def head_order(self) -> Ints:
        """(L, H) heads of each block in the order in which a cut keeps them."""
        return self._head_order

    def order_heads(self, head_order: Ints) -> None:
        """Change the order of heads, (L, H) best first; every head is shown until the next cut."""
        with torch.no_grad():
            for b, block in enumerate(self._blocks):
                place = np.argsort(self._head_order[b])  # where each head stands now
                block.order_heads(torch.from_numpy(place[head_order[b]]))
                block.show_heads(self.topology.heads)
        self._head_order = np.array(head_order)

    def keep(self, cut: Cut) -> None:
        """Show the model that `cut` leaves."""
        self.show(cut.kept_neurons, cut.kept_heads)

    def show(self, neurons: Sequence[int], heads: Sequence[int]) -> None:
        """Show the first neurons[b] neurons and heads[b] heads of every block b."""
        for block, kept_neurons, kept_heads in zip(self._blocks, neurons, heads, strict=True):
            block.show_neurons(kept_neurons)
            block.show_heads(kept_heads)

    def show_all(self) -> None:
        """Show the whole model."""
        topology = self.topology
        self.show([topology.hidden] * topology.blocks, [topology.heads] * topology.blocks)

    def release(self) -> None:
        """Put every weight back in its first place and give the model its own layers back. Twice is harmless."""
        if not self._blocks:
            return
        self.show_all()
        self.order_heads(np.tile(np.arange(self.topology.heads), (self.topology.blocks, 1)))
        with torch.no_grad():
            for block, order in zip(self._blocks, self._neuron_order, strict=True):
                block.order_neurons(torch.from_numpy(np.argsort(order)))
                block.release()
        self._blocks = []

    def __enter__(self) -> ElasticViT:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
