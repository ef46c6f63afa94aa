"""Where in a checkpoint an architecture's weights are: found by looking for its names, not from a list of wrappers."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snapvit.errors import InputError, harmless
from snapvit.models.transformers_names import ANCHORS, from_transformers, is_of_transformers

Weights = dict[str, Tensor]

MOST_LEVELS, MOST_PARTS = 12, 1_000_000  # of nested mappings, and of things in them
MOST_UNBACKED = 100_000_000  # numbers of a tensor that a file need not hold one by one: sparse or repeated ones
MOST_PLACES = 24  # that are tried, those with the most of the architecture's names first
# Names of the patch embedding in layouts that timm's converters or ours turn into timm's own.
OTHER_ANCHORS = (
    *ANCHORS,
    "patch_embed.proj.weight",
    "patch_embed.projection.weight",
    "visual.conv1.weight",
    "visual.trunk.patch_embed.proj.weight",
    "conv1.weight",
    "preprocessor.patchifier.proj.weight",
)
# Weights that are an average over training, or DINO's teacher, are the better ones of two that fit alike.
AVERAGED = re.compile(r"(^|[._])(ema|teacher|momentum|swa|averaged?|target)([._]|$)")
CHUNK = re.compile(r"blocks\.(\d+)\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Place:
    """Tensors under one prefix, under names as timm's converters take them."""

    prefix: str  # such as `teacher.backbone.`; empty at the top level
    weights: Weights
    beside: tuple[str, ...]  # names of the tensors that lie in the same mapping, but not under the prefix

    @property
    def averaged(self) -> bool:
        """Whether its name says that it is an average over training."""
        return AVERAGED.search(self.prefix) is not None


def places(content: Mapping[str, Any], names: Collection[str], file: str) -> list[Place]:
    """Every place in `content` that may hold tensors called `names`, the likeliest first.

    Raises InputError, calling it `file`, for content without named tensors or without end.
    """
    tensors, owners = _named_tensors(content, file)
    if not tensors:
        raise InputError(f"The checkpoint {file} holds no named tensors.")
    wanted, counts = {*names, *OTHER_ANCHORS}, Counter({"": 0})
    for name in tensors:
        for prefix, rest in _splits(name):
            counts[prefix] += rest in wanted
    likely = [prefix for prefix, count in counts.most_common() if count or not prefix][:MOST_PLACES]
    return [_place(prefix, tensors, owners) for prefix in likely]


def _named_tensors(content: Mapping[str, Any], file: str) -> tuple[Weights, dict[str, str]]:
    """All tensors by their full dotted names, and by the same the name of the mapping that each lies in."""
    tensors: Weights = {}
    owners: dict[str, str] = {}
    for path, key, tensor in _walk(content, file):
        name = ".".join((*path, key))
        bare = _without_wrappers(name)
        name = name if bare in tensors else bare
        tensors[name], owners[name] = tensor, _without_wrappers(".".join(path))
    return tensors, owners


def _walk(content: Mapping[str, Any], file: str) -> Iterator[tuple[tuple[str, ...], str, Tensor]]:
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), content)])
    seen = 0
    while waiting:
        path, inside = waiting.popleft()
        entries = inside.items() if isinstance(inside, Mapping) else enumerate(inside)
        for key, value in entries:
            seen += 1
            if seen > MOST_PARTS:
                raise InputError(
                    f"The checkpoint {file} holds more than {MOST_PARTS:,} things; save its weights alone."
                )
            if isinstance(value, Tensor) and isinstance(inside, Mapping) and isinstance(key, str):
                _check_extent(key, value, file)
                yield path, key, value
            elif isinstance(value, Mapping | list | tuple) and len(path) < MOST_LEVELS:
                waiting.append(((*path, str(key)), value))


def _check_extent(name: str, tensor: Tensor, file: str) -> None:
    """A few bytes can stand for any number of numbers; they are told before anything has to hold them all."""
    if tensor.is_meta or tensor.numel() <= MOST_UNBACKED:
        return
    backed = tensor.layout == torch.strided and not tensor.is_quantized
    if not backed or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.itemsize:
        raise InputError(
            f"{file} shows a few numbers as {tensor.numel():,}, in {harmless(name)}; save its weights whole."
        )


def _without_wrappers(name: str) -> str:
    """Without what torch puts between the names of what it wraps: `_orig_mod`, `_checkpoint_wrapped_module`, ..."""
    return ".".join(part for part in name.split(".") if not part.startswith("_"))


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Every prefix that ends in a dot, and what follows it."""
    end = 0
    while True:
        yield name[:end], name[end:]
        end = name.find(".", end) + 1
        if not end:
            return


def _place(prefix: str, tensors: Weights, owners: dict[str, str]) -> Place:
    inside = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    homes = {owners[prefix + name] for name in inside}
    beside = [name for name in tensors if not name.startswith(prefix) and owners[name] in homes]
    inside = _in_one_row(inside)
    if is_of_transformers(inside):
        inside = from_transformers(inside)
    return Place(prefix, inside, tuple(name.removeprefix(f"{owners[name]}.") for name in beside))


def _in_one_row(weights: Weights) -> Weights:
    """Blocks that were kept in chunks, as DINOv2's training keeps them (`blocks.0.3.`), numbered through."""
    matches = {name: CHUNK.fullmatch(name) for name in weights if name.startswith("blocks.")}
    if not matches or not all(matches.values()):
        return weights
    found = sorted({(int(match[1]), int(match[2])) for match in matches.values()})
    number = {place: i for i, place in enumerate(found)}
    return {
        f"blocks.{number[int(match[1]), int(match[2])]}.{match[3]}" if (match := matches.get(name)) else name: tensor
        for name, tensor in weights.items()
    }
