"""Standard output and error, whatever they lead to: a narrow encoding, a reader that has had enough, a full disk."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from snapvit.errors import InputError


def widen() -> None:
    """Have what an encoding lacks written as escapes: a name in another script is no reason to end."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where somebody has put another object in its place
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """A line on standard output. A reader that went away, as `head` does, has what it wanted.

    Raises InputError where it cannot be written for another reason.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _let_go(sys.stdout)
    except OSError as error:
        _let_go(sys.stdout)
        raise InputError(f"Standard output cannot be written ({error.strerror}).") from error


def tell(text: str) -> None:
    """A line on standard error, where anybody reads it: work goes on without."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _let_go(sys.stderr)


def _let_go(stream: TextIO) -> None:
    """Lead a stream nowhere, so that Python does not try again, and fail, when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
