"""Image files on disk as a source. Every file is decoded once when it is opened, so that none breaks a run half-way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

import numpy as np

from snapvit.data.decoding import Pixels, UnusableImage, decode
from snapvit.data.image_source import ImageSource, Skipped, equal_notes
from snapvit.errors import InputError

LARGEST_FILE = 256 * 2**20  # bytes
THREADS = min(4, os.cpu_count() or 1)  # each may hold one picture while it is decoded
SOUND = ""  # the verdict on a file that can be used
VERDICTS_SCHEMA = 2  # rises when a file that was refused may be taken, or the other way round


Check = Callable[[], None]


def go_on() -> None:
    """A check that nobody asked to stop."""


@dataclass(frozen=True)
class Candidate:
    """A file that may be an image."""

    path: Path
    file: str  # name for people, within the source
    label: int | None


@dataclass(frozen=True)
class _Checked:
    candidate: Candidate
    sha256: str
    verdict: str  # SOUND, or why the file cannot be used
    stamp: tuple[int, int]  # size and time of change, by which a later change is noticed


class ImageFiles(ImageSource):
    """Numbered image files: those of `candidates` that can be decoded, in their order.

    A class that has no usable file is left out. `verdicts` is a file that remembers, by content, which pictures could
    be decoded, so that the next opening only has to read them; without it, or where it cannot be written, each
    opening decodes all. `check` is called after each file, and may raise to stop.
    """

    def __init__(
        self,
        name: str,
        candidates: Sequence[Candidate],
        class_names: Sequence[str],
        skipped: Sequence[Skipped] = (),
        verdicts: Path | None = None,
        check: Check = go_on,
    ) -> None:
        known, checked = _read_verdicts(verdicts), []
        pool = ThreadPoolExecutor(THREADS)
        try:
            for done in pool.map(lambda c: _check(c, known), candidates):
                check()
                checked.append(done)
        finally:
            pool.shutdown(cancel_futures=True)
        self._files = [c for c in checked if c.verdict == SOUND]
        unusable = [Skipped(c.candidate.file, c.verdict) for c in checked if c.verdict != SOUND]
        self.name = name
        if class_names:
            labels = np.array([c.candidate.label for c in self._files], np.int64)
            there = np.unique(labels)
            self.labels = np.searchsorted(there, labels)
            self.class_names = tuple(class_names[i] for i in there)
            empty = sorted(set(range(len(class_names))) - set(there.tolist()))
            unusable += [Skipped(class_names[i], "this class has no usable image") for i in empty]
        self.skipped = (*skipped, *unusable)
        self.notes = equal_notes(self)
        found = {c.sha256: c.verdict for c in checked if c.sha256}
        if verdicts is not None and not found.items() <= known.items():
            _write_verdicts(verdicts, found)

    def __len__(self) -> int:
        return len(self._files)

    def image(self, index: int) -> Pixels:
        """(h, w, 3) uint8. Raises InputError where the file changed or vanished since it was opened."""
        file = self._files[index]
        try:
            if _stamp(file.candidate.path) == file.stamp:
                return decode(file.candidate.path.read_bytes())
        except (OSError, UnusableImage):
            pass
        raise InputError(
            f"The image {file.candidate.file} of {self.name} changed or vanished since it was opened; start again, so "
            "that all images are read anew."
        )

    def content(self, index: int) -> str:
        """sha256 of the file, as it was when it was opened."""
        return self._files[index].sha256


def shown(name: str | Path) -> str:
    """A file name as it can be printed and stored: bytes that are no UTF-8 are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise UnusableImage("it is not a regular file")
    if status.st_size > LARGEST_FILE:
        raise UnusableImage(f"it has more than {LARGEST_FILE // 2**20} MiB")
    return status.st_size, status.st_mtime_ns


def _check(candidate: Candidate, known: dict[str, str]) -> _Checked:
    """Read a file and see whether it can be decoded, unless that is known of its content."""
    stamp, sha256, verdict = (0, 0), "", SOUND
    try:
        stamp = _stamp(candidate.path)
        raw = candidate.path.read_bytes()
        sha256 = hashlib.sha256(raw).hexdigest()
        verdict = known.get(sha256)
        if verdict is None:
            verdict = SOUND
            decode(raw)
    except UnusableImage as error:
        verdict = str(error)
    except OSError as error:
        verdict = f"it cannot be read ({error.strerror or type(error).__name__})"
    return _Checked(candidate, sha256, verdict, stamp)


def _read_verdicts(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != VERDICTS_SCHEMA:
            return {}
        return {str(sha256): str(verdict) for sha256, verdict in content["verdicts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # absent, or not ours: then all files are decoded again


def _write_verdicts(path: Path, verdicts: dict[str, str]) -> None:
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not the images
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({"schema": VERDICTS_SCHEMA, "verdicts": verdicts}), encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
