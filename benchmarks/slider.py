"""From letting the slider's thumb go to the page that Python has answered for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from benchmarks.browser import chromium, server, shipped_cache
from benchmarks.timing import Line, Spread, percentile_95
from snapvit.pipeline.config import PATH_END, path_points

if TYPE_CHECKING:
    from playwright.sync_api import Page

ANSWERS = {"preliminary answer": "Preliminary:", "final numbers": "Measured:"}  # what comes, and how it begins
KNOB = 26  # px; the thumb's centre travels that much less than its input is wide
GRID = sorted(path_points(39))  # the measured points on the shipped run's path
BETWEEN = [round(s + 0.01, 4) for s in GRID[:-1]]  # steps of the slider that are not among them

# From the event named to a page that shows the sparsity and the words wanted, and whose script has ended.
WATCH = """([event, percent, words]) => { (window.answers ??= {})[words] = new Promise((done, fail) => {
    let start;
    setTimeout(() => fail(new Error(`no ${words} at ${percent}; ${document.querySelector('h3')?.innerText}`)), 60000);
    document.addEventListener(event, () => (start = performance.now()), {once: true, capture: true});
    const look = () => {
        const app = document.querySelector('[data-testid="stApp"]');
        const headed = [...document.querySelectorAll('h3')].some(h => h.textContent.includes(`The cut at ${percent}`));
        const said = headed && document.body.innerText.includes(words);
        if (start !== undefined && said && app.dataset.testScriptState === 'notRunning') {
            done((performance.now() - start) / 1000);
        } else requestAnimationFrame(look);
    };
    look();
}); }"""


def cached(releases: int = 20) -> Line:
    """Releases on sparsities that were measured before. The value is what 95 % of them keep."""
    with _sparsity_page() as page:
        times = [_release(page, s, "Measured:") for s in _places(GRID, releases + 2)][2:]
    return Line(
        subject="slider release, cached sparsity",
        value=percentile_95(times),
        unit="s",
        target=0.3,
        times=(("release to answered page", Spread.of(times)),),
        note=f"95th percentile of {releases} releases of the mouse; an arrow key's pause of 0.2 s would come on top",
    )


def uncached_first() -> Line:
    """Measuring a sparsity that is not on the grid: until the preliminary answer, of the first images, is shown."""
    return _uncached(0)


def uncached() -> Line:
    """Measuring a sparsity that is not on the grid: until the final numbers, of all images, are shown."""
    return _uncached(1)


def _uncached(answer: int) -> Line:
    first, *times = _measured()
    what, kept = tuple(ANSWERS)[answer], [time[answer] for time in times]
    return Line(
        subject=f"measure a sparsity, bundled: {what}",
        value=percentile_95(kept),
        unit="s",
        target=2.0,
        times=((f"button to {what}", Spread.of(kept)), ("the first of all", Spread.of([first[answer]]))),
        note=f"95th percentile of {len(kept)}, with the shipped run's gallery and queries",
    )


@cache
def _measured(measurements: int = 10) -> list[list[float]]:
    """Seconds from the button to each of ANSWERS, one list a measurement and one before them that does not count."""
    with _sparsity_page() as page:
        return [_measure(page, s) for s in _places(BETWEEN, measurements + 1)]


@contextmanager
def _sparsity_page() -> Iterator[Page]:
    with chromium() as browser, shipped_cache() as cache, server(cache) as url:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(f"{url}/sparsity?s={GRID[0]}")
        page.get_by_text("The cut at 0.0%").wait_for(timeout=60_000)
        page.get_by_test_id("live-thumb").scroll_into_view_if_needed()
        yield page
        context.close()


def _places(sparsities: list[float], count: int) -> list[float]:
    """Where to go: a random walk that never stays, without the ends, where a thumb is hard to hit."""
    return random.Random(0).sample(sparsities[1:-1], count)


def _release(page: Page, sparsity: float, words: str) -> float:
    thumb = page.get_by_test_id("live-thumb")
    start = float(thumb.input_value()) / 100
    page.mouse.move(*_place(page, start))
    page.mouse.down()
    page.mouse.move(*_place(page, (start + sparsity) / 2))
    page.mouse.move(*_place(page, sparsity))
    page.evaluate(WATCH, ["pointerup", f"{sparsity:.1%}", words])
    page.mouse.up()
    return _answered(page, words)


def _measure(page: Page, sparsity: float) -> list[float]:
    """Seconds from the button to each of ANSWERS."""
    _release(page, sparsity, "Measure this cut")
    for words in ANSWERS.values():
        page.evaluate(WATCH, ["click", f"{sparsity:.1%}", words])
    page.get_by_role("button", name="Measure this cut").click()
    return [_answered(page, words) for words in ANSWERS.values()]


def _answered(page: Page, words: str) -> float:
    return page.evaluate("(words) => window.answers[words]", words)


def _place(page: Page, sparsity: float) -> tuple[float, float]:
    """The middle of the thumb at a sparsity, in pixels of the page."""
    box = page.get_by_test_id("live-thumb").bounding_box()
    travel = (box["width"] - KNOB) * sparsity / PATH_END
    return box["x"] + KNOB / 2 + travel, box["y"] + box["height"] / 2
