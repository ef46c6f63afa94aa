"""IDX files, the format of MNIST and its kin: unsigned bytes with their sizes before them, gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from snapvit.errors import InputError


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Unsigned bytes of a gzipped IDX file of so many dimensions. Raises InputError unless it is exactly that."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; put the IDX file there, or name the folder that it is in.") from error
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(f"{path} is not a whole, readable gzip file ({error}).") from error
    magic, start = bytes((0, 0, 8, dimensions)), 4 + 4 * dimensions  # 8: unsigned bytes
    if len(raw) < start:
        raise InputError(f"{path} ends inside its header, after {len(raw)} of {start} bytes.")
    if raw[:4] != magic:
        raise InputError(f"{path} begins with 0x{raw[:4].hex()}, where IDX asks for 0x{magic.hex()}.")
    shape = tuple(np.frombuffer(raw[4:start], ">u4").tolist())
    if len(raw) - start != math.prod(shape):
        sizes = " x ".join(map(str, shape))
        raise InputError(f"{path} announces {sizes} bytes but holds {len(raw) - start}.")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()
