"""Checkpoint files and folders: recognised by what they hold whatever their ending, read without running anything.

A folder is read as model hubs lay it out: the weights in one file, or in several that an index lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from snapvit.errors import InputError, harmless
from snapvit.models.catalogue import has_weights_name
from snapvit.models.checkpoint_kind import INDEX, SAFETENSORS, find_file, kind_of
from snapvit.torch_files import read_torch_file

LARGEST_INDEX = 16 * 2**20  # bytes
SHARD = re.compile(r"-\d+-of-\d+\.")


@dataclass(frozen=True)
class CheckpointContent:
    """What a checkpoint holds: nested mappings with tensors and plain values somewhere in them."""

    content: Mapping[str, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)  # of a safetensors file
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> CheckpointContent:
    """The content of a checkpoint file, or of the folder or index that names its parts.

    Raises InputError for what is missing, damaged, foreign (then it says what it is), or would run code.
    """
    path = find_file(path)
    if path.name.endswith(INDEX):
        return _read_parts(path)
    if SHARD.search(path.name) and (index := _index_of(path)) is not None:
        raise InputError(
            f"{path.name} is one part of a checkpoint; name {index.name} or the folder, which have them all."
        )
    return _read_file(path)


def _read_file(path: Path) -> CheckpointContent:
    kind, metadata = kind_of(path), {}
    try:
        if kind == SAFETENSORS:
            content = load_file(path)
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
        else:
            content = read_torch_file(path, f"The checkpoint {path.name}")
    except (SafetensorError, OSError) as error:
        raise InputError(f"The checkpoint {path.name} cannot be read as safetensors ({error}).") from error
    if not isinstance(content, Mapping):
        raise InputError(f"The checkpoint {path.name} holds no named tensors.")
    surprising = (kind == SAFETENSORS) != (path.suffix.lower() == ".safetensors") and has_weights_name(path.name)
    notes = (f"{path.name} is {kind}, whatever its name ends in.",) if surprising else ()
    return CheckpointContent(content, metadata, notes)


def _index_of(part: Path) -> Path | None:
    return next(iter(sorted(part.parent.glob(f"*{INDEX}"))), None)


def _read_parts(index: Path) -> CheckpointContent:
    """All tensors that an index (`weight_map`: tensor to file) lists."""
    try:
        if index.stat().st_size > LARGEST_INDEX:
            raise ValueError
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {str(name): str(file) for name, file in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"The index {index.name} cannot be read: it lists no files of weights.") from error
    outside = sorted({file for file in files.values() if Path(file).name != file})
    if outside:
        raise InputError(f"The index {index.name} names '{harmless(outside[0])}', which is no file of its own folder.")
    gone = sorted({file for file in files.values() if not (index.parent / file).is_file()})
    if gone:
        raise InputError(f"The index {index.name} lists {harmless(gone[0])}, which is not there; fetch all its parts.")
    content: dict[str, Any] = {}
    for file in sorted(set(files.values())):
        content |= _read_file(index.parent / file).content
    lacking = [name for name in files if name not in content]
    if lacking:
        raise InputError(f"The files of {index.name} lack {len(lacking)} of its tensors ({harmless(lacking[0])}).")
    return CheckpointContent({name: content[name] for name in files})
