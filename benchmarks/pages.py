"""From a click in the menu to the page's first figure, on the shipped run."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.browser import chromium, server, shipped_cache
from benchmarks.timing import Line, Spread

if TYPE_CHECKING:
    from playwright.sync_api import Page

# label in the menu, and what is on the screen once the page's first figure is; no two in a row show the same, nor does
# the first show what the Run page does, where it begins
FIRST = {
    "Heads and neurons": ".st-key-head_map_score .main-svg",
    "Sparsity": '[data-testid="live-curve"]',
    "CKA": ".st-key-block_map .main-svg",
    "Correlation": ".st-key-correlation_player .main-svg",
    "Embedding": '[data-testid="projection-canvas"][data-frame]',
    "Method": ".flow img",
    "Run": '[data-testid="live-curve"]',
}

# Seconds from the click to the frame in which the figure is there. Asked for inside the page: from outside, the
# answer would have to wait for the figures below it.
CLICK = """([label, figure]) => new Promise((done, fail) => {
    setTimeout(() => fail(new Error(`${label} shows no ${figure}`)), 60000);
    const start = performance.now();
    const find = (root) => root.querySelector(figure)  // components draw in shadow roots
        ?? [...root.querySelectorAll('div')].find((node) => node.shadowRoot && find(node.shadowRoot));
    const look = () => {
        if (find(document)) done((performance.now() - start) / 1000);
        else requestAnimationFrame(look);
    };
    const links = [...document.querySelectorAll('[data-testid="stSidebar"] a')];
    links.find((link) => link.textContent.includes(label)).click();
    look();
})"""


def change(rounds: int = 5) -> Line:
    """Every page in turn, several times. The value is the slowest page's median; first visits do not count."""
    with chromium() as browser, shipped_cache() as cache, server(cache) as url:
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto(url)
        page.locator(FIRST["Run"]).first.wait_for(timeout=60_000)
        first, *later = [{label: _go(page, label) for label in FIRST} for _ in range(rounds + 1)]
    spreads = {label: Spread.of([times[label] for times in later]) for label in FIRST}
    slowest = max(spreads, key=lambda label: spreads[label].median)
    return Line(
        subject="page change to first figure",
        value=spreads[slowest].median,
        unit="s",
        target=1.0,
        times=tuple(spreads.items()),
        note=f"slowest: {slowest}; median of first visits to a fresh server {statistics.median(first.values()):.2f} s",
    )


def _go(page: Page, label: str) -> float:
    page.wait_for_timeout(2500)  # the page before has come to rest
    return page.evaluate(CLICK, [label, FIRST[label]])
