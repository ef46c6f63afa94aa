"""Image sources by name. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from snapvit.data.archive import open_upload
from snapvit.data.fashion_mnist import BUNDLED, FashionMnist
from snapvit.data.files import Check, go_on
from snapvit.data.folder import open_folder
from snapvit.data.image_source import ImageSource
from snapvit.data.torchvision_sets import find_set, open_set
from snapvit.errors import InputError

FOLDER, TORCHVISION, UPLOAD = "folder:", "torchvision:", "upload:"


def canonical_name(name: str) -> str:
    """`name` in the one form that runs keep: a folder by its absolute path, a torchvision set as torchvision spells it.

    Raises InputError for what names no source; whether its images can be had is seen when it is opened.
    """
    if name.startswith(FOLDER) and name != FOLDER:
        return FOLDER + os.path.abspath(os.path.expanduser(name.removeprefix(FOLDER)))
    if name.startswith(TORCHVISION):
        return TORCHVISION + find_set(name.removeprefix(TORCHVISION)).name
    if name == BUNDLED or name.startswith(UPLOAD):
        return name
    raise InputError(
        f"There is no image source named {name!r}; the explorer knows bundled, folder:PATH and torchvision:NAME."
    )


def open_source(name: str, cache: Path | None = None, check: Check = go_on) -> ImageSource:
    """Open what `name` says: `bundled`, `folder:PATH`, `torchvision:NAME`, or `upload:DIGEST`, which lies in `cache`.

    Raises InputError where there is no such source or its images cannot be had. Files that cannot be used are no
    error; they are in `skipped`. `check` is called after each file that is read, and may raise to stop.
    """
    name = canonical_name(name)
    if name.startswith(FOLDER):
        return open_folder(Path(name.removeprefix(FOLDER)), name, cache, check)
    if name.startswith(TORCHVISION):
        return open_set(name.removeprefix(TORCHVISION), name, cache, check)
    if name.startswith(UPLOAD):
        return open_upload(name, cache, check)
    return FashionMnist()
