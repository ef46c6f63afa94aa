"""Packages that the library can do without, imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from snapvit.errors import InputError


def needed(package: str, what: str, extra: str = "notebook") -> ModuleType:
    """The package, of one of this package's extras, which `what` is not possible without.

    Raises InputError where it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise not_installed(what, package, extra) from error


def not_installed(what: str, package: str, extra: str) -> InputError:
    """That `what` is not possible without the package, and how to have it."""
    return InputError(f"{what} needs {package}, which is not installed; `pip install 'snapvit-explorer[{extra}]'`.")
