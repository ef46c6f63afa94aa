"""A model entered at any of its blocks, with structures taken out of it.

A structure that is out puts out nothing: the layer behind it (`fc2`, or the head's columns of `proj`) sees zeros and
leaves its bias, as in a cut model. Before a structure's block nothing changes, so whoever has the tokens that enter
that block can go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from snapvit.models.anatomy import Anatomy
from snapvit.models.embedding import over_cores


class Passage:
    """One way through the model's blocks: `enter`, `step` by `step`, and `leave` with the embedding.

    Together they are the model's own forward, without gradients. Structures are named by their search index.
    """

    def __init__(self, model: nn.Module, anatomy: Anatomy) -> None:
        self._model, self._anatomy = model, anatomy
        self._extra: dict[str, Any] = {}  # what the model hands to each block beside the tokens, such as rotations
        self.block_of = anatomy.topology.structure_depth().tolist()

    @torch.inference_mode()
    def enter(self, images: Tensor) -> Tensor:
        """Tokens (B, T, D) of normalised images (B, 3, h, w), as they reach the first block."""
        seen = _Seen()
        blocks = self._model.blocks
        self._model.blocks = nn.Sequential(seen)  # torch and timm both call it as they call the blocks
        try:
            self._model.forward_features(images)
        finally:
            self._model.blocks = blocks
        self._extra = seen.extra
        return seen.tokens

    def step(self, block: int, tokens: Tensor) -> Tensor:
        """Tokens (B, T, D) after one block, from those before it."""
        return over_cores(lambda share: self._step(block, share), tokens)

    def leave(self, block: int, tokens: Tensor) -> Tensor:
        """Embedding (B, D) of tokens (B, T, D) that reach `block`, through it and all later ones."""

        def work(share: Tensor) -> Tensor:
            for b in range(block, len(self._model.blocks)):
                share = self._step(b, share)
            return self._model.forward_head(self._model.norm(share), pre_logits=True)

        return over_cores(work, tokens)

    def _step(self, block: int, tokens: Tensor) -> Tensor:
        return self._model.blocks[block](tokens, **self._extra)

    @contextmanager
    def without(self, structures: Collection[int]) -> Iterator[None]:
        """Within, these structures are out."""
        blocks, heads = self._anatomy.topology.blocks, self._anatomy.topology.heads
        with ExitStack() as stack:
            out: dict[int, list[int]] = {}  # heads by block
            for structure in structures:
                if structure < blocks:
                    hook = self._anatomy.blocks[structure].fc2.register_forward_pre_hook(_nothing)
                    stack.callback(hook.remove)
                else:
                    block, head = divmod(structure - blocks, heads)
                    out.setdefault(block, []).append(head)
            for block, gone in out.items():
                hook = self._anatomy.blocks[block].proj.register_forward_pre_hook(
                    _without_heads(gone, self._anatomy.topology.head_width)
                )
                stack.callback(hook.remove)
            yield


class _Seen(nn.Module):
    """In the place of the blocks: keeps what reaches the first one, and passes it on."""

    def forward(self, tokens: Tensor, **extra: Any) -> Tensor:
        self.tokens, self.extra = tokens, extra
        return tokens


def _nothing(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
    return (torch.zeros_like(inputs[0]),)


def _without_heads(gone: list[int], width: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor]]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        by_head = inputs[0].unflatten(-1, (-1, width))  # (B, T, H, d)
        return (by_head.index_fill(-2, torch.tensor(gone).to(by_head.device), 0).flatten(-2),)

    return hook
