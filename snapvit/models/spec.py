"""Which model to load, without loading anything: this module imports no torch, so that pages start at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BUNDLED = "bundled"


@dataclass(frozen=True)
class ModelSpec:
    """What to load. `name` is `bundled` or a timm name; a checkpoint replaces the hub's weights."""

    name: str = BUNDLED
    checkpoint: str | None = None
    image_size: int | None = None  # pixels; None: what the model was made for

    @property
    def label(self) -> str:
        """Short name for people and run names."""
        return self.name if self.checkpoint is None else f"{self.name} ({Path(self.checkpoint).name})"
