"""The one reader of IDX files: what was written comes back, anything else is named."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from snapvit.data.idx import read_idx
from snapvit.errors import InputError


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.mark.parametrize("shape", [(3, 4, 5), (7,), (0,)])
def test_read_idx_gives_back_what_was_written(tmp_path, shape):
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = tmp_path / "made.gz"
    path.write_bytes(gzip.compress(idx_bytes(values)))
    got = read_idx(path, len(shape))
    assert got.dtype == np.uint8 and got.shape == shape and np.array_equal(got, values)


WHOLE = idx_bytes(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
BAD_FILES = {
    "cut while compressed": (gzip.compress(WHOLE)[:-12], "gzip"),
    "not compressed": (WHOLE, "gzip"),
    "damaged stream": (gzip.compress(WHOLE)[:12] + b"\xff" * 40, "gzip"),
    "empty": (b"", "0 of 16"),
    "foreign": (gzip.compress(b"\x89PNG\r\n\x1a\n" + bytes(60)), "0x89504e47"),
    "labels for images": (gzip.compress(idx_bytes(np.zeros(9, np.uint8))), "0x00000801"),
    "int32 values": (gzip.compress(b"\0\0\x0c\x03" + WHOLE[4:]), "0x00000c03"),
    "cut in its header": (gzip.compress(WHOLE[:10]), "10 of 16"),
    "cut in its values": (gzip.compress(WHOLE[:-1]), "3 x 4 x 5 bytes but holds 59"),
    "too long": (gzip.compress(WHOLE + b"\0"), "holds 61"),
    "absurd size": (gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12), "holds 0"),
}


@pytest.mark.parametrize(("content", "said"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_read_idx_says_what_is_wrong_in_one_sentence(tmp_path, content, said):
    path = tmp_path / "bad.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.gz does not exist; put the IDX file there"):
        read_idx(tmp_path / "none.gz", 3)
