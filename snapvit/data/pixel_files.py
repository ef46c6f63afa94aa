"""Decoded images that are kept: in memory, or in a mapped file of the cache, where they are too many. No torch."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from snapvit.artifacts import Preprocess
from snapvit.data.decoding import Pixels

SCHEMA = 1  # rises when the same image gives other pixels
LEFT_FREE = 2**30  # bytes of the disk that a file leaves
MARK = np.dtype("<u8")  # of a row: its checksum and 1; 0: it was not written yet
DIGITS = 20  # of the images' digest in a file's name
SUFFIX = ".pixels"
log = logging.getLogger(__name__)


def table_folder(cache: Path) -> Path:
    """Where a cache keeps decoded images."""
    return cache / "pixels"


class HeldRows:
    """Images in memory, as far as they were decoded."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """shape: (N, 3, h, w)."""
        self.pixels = np.empty(shape, np.uint8)
        self._there = np.zeros(shape[0], bool)

    def has(self, start: int, stop: int) -> bool:
        """Whether all of these rows are there."""
        return bool(self._there[start:stop].all())

    def read(self, start: int, stop: int) -> Pixels:
        """Rows that are there."""
        return self.pixels[start:stop]

    def keep(self, start: int, rows: Pixels) -> None:
        """Rows from `start` on."""
        self.pixels[start : start + len(rows)] = rows
        self._there[start : start + len(rows)] = True


class PixelFile:
    """Images in a file: all rows, then a mark of each, written after the row and checked when it is first read.

    So rows may be written in any order, by several processes, and a kill at any moment costs the rows that it caught:
    a row without a mark that fits counts as not written. A disk that fails or fills up ends the writing, not the work.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        """shape: (N, 3, h, w). Raises OSError where the file can be neither read nor made."""
        self.path, self._shape = path, shape
        self._row = math.prod(shape[1:])
        self._marks_at = shape[0] * self._row
        size = self._marks_at + shape[0] * MARK.itemsize
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if file.seek(0, os.SEEK_END) != size:
                file.truncate(0)
                file.truncate(size)  # a hole, which takes no room
        self._mapped = np.memmap(path, np.uint8, "r", shape=(size,))
        self._rows = self._mapped[: self._marks_at].reshape(shape)
        self._marks = self._mapped[self._marks_at :].view(MARK)
        self._checked = np.zeros(shape[0], bool)
        self._writable = True

    def has(self, start: int, stop: int) -> bool:
        """Whether all of these rows were written."""
        return bool((self._marks[start:stop] != 0).all())

    def read(self, start: int, stop: int) -> Pixels | None:
        """Rows that were written; None where one of them is damaged."""
        rows = np.array(self._rows[start:stop])
        for i in np.flatnonzero(~self._checked[start:stop]).tolist():
            if self._marks[start + i] != _mark(rows[i]):
                return None
        self._checked[start:stop] = True
        return rows

    def keep(self, start: int, rows: Pixels) -> None:
        """Write rows from `start` on."""
        if not self._writable:
            return
        marks = np.array([_mark(row) for row in rows], MARK)
        try:
            with self.path.open("r+b") as file:
                file.seek(start * self._row)
                file.write(rows.tobytes())
                file.flush()
                file.seek(self._marks_at + start * MARK.itemsize)
                file.write(marks.tobytes())
        except OSError:
            self._writable = False


def _mark(row: Pixels) -> int:
    return (zlib.crc32(row) << 1) + 1


def pixel_file(folder: Path, digest: str, preprocess: Preprocess, shape: tuple[int, ...]) -> PixelFile | None:
    """The file of these images, named after their digest, as this preprocessing makes them; None where the disk has no
    room or the folder cannot be written."""
    fitting = json.dumps([SCHEMA, dataclasses.asdict(preprocess)], sort_keys=True)
    path = folder / f"{digest[:DIGITS]}-{hashlib.sha256(fitting.encode()).hexdigest()[:12]}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists() and shutil.disk_usage(folder).free < math.prod(shape) + LEFT_FREE:
            log.warning("%s has no room for %d decoded images, so every pass decodes them", folder, shape[0])
            return None
        return PixelFile(path, shape)
    except OSError as error:
        log.warning("%s keeps no decoded images (%s), so every pass decodes them", folder, error.strerror)
        return None


def delete_tables(cache: Path, used: Iterable[str]) -> None:
    """Remove the files of images that are none of `used`, the digests of sets of images that runs take."""
    kept = {digest[:DIGITS] for digest in used}
    for path in table_folder(cache).glob(f"*{SUFFIX}"):
        if path.name[:DIGITS] not in kept:
            with contextlib.suppress(OSError):
                path.unlink()
