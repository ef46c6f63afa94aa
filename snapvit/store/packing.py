"""An artifact as the bytes of one safetensors file, and back. The bytes are read once and nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

import safetensors.numpy
from safetensors import SafetensorError

from snapvit.store.codec import decode, encode

VALUES = "values"  # the one entry of a file's metadata: the artifact's plain values as JSON
A = TypeVar("A")


class DamagedError(ValueError):
    """Bytes that are not the artifact they are said to be; the message says why."""


def pack(artifact: Any) -> bytes:
    """The file's bytes of a frozen dataclass of arrays and plain values."""
    arrays, values = encode(artifact)
    return safetensors.numpy.save(arrays, metadata={VALUES: json.dumps(values)})


def unpack(kind: type[A], raw: bytes) -> A:
    """The artifact that `pack` wrote. Raises DamagedError."""
    try:
        arrays = safetensors.numpy.load(raw)  # checks the header
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        return decode(kind, arrays, json.loads(header.get("__metadata__", {})[VALUES]))
    except KeyError as error:
        raise DamagedError(f"it lacks {error}") from error
    except (ValueError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise DamagedError(" ".join(str(error).split())) from error


def digest(raw: bytes) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(raw).hexdigest()
