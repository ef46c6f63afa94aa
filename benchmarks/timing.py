"""Repeated and interleaved timing, and what one line of the table holds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SIZES = ("kB",)  # units of lines that measure no times; their spreads are in it


class Unavailable(Exception):
    """This machine lacks something that a line needs; the message names it."""


@dataclass(frozen=True)
class Spread:
    """Repeated times of one thing, in seconds; or sizes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Median, least and most of what was measured."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Line:
    """One line of the table: what was timed, and the number that is held against the target."""

    subject: str
    value: float
    unit: str  # x (a ratio), ms, s, GB or kB
    target: float  # the value must not exceed it
    times: tuple[tuple[str, Spread], ...] = ()  # by what was timed
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        return self.value <= self.target


@dataclass(frozen=True)
class Comparison:
    """Two things timed in turn, so that a busy machine slows both alike."""

    ours: Spread
    bare: Spread
    ratio: float  # median of the pairwise ratios ours / bare
    difference: float  # median of the pairwise differences ours - bare, seconds


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeated(call: Callable[[], object], repeats: int, warmup: int = 1) -> Spread:
    """Wall time of `call`, after `warmup` calls that do not count."""
    for _ in range(warmup):
        call()
    return Spread.of([seconds(call) for _ in range(repeats)])


def compare(ours: Callable[[], float], bare: Callable[[], float], pairs: int, warmup: int = 1) -> Comparison:
    """Time `ours` and `bare` in turn. Each returns the seconds that count, so set-up can stay out of them."""
    for _ in range(warmup):
        ours()
        bare()
    times = [(ours(), bare()) for _ in range(pairs)]
    mine, theirs = zip(*times, strict=True)
    return Comparison(
        ours=Spread.of(mine),
        bare=Spread.of(theirs),
        ratio=statistics.median(a / b for a, b in times),
        difference=statistics.median(a - b for a, b in times),
    )


def percentile_95(values: Sequence[float]) -> float:
    """The value that 95 % of the values do not exceed."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1]
