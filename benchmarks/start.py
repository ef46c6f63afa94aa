"""What a person waits for before the first figure."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.browser import chromium, server, shipped_cache
from benchmarks.timing import Line, Spread, compare, seconds
from scripts.browser import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FIGURE = '.stPlotlyChart .main-svg, [data-testid="live-curve"]'


def app_import(pairs: int = 7) -> Line:
    """Importing all that app.py imports, beyond what torch alone takes; each in a fresh interpreter."""
    modules = _imports(ROOT / "app.py")
    result = compare(
        lambda: seconds(lambda: _import(modules)),
        lambda: seconds(lambda: _import(["torch"])),
        pairs,
    )
    return Line(
        subject="import of the app beyond torch",
        value=result.difference,
        unit="s",
        target=1.5,
        times=(("app.py's imports", result.ours), ("torch alone", result.bare)),
        note=", ".join(modules),
    )


def first_page(repeats: int = 5) -> Line:
    """The app's own address, `/`."""
    return _first_figure("server start to figure, /", "/", repeats)


def sparsity_page(repeats: int = 5) -> Line:
    """The page with the live slider, first visit to a fresh server."""
    return _first_figure("server start to figure, /sparsity", "/sparsity", repeats)


def _imports(file: Path) -> list[str]:
    """Modules that a file imports at its top, in order."""
    names: list[str] = []
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module not in (None, "__future__"):
            names.append(node.module)
    return list(dict.fromkeys(names))


def _import(modules: list[str]) -> None:
    subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], cwd=ROOT, check=True)


def _first_figure(subject: str, path: str, repeats: int) -> Line:
    """From starting the process to a figure on the screen of a browser that was open before."""
    with chromium() as browser, shipped_cache() as cache:
        _visit(browser, cache, path)  # brings everything into the disk cache once
        visits = [_visit(browser, cache, path) for _ in range(repeats)]
    answers, figures = zip(*visits, strict=True)
    total = Spread.of(figures)
    return Line(
        subject=subject,
        value=total.median,
        unit="s",
        target=4.0,
        times=(("first figure", total), ("server answers", Spread.of(answers))),
        note="a fresh server and an empty browser each time",
    )


def _visit(browser: Browser, cache: Path, path: str) -> tuple[float, float]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = context.new_page()
        start = time.perf_counter()
        with server(cache) as url:
            healthy = time.perf_counter() - start
            page.goto(url + path, wait_until="commit")
            page.locator(FIGURE).first.wait_for(timeout=60_000)
            return healthy, time.perf_counter() - start
    finally:
        context.close()
