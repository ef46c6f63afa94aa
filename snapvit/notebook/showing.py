"""What a notebook shows: packages that only notebooks need, imported where they are used, and small tables."""

from __future__ import annotations

import importlib
from html import escape
from types import ModuleType

from snapvit.errors import InputError


def needed(package: str, what: str) -> ModuleType:
    """The package. Raises InputError where it is not installed; `what` it is needed for begins the sentence."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package.partition(".")[0]:
            raise
        raise InputError(
            f"{what} need {package}, which is not installed; pip install 'snapvit-explorer[notebook]'."
        ) from error


def html_table(lines: list[tuple[str, str]]) -> str:
    """A small table of names and values."""
    rows = "".join(f"<tr><th style='text-align:left'>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in lines)
    return f"<table>{rows}</table>"
