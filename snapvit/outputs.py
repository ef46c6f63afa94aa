"""Files that a person names to be written: whole or not at all, through links, never in place of what is no file."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from snapvit.errors import InputError


def write_output(path: Path, write: Callable[[Path], None], what: str, force: bool = False) -> Path:
    """Have `write` make a file under a temporary name, and put it where `path` leads; the place is returned.

    A link is followed and stays. what: the content, for messages ("the scores"). Raises InputError where a file exists,
    unless `force`, where something else than a file does, or where it cannot be written.
    """
    target = Path(os.path.realpath(path))
    if os.path.lexists(target) and not target.is_file():
        kind = "a folder" if target.is_dir() else "no regular file"
        raise InputError(f"{path} is {kind}, which {what} cannot take the place of; name a file.")
    if target.exists() and not force:
        raise InputError(f"{path} exists; name another file, or replace it with --force.")
    part = target.with_name(f".{target.name[:100]}.{uuid4().hex}.part")
    try:
        write(part)
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    except (OSError, RuntimeError) as error:  # torch reports a missing folder as a RuntimeError
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise InputError(f"{what[0].upper()}{what[1:]} cannot be written to {path} ({reason}).") from error
    return target
