"""Ten tabs that go from page to page for as long as one likes: the server's memory settles, closed tabs free theirs."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from reliability.verdict import Verdict
from scripts.browser import ROOT, AppServer, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TABS = 10
SETTLED = 10 * 60  # seconds, or a third of a shorter soak
MOST_GROWTH = 0.05
PAGES = ("", "sparsity", "heads", "cka", "correlation", "embedding", "method")
LEFT = 8  # descriptors that may stay when all tabs are closed


def soak(minutes: int = 60, tabs: int = TABS) -> Verdict:
    """`minutes` of visits by `tabs` tabs of a real browser to the server that `make app` starts."""
    verdict, draw = Verdict("soak"), random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        cache = shutil.copytree(ROOT / "cache", Path(folder) / "cache")
        env = {"SNAPVIT_CACHE": str(cache), "STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": "10"}
        server = AppServer(Path(folder) / "log.txt", "serve.py", env)
        try:
            server.wait_healthy()
            before = _descriptors(server.pid)
            with chromium() as browser:
                sizes = _visits(browser, server, verdict, draw, 60 * minutes, tabs)
            time.sleep(45)
            left = _descriptors(server.pid) - before
        finally:
            server.stop()
    settled = [size for at, size in sizes if at >= min(SETTLED, 20 * minutes)]
    growth = settled[-1] / settled[0] - 1 if settled else 0.0
    if growth > MOST_GROWTH:
        verdict.faults.append(f"memory grew by {growth:.1%} after it should have settled")
    if left > LEFT:
        verdict.faults.append(f"{left} descriptors are still held by tabs that are closed")
    first, last = settled[0], settled[-1]
    verdict.notes.append(f"memory {first:.0f} MB once settled, {last:.0f} MB at the end ({growth:+.1%})")
    verdict.notes.append(f"{max(left, 0)} descriptors more than before once all tabs are closed")
    return verdict


def _visits(
    browser: Browser, server: AppServer, verdict: Verdict, draw: random.Random, seconds: float, tabs: int
) -> list[tuple[float, float]]:
    """(seconds, MB) of the server after each round; every visit is a trial."""
    context = browser.new_context()
    pages = [context.new_page() for _ in range(tabs)]
    started, sizes = time.monotonic(), []
    while (at := time.monotonic() - started) < seconds:
        for page in pages:
            name = draw.choice(PAGES)
            page.goto(f"{server.url}/{name}?s={draw.uniform(0, 0.95):.3f}")
            page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=60_000)
            shown = page.locator('[data-testid="stException"]').count()
            verdict.add(name or "run", f"an exception on {page.url}" if shown else None)
        sizes.append((at, _resident(server.pid)))
    context.close()
    return sizes


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
