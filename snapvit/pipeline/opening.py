"""The cache that somebody works in, and the shipped run, which any cache can take a copy of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from uuid import uuid4

from snapvit.errors import InputError
from snapvit.pipeline.config import PRESETS, RunRequest
from snapvit.store.store import Store

SHIPPED = RunRequest(config=PRESETS["paper"]).run
PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE / "shipped", PACKAGE.parent / "cache")  # of an installed package, of a checkout


def open_store(cache: str | os.PathLike[str] | None = None) -> Store:
    """The cache in this folder; None: SNAPVIT_CACHE, or where it usually lies."""
    return Store(None if cache is None else Path(cache))


def take_shipped(store: Store) -> str:
    """The name of the shipped run, copied into the cache where it is not there yet: there it gains measured cuts.

    Raises InputError where it is not installed, or the cache cannot be written.
    """
    if store.manifest(SHIPPED) is not None:
        return SHIPPED
    source = next((place / SHIPPED for place in PLACES if (place / SHIPPED).is_dir()), None)
    if source is None:
        raise InputError(
            f"The shipped run {SHIPPED} is not installed with this package; make one with snapvit.run(preset='look')."
        )
    part = store.root / f".{SHIPPED}.{uuid4().hex}.part"
    try:
        store.root.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, part, ignore=shutil.ignore_patterns(".*"))
        part.rename(store.root / SHIPPED)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if store.manifest(SHIPPED) is None:  # else another process was faster
            raise InputError(
                f"The shipped run cannot be copied into {store.root} ({error.strerror}); name another cache."
            ) from error
    return SHIPPED
