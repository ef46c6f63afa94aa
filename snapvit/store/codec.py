"""Artifacts to named arrays and plain values, and back. Only numbers, text and their names are ever written."""

from __future__ import annotations

import dataclasses
import functools
import typing
from typing import Any, TypeVar

import numpy as np

A = TypeVar("A")


def encode(artifact: Any, prefix: str = "") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and JSON values of a frozen dataclass; a nested dataclass's fields carry its name before a dot."""
    arrays: dict[str, np.ndarray] = {}
    values: dict[str, Any] = {}
    for field in dataclasses.fields(artifact):
        name, value = prefix + field.name, getattr(artifact, field.name)
        if isinstance(value, np.ndarray):
            arrays[name] = np.ascontiguousarray(value)
        elif dataclasses.is_dataclass(value):
            inner_arrays, inner_values = encode(value, name + ".")
            arrays |= inner_arrays
            values |= inner_values
        else:
            values[name] = value
    return arrays, values


def decode(kind: type[A], arrays: dict[str, np.ndarray], values: dict[str, Any], prefix: str = "") -> A:
    """The `kind` that `encode` took apart; a field that was written before it existed gets its default.

    Raises KeyError where something it needs is not there.
    """
    hints = _hints(kind)
    content = {}
    for field in dataclasses.fields(kind):
        name, hint = prefix + field.name, hints[field.name]
        if name in arrays:
            content[field.name] = arrays[name]
        elif name in values:
            content[field.name] = _plain(hint, values[name])
        elif _has_default(field) and not any(key.startswith(f"{name}.") for key in (*arrays, *values)):
            continue
        elif (inner := _dataclass_in(hint)) is not None:
            content[field.name] = decode(inner, arrays, values, f"{name}.")
        else:
            raise KeyError(name)
    return kind(**content)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Evaluating annotations takes longer than all the rest of a decode."""
    return typing.get_type_hints(kind)


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass that a field holds, or may hold beside None."""
    options = [hint, *typing.get_args(hint)] if type(None) in typing.get_args(hint) else [hint]
    return next((option for option in options if dataclasses.is_dataclass(option)), None)


def _has_default(field: dataclasses.Field) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _plain(hint: Any, value: Any) -> Any:
    """JSON has lists where the dataclasses have tuples."""
    if isinstance(value, list) and typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return tuple(_plain(inner, item) for item in value)
    return value
