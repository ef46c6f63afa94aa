"""Paths and numbers as people write them, made one thing once, at the border: a run is the same from every folder."""

from __future__ import annotations

import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import unquote, urlsplit

import platformdirs


def unquoted(text: str) -> str:
    """Without the blanks and quotes around it that come with pasting."""
    text = text.strip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    return text


def absolute(text: str | os.PathLike[str]) -> Path:
    """The absolute path that is meant: quotes around it, `~`, `file://` and a trailing slash are understood."""
    plain = unquoted(os.fspath(text))
    if plain.startswith("file://"):
        plain = unquote(urlsplit(plain).path)
    return Path(os.path.abspath(os.path.expanduser(plain)))


def user_cache() -> Path:
    """This package's folder for what can be fetched again, where this system keeps such things for a user."""
    return platformdirs.user_cache_path("snapvit", appauthor=False)


def user_data() -> Path:
    """This package's folder for what a user made, where this system keeps such things."""
    return platformdirs.user_data_path("snapvit", appauthor=False)


def share(text: str) -> float:
    """A share as `0.35`, `35%` or `0,35`. Raises ValueError, in a sentence, for what is no number."""
    plain = unquoted(text).replace(",", ".")
    percent = plain.endswith("%")
    try:
        number = Decimal(plain.rstrip("%").strip())
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no number; write a share as 0.35, 0,35 or 35%") from error
    return float(number / 100 if percent else number)
