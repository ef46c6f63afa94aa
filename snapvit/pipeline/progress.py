"""What a running pipeline tells its observer, and how the observer asks it to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from snapvit.errors import Cancelled

T = TypeVar("T")


class Batch(Protocol):
    """An array or a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""


B = TypeVar("B", bound=Batch)


@dataclass(frozen=True)
class Event:
    """Something worth a line in the log: a stage that began or ended, a finished generation, a measured cut."""

    kind: str  # stage, cached, generation, point, note
    text: str
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """Where the work stands. Units are image passes through the full model, so that stages add up."""

    stage: str = ""
    done: float = 0.0  # of the current stage
    total: float = 0.0
    overall_done: float = 0.0
    overall_total: float = 0.0
    started: float = 0.0  # seconds of the monotonic clock
    updated: float = 0.0

    @property
    def share(self) -> float:
        """Overall share done, 0 to 1."""
        if not self.overall_total:
            return 1.0 if self.started else 0.0  # all in the cache, or not begun
        return min(1.0, self.overall_done / self.overall_total)

    @property
    def elapsed(self) -> float:
        """Seconds since the work began."""
        return self.updated - self.started

    @property
    def eta(self) -> float | None:
        """Seconds to go at the pace so far; None before there is a pace."""
        if self.overall_done <= 0 or self.elapsed < 1:
            return None
        return self.elapsed / self.overall_done * max(0.0, self.overall_total - self.overall_done)


class Reporter:
    """Progress, events and cancellation of one piece of work. The worker writes, any thread reads `progress`."""

    def __init__(
        self, on_event: Callable[[Event], None] | None = None, give_way: Callable[[], None] | None = None
    ) -> None:
        """give_way: called between two batches; it returns when the work may go on."""
        self.progress = Progress()
        self.events: tuple[Event, ...] = ()
        self._cancel = threading.Event()
        self._on_event = on_event
        self._give_way = give_way

    def plan(self, units: float) -> None:
        """Begin: this many units are to be done in all."""
        now = time.monotonic()
        self.progress = Progress(overall_total=units, started=now, updated=now)

    def begin(self, stage: str, units: float) -> None:
        """Begin a stage of this many units."""
        self.progress = replace(self.progress, stage=stage, done=0.0, total=units, updated=time.monotonic())
        self.event("stage", f"{stage} begins")

    def advance(self, units: float) -> None:
        """Report units done, and stop here if that was asked."""
        now, old = time.monotonic(), self.progress
        self.progress = replace(old, done=old.done + units, overall_done=old.overall_done + units, updated=now)
        self.check()

    def mark(self) -> Progress:
        """Where the work stands, to come back to."""
        return self.progress

    def back_to(self, mark: Progress) -> None:
        """What was done since is to be done again."""
        self.progress = replace(mark, updated=time.monotonic())

    def event(self, kind: str, text: str, **values: float) -> None:
        """Record an event and hand it on."""
        event = Event(kind, text, values)
        self.events = (*self.events, event)
        if self._on_event is not None:
            self._on_event(event)

    def over(self, items: Iterable[T], units: float) -> Iterator[T]:
        """`items`, each counting `units` when it is done; a request to stop takes effect between two of them."""
        for item in items:
            self.check()
            yield item
            self.advance(units)

    def counting(self, batches: Iterable[B], units: float, axis: int = 0) -> Iterator[B]:
        """`batches`, `units` told for each image (along `axis`) once the caller comes back for the next."""
        for batch in self.heeding(batches):
            yield batch
            self.advance(units * batch.shape[axis])

    def share_of(self, units: float) -> Callable[[float], None]:
        """What hears, again and again, which share of so many units is done."""
        told = 0.0

        def tell(share: float) -> None:
            nonlocal told
            self.advance((share - told) * units)
            told = share

        return tell

    def heeding(self, items: Iterable[T]) -> Iterator[T]:
        """`items`; a request to stop takes effect before the next of them."""
        for item in items:
            self.check()
            yield item

    @property
    def left(self) -> float:
        """Units of the stage that were not reported yet."""
        return max(0.0, self.progress.total - self.progress.done)

    def cancel(self) -> None:
        """Ask the work to stop. Harmless when repeated."""
        self._cancel.set()

    @property
    def cancelled(self) -> bool:
        """Whether the work was asked to stop."""
        return self._cancel.is_set()

    def check(self) -> None:
        """Between two batches: let others go first, and raise Cancelled if that was asked."""
        if self._give_way is not None:
            self._give_way()
        if self.cancelled:
            raise Cancelled


class Part(Reporter):
    """Reports a part of a larger piece of work to that work's own reporter, which planned the whole."""

    def __init__(self, whole: Reporter, quiet: bool = False) -> None:
        """quiet: without the events of what it goes through."""
        super().__init__()
        self._whole, self._quiet = whole, quiet

    def plan(self, units: float) -> None:
        """Nothing: the whole counts these units already."""

    def begin(self, stage: str, units: float) -> None:
        """A stage of the whole's."""
        self._whole.progress = replace(self._whole.progress, stage=stage, done=0.0, total=units)

    @property
    def left(self) -> float:
        """Of the whole's stage."""
        return self._whole.left

    def advance(self, units: float) -> None:
        """Units of the whole's; never more than it planned."""
        left = self._whole.progress.overall_total - self._whole.progress.overall_done
        self._whole.advance(min(units, max(0.0, left)))

    def mark(self) -> Progress:
        """The whole's."""
        return self._whole.mark()

    def back_to(self, mark: Progress) -> None:
        """The whole's."""
        self._whole.back_to(mark)

    def event(self, kind: str, text: str, **values: float) -> None:
        """Handed on."""
        if not self._quiet:
            self._whole.event(kind, text, **values)

    def check(self) -> None:
        """As the whole is asked."""
        self._whole.check()


class Shared(Part):
    """Reports a stage that several processes compute, by what the first of them does: about as much as each other."""

    def __init__(self, whole: Reporter, size: int) -> None:
        super().__init__(whole)
        self._size = size

    def advance(self, units: float) -> None:
        """So many units of one process, never more than the stage has."""
        self._whole.advance(min(units * self._size, self.left))
