"""Any sparsity of a ViT at once: every cut is a prefix of weights that were put in order once.

Neurons and heads of every block are reordered best first, in place; a cut then shows the model a prefix of each
weight, as a view. Nothing is copied or reloaded on the way down or back up, and the model's own timm forward runs,
but for attention whose forward takes every head for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from snapvit.artifacts import Cut, Ints
from snapvit.elastic.correction import Correction, Factor
from snapvit.models.anatomy import Anatomy, Stack, Units, hold, let_go, replace_forwards, restore_forwards


class StackByUnit(nn.Module):
    """A stacked linear layer whose rows are ordered [unit, part, width] instead of [part, unit, width].

    So the first units are a prefix of the weight.
    """

    def __init__(self, layer: nn.Linear, stack: Stack, count: int) -> None:
        """Takes over the numbers of `layer`, which gives up its storage, so that they are in memory once."""
        super().__init__()
        self._flat = stack.flat
        held = {name: rows for name in ("weight", "bias") if (rows := getattr(layer, name)) is not None}
        # All copies before anything is given up: one that fails leaves the layer as it was.
        by_unit = {
            name: rows.data.unflatten(0, (stack.parts, count, -1)).transpose(0, 1).contiguous()
            for name, rows in held.items()
        }
        for name in ("weight", "bias"):
            self.register_parameter(name, None)
        for name, rows in held.items():
            setattr(self, name, nn.Parameter(by_unit[name], requires_grad=False))
            rows.data = rows.data.new_empty(0)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) to (B, T, part, unit, width), a view that timm's own reshape to those sizes leaves as it is; where
        the layer is flat, to a copy (B, T, part*unit*width)."""
        units, parts, unit_width, width = self.weight.shape
        bias = None if self.bias is None else self.bias.flatten()
        out = nn.functional.linear(tokens, self.weight.view(-1, width), bias)
        out = out.view(*tokens.shape[:2], units, parts, unit_width).transpose(2, 3)
        return out.flatten(2) if self._flat else out

    def give_back(self, layer: nn.Linear) -> None:
        """Put the numbers, which must all be shown, back into `layer`."""
        for name, by_unit in self.named_parameters():
            getattr(layer, name).data = by_unit.data.transpose(0, 1).flatten(0, 2).contiguous()


@dataclass(frozen=True)
class _Whole:
    """One tensor with all units, in order of importance, and the parameter or buffer that shows a prefix of it."""

    shown: Tensor
    data: Tensor
    dim: int  # along which the units lie,
    width: int  # so many numbers each

    def by_unit(self) -> Tensor:
        return self.data.unflatten(self.dim, (-1, self.width))

    def ordered(self, order: Tensor) -> Tensor:
        by_unit = self.by_unit()
        return by_unit[order] if self.dim == 0 else by_unit[:, order]

    def show(self, kept: int) -> None:
        self.shown.data = self.data.narrow(self.dim, 0, kept * self.width)


class ElasticUnits:
    """All neurons, or all heads, of one block, and the first of them that the block shows."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self._replaced: list[tuple[Stack, nn.Linear, StackByUnit]] = []
        self._tensors: list[_Whole] = []
        for share in units.shares:
            tensor = getattr(share.owner, share.name)
            width = tensor.shape[share.dim] // units.count
            self._tensors.append(_Whole(tensor, tensor.data, share.dim, width))
        for stack in units.stacks:
            layer = getattr(stack.owner, stack.name)
            by_unit = StackByUnit(layer, stack, units.count)
            self._replaced.append((stack, layer, by_unit))
            setattr(stack.owner, stack.name, by_unit)
            self._tensors += [_Whole(tensor, tensor.data, 0, 1) for tensor in by_unit.parameters()]

    def order(self, order: Tensor) -> None:
        """Put unit order[i] of the present order at place i; all of their tensors, or none where memory fails."""
        ordered = [tensor.ordered(order) for tensor in self._tensors]
        for tensor, numbers in zip(self._tensors, ordered, strict=True):
            tensor.by_unit().copy_(numbers)

    def show(self, kept: int) -> None:
        """Give the block its first `kept` units; with none, only the bias of the layer that reads them is left."""
        for tensor in self._tensors:
            tensor.show(kept)
        for size in self._units.sizes:
            setattr(size.owner, size.name, kept * size.each)

    def release(self) -> None:
        """Give the block, which must show all units in their first order, its own layers back."""
        for stack, layer, by_unit in self._replaced:
            by_unit.give_back(layer)
            setattr(stack.owner, stack.name, layer)


@contextmanager
def _lasting() -> Iterator[None]:
    """Tensors made within can be used by autograd later, even if the caller is in inference mode."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _read_corrected(layer: nn.Linear, factor: Factor) -> None:
    if layer.weight.shape[1] < factor.count:
        solved = factor.solve(layer.weight.data)
        layer.weight.data, layer.bias.data = (numbers.to(layer.weight.dtype) for numbers in solved)


