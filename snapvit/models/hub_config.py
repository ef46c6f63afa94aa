"""What config.json in a hub's folder says of the checkpoint beside it, in timm's layout.

How images are prepared for it, and with which arguments its architecture was built. A file of strangers: every value is
checked before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm

from snapvit.errors import InputError, harmless
from snapvit.models.catalogue import described
from snapvit.models.spec import canonical_model

LARGEST_SIDE = 2048  # pixels
INTERPOLATIONS = ("bicubic", "bilinear", "nearest", "lanczos")
POOLS = ("", "token", "avg", "avgmax", "max", "map")


def _is_number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_triple(value: object, least: float, most: float) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_number(part, least, most) for part in value)


def _is_size(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and value[0] == 3 and all(_is_side(side) for side in value[1:])


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_SIDE


# What is taken from `pretrained_cfg`; all else there says where weights came from.
PREPARATION: dict[str, Callable[[object], bool]] = {
    "input_size": _is_size,
    "mean": lambda value: _is_triple(value, -10, 10),
    "std": lambda value: _is_triple(value, math.ulp(0.0), 10),
    "interpolation": lambda value: value in INTERPOLATIONS,
    "crop_pct": lambda value: _is_number(value, 0.01, 1),
}
# Arguments that may be stated; others would make another function than the named architecture's.
ARGUMENTS: dict[str, Callable[[object], bool]] = {
    "img_size": _is_side,
    "global_pool": lambda value: value in POOLS,
    "num_classes": lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000,
    "dynamic_img_size": lambda value: isinstance(value, bool),
}


def stated_arguments(folder: Path, name: str) -> dict[str, Any]:
    """Keyword arguments for timm.create_model(`name`) that the folder's config.json states; none where it speaks of
    another architecture. Raises InputError naming a value that cannot be."""
    config = described(folder)
    stated = config.get("architecture")
    if not isinstance(stated, str) or _untagged(canonical_model(stated)) != _untagged(name):
        return {}
    preparation = _checked(folder, config.get("pretrained_cfg"), PREPARATION, "pretrained_cfg", strict=False)
    arguments = _checked(folder, config.get("model_args"), ARGUMENTS, "model_args", strict=True)
    if not preparation:
        return arguments
    known = timm.get_pretrained_cfg(_untagged(name), allow_unregistered=True)
    base = {key: value for key, value in known.to_dict().items() if value is not None} if known else {}
    return arguments | {"pretrained_cfg": base | preparation}


def _untagged(name: str) -> str:
    return name.partition(".")[0]


def _checked(
    folder: Path, content: object, checks: dict[str, Callable[[object], bool]], where: str, strict: bool
) -> dict[str, Any]:
    given = content if isinstance(content, dict) else {}
    unknown = sorted(str(key) for key in given if key not in checks)
    if strict and unknown:
        raise InputError(
            f"The config.json of {folder.name} builds its model with '{harmless(unknown[0])}', which the explorer does "
            f"not take from a file (it takes {', '.join(checks)}); name an architecture that has it."
        )
    found = {key: given[key] for key in checks if given.get(key) is not None}
    for key, value in found.items():
        if not checks[key](value):
            raise InputError(f"The config.json of {folder.name} says that {key} is {harmless(value)}, which cannot be.")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
