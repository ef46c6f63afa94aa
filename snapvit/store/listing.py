"""Reading manifests: each is parsed once and again only when its file changed, so that a long list stays cheap."""

from __future__ import annotations

import os
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from snapvit.store.files import is_plain_name
from snapvit.store.manifest import MANIFEST, FormerRun, Manifest, parse
from snapvit.store.problems import Problems

# A file that changed so shortly before it was read may change again within one tick of the file system's clock, with
# the same stamp; what was read then is not relied on. The longest usual tick is 10 ms.
TICK_NS = 100_000_000
Stamp = tuple[int, int, int, int]  # inode, size, times of content and of status


@dataclass(frozen=True)
class _Known:
    stamp: Stamp
    settled: bool  # whether an equal stamp means equal content
    found: Manifest | FormerRun | None  # None: damaged, and reported when it was read


class Manifests:
    """The manifests under one folder, for any number of threads. Damaged ones are named in `problems`."""

    def __init__(self, root: Path, problems: Problems) -> None:
        self._root, self._problems = str(root), problems
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Manifest | FormerRun]:
        """All that can be read, newest first."""
        try:
            with os.scandir(self._root) as folders:
                runs = [folder.name for folder in folders if folder.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            runs = []
        except OSError as error:
            self._problems.add(self._root, f"The cache {self._root} cannot be read: {error.strerror}.")
            return []
        with self._lock:
            gone = self._known.keys() - set(runs)
        for run in gone:
            self._forget(run)
        found = [manifest for run in runs if (manifest := self.get(run)) is not None]
        return sorted(found, key=lambda manifest: (-manifest.created, manifest.run))

    def get(self, run: str) -> Manifest | FormerRun | None:
        """The manifest of a run as its file is now; None where there is none, or where it is damaged."""
        if not is_plain_name(run):
            return None
        try:
            status = os.stat(self._path(run))
        except PermissionError:
            return self.read(run)
        except OSError:
            self._forget(run)
            return None
        if not stat.S_ISREG(status.st_mode):
            self._forget(run)
            return None
        known = self._known.get(run)
        if known is not None and known.settled and known.stamp == _stamp(status):
            return known.found
        return self.read(run)

    def read(self, run: str) -> Manifest | FormerRun | None:
        """As `get`, from the file and never from memory: for who is about to change it."""
        if not is_plain_name(run):
            return None
        stamp, settled, found = (0, 0, 0, 0), False, None
        try:
            with open(self._path(run), "rb") as file:
                status = os.fstat(file.fileno())
                raw = file.read()
            stamp, settled = _stamp(status), _is_settled(status)
            found = parse(raw, run)
        except (FileNotFoundError, NotADirectoryError):
            self._forget(run)
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            where = f"{run}/{MANIFEST}"
            reason = " ".join(str(error).split())
            self._problems.add(where, f"{where} cannot be used: it is not a manifest this version can read ({reason}).")
        with self._lock:
            before = self._known.get(run)
            self._known[run] = _Known(stamp, settled, found)
        if found is not None and before is not None and before.found != found:
            self._drop_settled(run, found)
        return found

    def _path(self, run: str) -> str:
        return f"{self._root}{os.sep}{run}{os.sep}{MANIFEST}"

    def _forget(self, run: str) -> None:
        """There is no such run (any more), so nothing in it can be damaged."""
        with self._lock:
            gone = self._known.pop(run, None)
        if gone is not None:
            self._problems.drop(lambda where: where.startswith(f"{run}/"))

    def _drop_settled(self, run: str, found: Manifest | FormerRun) -> None:
        """A manifest that is whole again is no problem, nor is a damaged file that it no longer names."""
        named = {f"{run}/{file}" for file in found.files}
        self._problems.drop(lambda where: where.startswith(f"{run}/") and where not in named)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_settled(status: os.stat_result) -> bool:
    now = time.time_ns()
    return all(abs(now - changed) > TICK_NS for changed in (status.st_mtime_ns, status.st_ctime_ns))
