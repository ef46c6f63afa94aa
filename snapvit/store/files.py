"""Files that are written whole or not at all, and what a failing disk is called."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from snapvit.errors import InputError

STALE_SECONDS = 3600  # a temporary file older than this was left by a crash


class StoreError(InputError):
    """The cache cannot be written. What was computed before stays where it is."""


def write_whole(path: Path, raw: bytes) -> None:
    """Write a file under a temporary name and rename it, so that nobody ever sees a part of it."""
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        part.write_bytes(raw)
        os.replace(part, path)
    except OSError:
        remove([part])
        raise


def temporary_files(folder: Path, older_than: float = 0.0) -> list[Path]:
    """What `write_whole` left in a folder at least so many seconds ago, where it was killed."""
    found, latest = [], time.time() - older_than
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime <= latest:
                found.append(part)
    return found


def remove(paths: list[Path]) -> None:
    """Remove files that nothing speaks of any more; one that cannot go harms nobody where it is."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def is_plain_name(name: str) -> bool:
    """Whether a name stays in the folder it is joined to."""
    return name not in ("", ".", "..") and os.path.basename(name) == name and "\0" not in name


@contextlib.contextmanager
def naming_failures(root: Path) -> Iterator[None]:
    """A failing disk becomes one sentence that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(
            f"The cache {root} cannot be written ({reason}); free or unlock it, or name another folder with --cache "
            "or SNAPVIT_CACHE. What was computed before is kept."
        ) from error
