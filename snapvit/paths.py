"""Paths as people write them, made absolute once, at the border: a run is the same from every folder."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit


def absolute(text: str | os.PathLike[str]) -> Path:
    """The absolute path that is meant: quotes around it, `~`, `file://` and a trailing slash are understood."""
    plain = os.fspath(text).strip()
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "'\"":
        plain = plain[1:-1]
    if plain.startswith("file://"):
        plain = unquote(urlsplit(plain).path)
    return Path(os.path.abspath(os.path.expanduser(plain)))
