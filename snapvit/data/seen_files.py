"""What is known of single files: their content's digest and whether it is a picture, remembered from one time to the
next. No file is read before it is used, and none twice while nothing about it changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from snapvit.data.decoding import Pixels, UnusableImage, decode
from snapvit.data.image_source import Check, go_on
from snapvit.data.remembered import recall, remember
from snapvit.errors import InputError

LARGEST_FILE = 256 * 2**20  # bytes
THREADS = min(4, os.cpu_count() or 1)  # each may hold one picture while it is decoded
SOUND = ""  # the verdict on a file that can be used
SCHEMA = 3  # rises when a file that was refused may be taken, or the other way round
# What changed so shortly before it was looked at may change again within one tick of the file system's clock, with the
# same stamp, and is looked at again the next time. The longest tick is FAT's, 2 s.
SETTLED_NS = 2_000_000_000
SAVE_SECONDS = 30.0  # of looking that a kill can cost
FEW = 8  # files that are sooner looked at again than written down
AT_ONCE = 256  # files handed to the threads together

Stamp = tuple[int, ...]  # inode, size, times of content and of status: equal stamps mean equal content


def shown(name: str | Path) -> str:
    """A file name as it can be printed and stored: bytes that are no UTF-8 are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


@dataclass(frozen=True)
class Seen:
    """A file as it was when it was looked at."""

    stamp: Stamp
    sha256: str  # empty where it could not be read
    verdict: str  # SOUND, or why the file cannot be used


class SeenFiles:
    """The files under one folder that somebody looked at. `memory` is a file in the cache that keeps what was seen."""

    def __init__(self, root: Path, memory: Path | None = None) -> None:
        self.root, self._memory = root, memory
        self._before = _recalled(memory)
        self._verdicts = {seen.sha256: seen.verdict for seen in self._before.values() if seen.sha256}
        self._now: dict[str, Seen] = {}
        self._unsaved = 0  # of them

    def get(self, file: str) -> Seen | None:
        """What was seen of the file since this was opened; None where nobody looked."""
        return self._now.get(file)

    def look(self, files: Iterable[str], check: Check = go_on) -> None:
        """See those that nobody looked at yet. `check` is called after each and may raise to stop."""
        waiting = [file for file in files if file not in self._now]
        if not waiting:
            return
        saved = time.monotonic()
        pool = ThreadPoolExecutor(THREADS)
        try:
            for start in range(0, len(waiting), AT_ONCE):
                some = waiting[start : start + AT_ONCE]
                for file, seen in zip(some, pool.map(self._see, some), strict=True):
                    check()
                    self._now[file] = seen
                    self._unsaved += seen != self._before.get(file)
                if time.monotonic() - saved > SAVE_SECONDS:
                    self._save()
                    saved = time.monotonic()
        finally:
            pool.shutdown(cancel_futures=True)
            self._save()

    def _see(self, file: str) -> Seen:
        stamp, sha256, verdict = (), "", SOUND
        try:
            path = os.path.join(self.root, file)
            stamp, known = _stamp(path), self._before.get(file)
            if known is not None and known.stamp == stamp:
                return known
            with open(path, "rb") as opened:
                raw = opened.read()
            sha256 = hashlib.sha256(raw).hexdigest()
            verdict = self._verdicts.get(sha256)
            if verdict is None:
                verdict = SOUND
                decode(raw)
        except UnusableImage as error:
            verdict = str(error)
        except OSError as error:
            verdict = f"it cannot be read ({error.strerror or type(error).__name__})"
        return Seen(stamp, sha256, verdict)

    def _save(self) -> None:
        if self._unsaved < FEW or self._memory is None:
            return
        self._unsaved, now, time_now = 0, dict(self._now), time.time_ns()
        settled = {f: s for f, s in now.items() if s.sha256 and time_now - max(s.stamp[2:]) > SETTLED_NS}
        others = _recalled(self._memory)  # that another process may have written meanwhile
        kept = {f: s for f, s in others.items() if f not in now} | settled
        remember(self._memory, SCHEMA, {f: [s.stamp, s.sha256, s.verdict] for f, s in kept.items()})


@dataclass(frozen=True)
class PictureFile:
    """What reads one picture, here or in another process."""

    path: str
    file: str  # for people, within the source
    source: str  # its name
    seen: Seen

    def __call__(self) -> Pixels:
        """(h, w, 3) uint8. Raises InputError where the file changed or vanished since it was looked at."""
        try:
            stamp = _stamp(self.path)
            with open(self.path, "rb") as opened:
                raw = opened.read()
            if stamp == self.seen.stamp or hashlib.sha256(raw).hexdigest() == self.seen.sha256:
                return decode(raw)
        except (OSError, UnusableImage):
            pass
        raise InputError(
            f"The image {self.file} of {self.source} changed or vanished since it was opened; start again, so that "
            "all images are read anew."
        )


def _stamp(path: str) -> Stamp:
    """Raises OSError, or UnusableImage for what should not be read."""
    status = os.stat(path)
    if not S_ISREG(status.st_mode):
        raise UnusableImage("it is not a regular file")
    if status.st_size > LARGEST_FILE:
        raise UnusableImage(f"it has more than {LARGEST_FILE // 2**20} MiB")
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _recalled(memory: Path | None) -> Mapping[str, Seen]:
    content = recall(memory, SCHEMA) or {}
    return {file: Seen(tuple(stamp), sha256, verdict) for file, (stamp, sha256, verdict) in content.items()}
