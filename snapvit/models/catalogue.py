"""Models before anything is loaded: timm names by family, checkpoint files and folders, and what is meant by a name.

This module imports no torch, so that pages and requests that name models start at once.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from snapvit.errors import InputError
from snapvit.models.families import FAMILIES
from snapvit.models.spec import BUNDLED, ModelSpec, canonical_model
from snapvit.paths import absolute

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pth.tar")
# What a hub's folder holds, the better ones first; several files come with an index, which goes before them.
HUB_FILES = ("model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin")
LARGEST_CONFIG = 2**20  # bytes of a config.json


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
    return absolute(named) if named else None


def has_weights_name(name: str) -> bool:
    """Whether a file's name ends as checkpoints do, in capitals or not."""
    return name.lower().endswith(SUFFIXES)


def weights_in(folder: Path) -> Path:
    """The checkpoint, or the index of its parts, in a folder as model hubs lay it out.

    Raises InputError where there is none, or no telling which.
    """
    for name in HUB_FILES:
        if (folder / name).is_file():
            return folder / name
    try:
        found = sorted(p for p in folder.iterdir() if has_weights_name(p.name) and p.is_file())
    except OSError as error:
        raise InputError(f"The checkpoint folder {folder} cannot be read ({error.strerror}).") from error
    if len(found) != 1:
        what = ", ".join(p.name for p in found[:3]) if found else "none"
        raise InputError(
            f"The checkpoint folder {folder} must hold model.safetensors, pytorch_model.bin, an index of their parts, "
            f"or one checkpoint alone; found: {what}."
        )
    return found[0]


def described(folder: Path) -> dict[str, Any]:
    """What config.json in a hub's folder says; empty where there is none that can be read."""
    try:
        with (folder / "config.json").open("rb") as file:
            raw = file.read(LARGEST_CONFIG + 1)
        content = json.loads(raw) if len(raw) <= LARGEST_CONFIG else None
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def settled(spec: ModelSpec) -> ModelSpec:
    """`spec` in the one form that runs keep: the name as timm spells it, the checkpoint's path absolute, and the
    architecture that a checkpoint's folder states where none is named."""
    name, checkpoint = canonical_model(spec.name), spec.checkpoint
    if checkpoint is not None:
        path = absolute(checkpoint)
        checkpoint = str(path)
        stated = described(path).get("architecture") if name == BUNDLED and path.is_dir() else None
        if isinstance(stated, str) and re.fullmatch(r"[\w./:-]{1,100}", stated):  # pages show it: no markup
            name = canonical_model(stated)
    return replace(spec, name=name, checkpoint=checkpoint)


def list_checkpoints(folder: Path) -> list[CheckpointFile]:
    """Checkpoint files in `folder` and in the folders directly under it, by name; of one in parts, its index.

    Raises InputError where it cannot be listed.
    """
    try:
        if not folder.is_dir():
            raise InputError(f"SNAPVIT_MODELS names {folder}, which is not a folder.")
        paths = sorted(p for pattern in ("*", "*/*") for p in folder.glob(pattern) if _is_offered(p))
        return [CheckpointFile(p, p.stat().st_size, _thought_to_be(p)) for p in paths if p.is_file()]
    except OSError as error:
        raise InputError(f"The folder {folder} of SNAPVIT_MODELS cannot be listed ({error.strerror}).") from error


def _is_offered(path: Path) -> bool:
    if path.name.endswith(".index.json"):
        return path.name in HUB_FILES
    return has_weights_name(path.name) and not re.search(r"-\d+-of-\d+\.", path.name)


def _thought_to_be(path: Path) -> str | None:
    """What a file says of itself, else its config.json as model hubs write it, else the names of file and folder."""
    metadata = _metadata(path)
    if {"config", "mean", "std"} <= metadata.keys():
        return BUNDLED
    for said in (metadata.get("architecture"), described(path.parent).get("architecture")):
        if isinstance(said, str):
            return said
    return _name_in(path.stem) or _name_in(path.parent.name)


def _metadata(path: Path) -> dict[str, str]:
    if path.suffix.lower() != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):  # loading it will name what is wrong
        return {}


def _name_in(text: str) -> str | None:
    """The longest timm name that `text` begins with, with or without its tag."""
    names = set(timm_names()) | {name.partition(".")[0] for name in timm_names()}
    fitting = [name for name in names if text == name or (text.startswith(name) and text[len(name)] in "._- ")]
    return max(fitting, key=len, default=None)
