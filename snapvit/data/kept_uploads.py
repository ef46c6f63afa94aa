"""Uploads that lie unpacked in a cache: what they are, how large, and taking one away."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from snapvit.data.archive import UPLOAD_NAME, uploads
from snapvit.data.folder import memory_files
from snapvit.data.seen_files import shown
from snapvit.errors import InputError


@dataclass(frozen=True)
class Upload:
    """The images of one zip."""

    name: str  # of the source
    images: int
    size: int  # bytes on disk
    folders: tuple[str, ...]  # its classes; none for images alone
    unpacked: float  # seconds since 1970


def list_uploads(cache: Path) -> list[Upload]:
    """All that are there, newest first."""
    found = []
    with contextlib.suppress(OSError):  # there was none yet, or one is just being taken away
        for entry in os.scandir(uploads(cache)):
            if UPLOAD_NAME.fullmatch(f"upload:{entry.name}") and entry.is_dir(follow_symlinks=False):
                found.append(_look(Path(entry), entry.stat().st_mtime))
    return sorted(found, key=lambda upload: -upload.unpacked)


def delete_upload(name: str, cache: Path) -> None:
    """Take an upload away, and what is remembered of its files. Raises InputError where it is not there, or stays."""
    folder = uploads(cache) / name.removeprefix("upload:")
    if not UPLOAD_NAME.fullmatch(name) or not folder.is_dir():
        raise InputError(f"There are no uploaded images named {name!r} in the cache.")
    remembered = memory_files(folder, cache)
    going = folder.with_name(f".{folder.name}.{uuid4().hex}.part")
    try:
        os.replace(folder, going)  # whoever opens it sees all of it or none
        for file in remembered:
            file.unlink(missing_ok=True)
        shutil.rmtree(going)
    except OSError as error:
        raise InputError(
            f"The uploaded images in {shown(folder)} cannot be deleted ({error.strerror}); free or unlock the folder."
        ) from error


@lru_cache(maxsize=64)  # nothing is added to an upload: a page that is drawn again need not look into it again
def _look(folder: Path, unpacked: float) -> Upload:
    files = [file for file in folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    folders = sorted({file.relative_to(folder).parts[0] for file in files if file.parent != folder})
    return Upload(f"upload:{folder.name}", len(files), size, tuple(folders), unpacked)
