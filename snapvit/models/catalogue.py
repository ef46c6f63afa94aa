"""Models to offer before anything is loaded: timm names by family, and checkpoint files of a person's own folder.

This module imports no torch, so that the page that offers them starts at once.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from snapvit.errors import InputError
from snapvit.models.families import FAMILIES
from snapvit.models.spec import BUNDLED

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint in the model folder and what it is thought to hold."""

    path: Path
    size: int  # bytes
    model: str | None  # a timm name, `bundled` for a file that describes itself, None where nothing tells


def timm_names() -> dict[str, str]:
    """Name to family of the models that every family gives as examples, family by family."""
    return {name: family.name for family in FAMILIES for name in family.example_names()}


def models_folder() -> Path | None:
    """SNAPVIT_MODELS, the folder of a person's own checkpoints; None where it is not set."""
    named = os.environ.get("SNAPVIT_MODELS")
    return Path(named).expanduser() if named else None


def list_checkpoints(folder: Path) -> list[CheckpointFile]:
    """Checkpoint files in `folder` and in the folders directly under it, by name.

    Raises InputError where it cannot be listed.
    """
    try:
        if not folder.is_dir():
            raise InputError(f"SNAPVIT_MODELS names {folder}, which is not a folder.")
        paths = sorted(p for pattern in ("*", "*/*") for p in folder.glob(pattern) if p.suffix in SUFFIXES)
        return [CheckpointFile(p, p.stat().st_size, _thought_to_be(p)) for p in paths if p.is_file()]
    except OSError as error:
        raise InputError(f"The folder {folder} of SNAPVIT_MODELS cannot be listed ({error.strerror}).") from error


def _thought_to_be(path: Path) -> str | None:
    """What a file says of itself, else its config.json as model hubs write it, else the names of file and folder."""
    metadata = _metadata(path)
    if {"config", "mean", "std"} <= metadata.keys():
        return BUNDLED
    for said in (metadata.get("architecture"), _config_beside(path).get("architecture")):
        if isinstance(said, str):
            return said
    return _name_in(path.stem) or _name_in(path.parent.name)


def _metadata(path: Path) -> dict[str, str]:
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):  # loading it will name what is wrong
        return {}


def _config_beside(path: Path) -> dict[str, Any]:
    try:
        content = json.loads((path.parent / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _name_in(text: str) -> str | None:
    """The longest timm name that `text` begins with, with or without its tag."""
    names = set(timm_names()) | {name.partition(".")[0] for name in timm_names()}
    fitting = [name for name in names if text == name or (text.startswith(name) and text[len(name)] in "._- ")]
    return max(fitting, key=len, default=None)
