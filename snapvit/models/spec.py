"""Which model to load, without loading anything: this module imports no torch, so that pages start at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from snapvit.errors import InputError

BUNDLED = "bundled"
Pool = Literal["model", "token", "mean"]
POOLS: dict[str, str] = {"model": "the model's own pooling", "token": "class token", "mean": "mean of patches"}


# Where people copy names from: the hub's addresses of timm's models.
HUB = re.compile(r"(https?://huggingface\.co/|hf[-_]hub:)?(timm/)?")


def canonical_model(name: str) -> str:
    """`name` as timm spells it: no quotes, capitals, blanks or hub in front (`timm/NAME`, `hf-hub:timm/NAME`)."""
    plain = name.strip().strip("'\"").strip().lower()
    return re.sub(r"\s+", "_", re.sub(r"\s*([._])\s*", r"\1", plain[HUB.match(plain).end() :]))


@dataclass(frozen=True)
class ModelSpec:
    """What to load. `name` is `bundled` or a timm name; a checkpoint replaces the hub's weights."""

    name: str = BUNDLED
    checkpoint: str | None = None
    image_size: int | None = None  # pixels; None: what the model was made for
    pool: Pool = "model"  # which tokens make the embedding

    def __post_init__(self) -> None:
        if self.pool not in POOLS:
            raise InputError(f"The pooling {self.pool!r} is not known; there are {', '.join(POOLS)}.")

    @property
    def label(self) -> str:
        """Short name for people and run names."""
        name = self.name if self.checkpoint is None else f"{self.name} ({Path(self.checkpoint).name})"
        return name if self.pool == "model" else f"{name}, {POOLS[self.pool]}"
