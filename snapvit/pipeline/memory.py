"""A device whose memory is too small: batches are halved, and what was being computed begins again with them.

A batch cannot simply be tried again by half: sums may have taken in a part of it. What a stage has kept stays kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from snapvit.errors import InputError
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.workspace import Workspace

T = TypeVar("T")


def within_memory(workspace: Workspace, reporter: Reporter, what: str, work: Callable[[], T]) -> T:
    """What `work` returns, done again with half the batches for as long as the device has no memory for them.

    what: what it does, inside a sentence. Raises InputError where not even one image at a time fits.
    """
    while True:
        before = reporter.mark()
        try:
            return work()
        except torch.OutOfMemoryError:
            pass
        if workspace.ranks.size > 1:  # whose batches have to stay alike
            raise InputError(
                f"The memory of {workspace.device} is too small for {what} of {workspace.loaded.label}; one process "
                "alone would halve its batches, so leave torchrun out, or choose a larger device or a smaller image "
                "size."
            )
        # Out of the handler: the error holds the frames, and those the tensors, that fill the memory.
        if not workspace.halve_batches():
            raise InputError(
                f"The memory of {workspace.device} is too small for {what} of {workspace.loaded.label} even with one "
                "image at a time; let other programs go, or choose a larger device, a smaller model or image size."
            )
        if workspace.device.type == "cuda":
            torch.cuda.empty_cache()
        reporter.back_to(before)
        batch = workspace.effort.forward_batch
        reporter.event("memory", f"out of memory: batches are halved, to {batch} images forward, and {what} goes on")
