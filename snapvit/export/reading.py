"""Exported folders, read by the very code that is shipped with them; none of the folder's own code is run."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from snapvit.errors import InputError
from snapvit.export import cut, load
from snapvit.export.drafts import FORMAT, VERSION
from snapvit.export.hand_over import CONFIG
from snapvit.export.proof import WEIGHTS


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of an exported folder. Raises InputError where it is none, or of a later version."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"{CONFIG}: {error.strerror}"
        raise InputError(
            f"{folder} is no folder that was exported ({reason}); name one that `export` wrote."
        ) from error
    except ValueError as error:
        raise InputError(f"{CONFIG} in {folder} cannot be read ({error}); export the model again.") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise InputError(f"{CONFIG} in {folder} is not one that `export` wrote; name a folder that it wrote.")
    if config.get("version") != VERSION:
        raise InputError(
            f"{folder} was exported in version {config.get('version')} of the format and this is version {VERSION}; "
            "use the folder's own load.py."
        )
    return config


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The numbers in its model.safetensors. Raises InputError where it is missing or damaged."""
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{WEIGHTS} in {folder} cannot be read ({error}); export the model again.") from error


def load_exported(folder: str | PathLike[str], mlp: float | None = None, heads: float | None = None) -> nn.Module:
    """The model in an exported folder, in evaluation mode and trainable, as the folder's own load.py gives it.

    mlp, heads: shares to leave out of an elastic export (0 where not given), as by its cut.py. Raises InputError for a
    folder that was not exported or is damaged, and for shares where the folder holds one cut or that are not in [0, 1).
    """
    folder = Path(folder).expanduser()
    config, tensors = read_config(folder), read_tensors(folder)
    try:
        if "elastic" in config:
            config, tensors = cut.cut(config, tensors, mlp or 0.0, heads or 0.0)
        elif mlp is not None or heads is not None:
            raise InputError(f"{folder} holds one cut of a model, so no other share can be left out of it.")
        return load.build(config, tensors)
    except InputError:
        raise
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise InputError(f"The model in {folder} cannot be built ({reason}).") from error
