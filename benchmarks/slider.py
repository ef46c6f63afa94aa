"""From letting the slider go to the updated page."""

from __future__ import annotations

from benchmarks.timing import Line, Unavailable


def cached() -> Line:
    """A sparsity that was measured before."""
    raise Unavailable("to be written once the page exists")


def uncached() -> Line:
    """A sparsity that has to be measured."""
    raise Unavailable("to be written once the page exists")
