"""The app on its shipped run, for the lines that time what a person sees."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import Unavailable
from scripts import browser
from snapvit.models.spec import BUNDLED
from snapvit.pipeline.results import list_runs
from snapvit.store.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium on PATH, headless. Raises Unavailable where it or Playwright is missing."""
    try:
        with browser.chromium() as chrome:
            yield chrome
    except browser.NoBrowser as reason:
        raise Unavailable(str(reason)) from None


@contextmanager
def shipped_cache() -> Iterator[Path]:
    """A copy of the shipped cache, which a page may write to. Raises Unavailable without a finished bundled run."""
    cache = browser.ROOT / "cache"
    if not any(run.model == BUNDLED and run.state == "finished" for run in list_runs(Store(cache))):
        raise Unavailable("the cache holds no finished run of the bundled model (make bundled-run)")
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(cache, Path(folder) / "cache", ignore=shutil.ignore_patterns(".*")))


@contextmanager
def server(cache: Path) -> Iterator[str]:
    """The app on a free port of this machine: its address, once it answers."""
    with browser.app_server(cache.parent / "server.log", cache) as running:
        yield running.url
