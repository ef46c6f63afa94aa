"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from safetensors import SafetensorError

from snapvit.errors import InputError
from snapvit.formats import size

STALE_SECONDS = 3600  # what a killed export left and is older than this goes with the next one


def check_target(target: Path) -> None:
    """Raise InputError unless `target`, an absolute path, is an empty folder or nothing yet."""
    if target.is_symlink():
        raise InputError(f"The target {target} is a link (to {os.readlink(target)}); name the folder itself.")
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"The target {target} is no folder; name a new one, or an empty one.")
    with naming_failures(target):
        found = sorted(os.listdir(target))
    if found:
        named = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise InputError(f"The folder {target} is not empty (it holds {named}); name a new one, or an empty one.")


@contextlib.contextmanager
def whole_folder(target: Path, needed: int) -> Iterator[tuple[Path, Path]]:
    """A folder to fill, which becomes `target` at the end of the block, and one for scratch, which goes.

    Both lie beside the target; whatever ends the block early leaves nothing. Raises InputError for a target that
    cannot be one, for a disk with less than `needed` bytes free, and for what fails while it is written.
    """
    check_target(target)
    with naming_failures(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        free = shutil.disk_usage(target.parent).free
        if free < needed:
            raise InputError(
                f"The export takes about {size(needed)} and {target.parent} has {size(free)} left; "
                "free some, or name a folder on another disk."
            )
        part = target.with_name(f".{target.name}.{uuid4().hex}.part")
        try:
            filled, scratch = part / "export", part / "scratch"
            for folder in (part, filled, scratch):
                folder.mkdir()
            yield filled, scratch
            if target.exists():
                target.rmdir()  # only where it is still empty
            filled.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def naming_failures(target: Path) -> Iterator[None]:
    """A failing disk becomes one sentence."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"The export to {target} cannot be written ({reason}), so nothing is left of it; free or unlock the disk, "
            "or name another folder."
        ) from error


def _remove_stale(target: Path) -> None:
    latest = time.time() - STALE_SECONDS
    for part in target.parent.glob(f".{target.name}.*.part"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < latest:
                shutil.rmtree(part, ignore_errors=True)
