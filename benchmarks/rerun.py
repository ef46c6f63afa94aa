"""What a look costs once a page is open: a widget is used, and the server sends what is new on it."""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from benchmarks.browser import chromium, shipped_cache
from benchmarks.looks import CHANGES, Change, Use
from benchmarks.timing import Line, Spread, Unavailable
from scripts.browser import AppServer, app_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REPEATS = 3  # of each change; a widget with fewer uses is visited again
CALM = 0.8  # s without a message after which a rerun is over; the scrubber's comes 0.4 s after its release
PATIENCE = 30.0  # s


@dataclass
class Wire:
    """What has come to the page from the server."""

    received: int = 0  # bytes
    last: float = field(default_factory=time.monotonic)

    def hear(self, message: str | bytes) -> None:
        """Count a message."""
        self.received += len(message)
        self.last = time.monotonic()


def sent() -> Line:
    """Bytes over the websocket. The value is the largest change's median."""
    costs = {name: [kilobytes for kilobytes, _ in pairs] for name, pairs in _costs().items()}
    return _line("rerun: sent for one change", "kB", 50.0, costs)


def processor() -> Line:
    """Processor time of the server. The value is the slowest change's median."""
    costs = {name: [seconds for _, seconds in pairs] for name, pairs in _costs().items()}
    return _line("rerun: processor for one change", "s", 0.1, costs)


def _line(subject: str, unit: str, target: float, costs: dict[str, list[float]]) -> Line:
    spreads = {name: Spread.of(values) for name, values in costs.items()}
    most = max(spreads, key=lambda name: spreads[name].median)
    note = f"most: {most}; median of all changes {statistics.median(s.median for s in spreads.values()):.3g} {unit}"
    return Line(subject, spreads[most].median, unit, target, tuple(spreads.items()), note)


@cache
def _costs() -> dict[str, list[tuple[float, float]]]:
    """(kB, seconds of the processor) of every repeat, by change."""
    with chromium() as browser, shipped_cache() as folder, app_server(folder.parent / "server.log", folder) as server:
        return {
            f"{change.page.split('?')[0][1:] or 'run'}, {change.name}": [
                cost for _ in range(-(-REPEATS // len(change.uses))) for cost in _visit(browser, server, change)
            ]
            for change in CHANGES
        }


def _visit(browser: Browser, server: AppServer, change: Change) -> list[tuple[float, float]]:
    page, wire = browser.new_context(viewport={"width": 1280, "height": 720}).new_page(), Wire()
    page.on("websocket", lambda socket: socket.on("framereceived", wire.hear))
    page.goto(server.url + change.page)
    page.locator(change.mark).first.wait_for(timeout=60_000)
    _rest(page, wire, since=-1)
    costs = [_cost(page, wire, server.pid, use) for use in change.uses]
    page.context.close()
    return costs


def _cost(page: Page, wire: Wire, pid: int, use: Use) -> tuple[float, float]:
    """(kB, seconds of the processor) until the server has nothing more to say."""
    before, began = wire.received, _processor_seconds(pid)
    use(page)
    _rest(page, wire, since=before)
    return (wire.received - before) / 1000, _processor_seconds(pid) - began


def _rest(page: Page, wire: Wire, since: int) -> None:
    """Wait until something came beyond `since` bytes, and then nothing for a while."""
    deadline = time.monotonic() + PATIENCE
    while wire.received <= since or time.monotonic() - wire.last < CALM:
        if time.monotonic() > deadline:
            raise RuntimeError("the server did not answer" if wire.received <= since else "the server does not rest")
        page.wait_for_timeout(50)  # Playwright tells of messages only while it waits


def _processor_seconds(pid: int) -> float:
    """Processor time of all threads of a process, since it began."""
    if sys.platform != "linux":
        raise Unavailable("this system tells no process the processor time of another")
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3), which Python does not have