class ElasticViT:
    """A ViT that any cut of one ranking can be taken from, in either direction, without a copy of the model.

    with ElasticViT(model, anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
        elastic.keep(cut)
        embed(elastic.model, images)

    It works on `model` itself, which only one can hold at a time: leaving the block gives every weight back its first
    place, bit for bit. With a `correction`, the layers that read what a cut leaves are shown as that solves them, and
    one without a bias has one until the release.
    """

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        neuron_order: Ints,
        head_order: Ints,
        correction: Correction | None = None,
    ) -> None:
        """neuron_order (L, F) and head_order (L, H): each block's structures, best first."""
        topology = anatomy.topology
        self.model = model
        self.topology = topology
        for name, order, width in (("neuron", neuron_order, topology.hidden), ("head", head_order, topology.heads)):
            if order.shape != (topology.blocks, width) or (np.sort(order, axis=1) != np.arange(width)).any():
                raise ValueError(f"the {name} order must hold each of {width} in each of {topology.blocks} blocks once")
        self._head_order = np.tile(np.arange(topology.heads), (topology.blocks, 1))
        self._neurons: list[ElasticUnits] = []
        self._heads: list[ElasticUnits] = []
        self._correction = correction
        self._readers = [(block.fc2, block.proj) for block in anatomy.blocks]
        self._biases: list[tuple[nn.Linear, Tensor]] = []  # that a corrected cut takes the place of
        self._way_back: list[Callable[[], None]] = []  # in the order in which it was gone
        hold(model)
        try:
            self._take(anatomy, neuron_order)
            self.order_heads(head_order)
            self.show_all()
        except BaseException:  # whatever it was, the model is given back as it came
            self._go_back()
            raise

    def _take(self, anatomy: Anatomy, neuron_order: Ints) -> None:
        self._way_back.append(lambda: let_go(self.model))
        replace_forwards(anatomy)
        self._way_back.append(lambda: restore_forwards(anatomy))
        with _lasting():
            for block in anatomy.blocks:
                for units, of_block in ((self._neurons, block.neurons), (self._heads, block.heads)):
                    units.append(ElasticUnits(of_block))
                    self._way_back.append(units[-1].release)
            for neurons, order in zip(self._neurons, neuron_order, strict=True):
                neurons.order(torch.from_numpy(order))
                self._way_back.append(partial(neurons.order, torch.from_numpy(np.argsort(order))))
        self._way_back.append(lambda: self._place_heads(np.tile(np.arange(self.topology.heads), (len(self._heads), 1))))
        if self._correction is not None:
            for layer in (layer for readers in self._readers for layer in readers):
                if layer.bias is None:
                    with _lasting():
                        layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_features), requires_grad=False)
                    self._way_back.append(partial(setattr, layer, "bias", None))
                self._biases.append((layer, layer.bias.data))
        self._way_back.append(self.show_all)

    def _go_back(self) -> None:
        with _lasting():
            while self._way_back:
                self._way_back.pop()()
        self._neurons, self._heads, self._biases = [], [], []

    @property
    def head_order(self) -> Ints:
        """(L, H) heads of each block in the order in which a cut keeps them."""
        return self._head_order

    def order_heads(self, head_order: Ints) -> None:
        """Change the order of heads, (L, H) best first; every head is shown until the next cut."""
        self._place_heads(head_order)
        if self._correction is not None:
            self._correction.order_heads(head_order)

    def _place_heads(self, head_order: Ints) -> None:
        with torch.no_grad():
            for b, heads in enumerate(self._heads):
                place = np.argsort(self._head_order[b])  # where each head stands now
                heads.order(torch.from_numpy(place[head_order[b]]))
                heads.show(self.topology.heads)
                self._head_order[b] = head_order[b]

    def keep(self, cut: Cut) -> None:
        """Show the model that `cut` leaves."""
        self.show(cut.kept_neurons, cut.kept_heads)

    def show(self, neurons: Sequence[int], heads: Sequence[int]) -> None:
        """Show the first neurons[b] neurons and heads[b] heads of every block b."""
        if self._correction is None:
            for units, kept in zip((*self._neurons, *self._heads), (*neurons, *heads), strict=True):
                units.show(kept)
            return
        self.show_all()
        with _lasting():
            for b, (fc2, proj) in enumerate(self._readers):
                if neurons[b] < self.topology.hidden or heads[b] < self.topology.heads:
                    of_neurons, of_heads = self._correction.factors(b, fc2, proj)
                    self._neurons[b].show(neurons[b])
                    self._heads[b].show(heads[b])
                    _read_corrected(fc2, of_neurons)
                    _read_corrected(proj, of_heads)

    def show_all(self) -> None:
        """Show the whole model."""
        for neurons, heads in zip(self._neurons, self._heads, strict=True):
            neurons.show(self.topology.hidden)
            heads.show(self.topology.heads)
        for layer, bias in self._biases:
            layer.bias.data = bias

    def factors(self) -> list[tuple[Factor, Factor]]:
        """Each block's correction, of the layers that read its neurons and its heads; none without a correction.

        Shows the whole model.
        """
        self.show_all()
        if self._correction is None:
            return []
        with _lasting():
            return [self._correction.factors(b, *readers) for b, readers in enumerate(self._readers)]

    def release(self) -> None:
        """Put every weight back in its first place and give the model its own layers back. Twice is harmless."""
        self._go_back()

    def __enter__(self) -> ElasticViT:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
