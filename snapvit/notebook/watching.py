"""Work that somebody waits for in a notebook: a progress bar, and a way to stop it that loses nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from snapvit.errors import Cancelled
from snapvit.pipeline.progress import Event, Reporter

if TYPE_CHECKING:
    from tqdm import tqdm

STOPPED = "Stopped; what was finished is kept, and the same call goes on from there."


class Bar(Reporter):
    """Shows the progress as a tqdm bar and notes as lines above it."""

    def __init__(self) -> None:
        super().__init__(self._tell)
        self._bar: tqdm | None = None

    def plan(self, units: float) -> None:
        """A bar of this length, where there is anything to do."""
        super().plan(units)
        self.close()
        if units:
            from tqdm import tqdm  # its text bar: the one that every notebook and terminal shows without a plug-in

            self._bar = tqdm(
                total=units, mininterval=0.3, bar_format="{desc}{percentage:3.0f}%|{bar:40}| {elapsed} < {remaining}"
            )

    def advance(self, units: float) -> None:
        """A step of the bar, and the stage's name before it."""
        if self._bar is not None:
            self._bar.set_description_str(f"{self.progress.stage:24}", refresh=False)
            self._bar.update(min(units, max(0.0, self._bar.total - self._bar.n)))  # sums of shares may round up
        super().advance(units)

    def close(self) -> None:
        """Leave the bar as it stands. Twice is harmless."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _tell(self, event: Event) -> None:
        if event.kind in ("note", "download"):
            from tqdm import tqdm

            tqdm.write(event.text)


@contextmanager
def watched(progress: bool = True) -> Iterator[Reporter]:
    """A reporter whose work Ctrl-C, or a notebook's stop button, ends within a batch; with a bar where `progress`.

    Raises Cancelled, with one sentence, where the work was stopped.
    """
    reporter = Bar() if progress else Reporter()
    try:
        with _stopped_by_interrupt(reporter):
            yield reporter
    except Cancelled:
        raise Cancelled(STOPPED) from None
    finally:
        if isinstance(reporter, Bar):
            reporter.close()


@contextmanager
def _stopped_by_interrupt(reporter: Reporter) -> Iterator[None]:
    """The first interrupt asks the work to stop; a second one is what it always is."""
    if threading.current_thread() is not threading.main_thread():  # where interrupts do not arrive
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: FrameType | None) -> None:
        reporter.cancel()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
