"""What every browser test needs: a Chromium, a server of its own and a page that remembers its errors."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scripts.browser import ROOT, AppServer, NoBrowser, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["ROOT", "assert_calm", "settle"]

SETTLE_MS = 90_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser, its server and what they compute share two cores: what came too late is tried up to twice more."""
    for item in items:
        if item.get_closest_marker("browser") is not None:
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    try:
        with chromium() as chrome:
            yield chrome
    except NoBrowser as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """`serve(entry, cache=None, env=None)` starts a server for this module's tests and returns its base URL."""
    servers: list[AppServer] = []

    def start(entry: str | Path, cache: Path | None = None, env: dict[str, str] | None = None) -> str:
        settings = (env or {}) | ({"SNAPVIT_CACHE": str(cache)} if cache else {})
        server = AppServer(tmp_path_factory.mktemp("server") / "log.txt", entry, settings)
        servers.append(server)
        server.wait_healthy()
        return server.url

    yield start
    deaths = [message for server in servers if (message := server.died())]
    for server in servers:
        server.stop()
    assert not deaths, "\n\n".join(deaths)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the cache that the project ships."""
    return shutil.copytree(ROOT / "cache", tmp_path_factory.mktemp("shipped") / "cache")


@pytest.fixture(scope="module")
def url(serve: Callable[..., str], shipped: Path) -> str:
    """The whole app on that copy."""
    return serve("serve.py", cache=shipped)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`open_page(url, width=1440, dark=False, height=900)`: a settled page; its console and page errors are in
    `page_errors`."""
    with pages_of(browser) as opener:
        yield opener


@contextmanager
def pages_of(browser: Browser) -> Iterator[Callable[..., Page]]:
    """See `open_page`; its pages are closed in the end."""
    contexts = []

    def open_(url: str, width: int = 1440, dark: bool = False, height: int = 900) -> Page:
        # Streamlit's theme follows the browser's preference, so the address stays as a person would type it.
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        errors: list[str] = []
        page.page_errors = errors
        page.on("console", lambda message: errors.append(message.text) if _is_ours(message) else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        settle(page)
        return page

    try:
        yield open_
    finally:
        for context in contexts:
            context.close()


def settle(page: Page) -> None:
    """Wait until the script has run and everything it drew is there.

    Not for pages with a `run_every` fragment, whose state flips at each tick: wait for content there.
    """
    # An action takes a moment to reach the server; before that the page looks settled.
    page.wait_for_timeout(210)
    app = '[data-testid="stApp"][data-test-connection-state="CONNECTED"][data-test-script-state="notRunning"]'
    page.locator(app).wait_for(timeout=SETTLE_MS)
    page.wait_for_function("() => !document.querySelector('[data-testid=\"stSkeleton\"]')", timeout=SETTLE_MS)
    page.wait_for_load_state("networkidle", timeout=SETTLE_MS)  # the components' scripts are fetched by the browser
    page.wait_for_timeout(100)


def open_box(page: Page, name: str) -> None:
    """Open a box of choices. It closes when the page scrolls, so that comes first."""
    box = page.get_by_role("combobox", name=name, exact=True)
    box.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    box.click()


def _is_ours(message: Any) -> bool:
    """An error in the console, but for the two addresses that Streamlit itself tries under every page's own first."""
    probes = ("/_stcore/health", "/_stcore/host-config")
    return message.type == "error" and not message.location.get("url", "").endswith(probes)


def assert_calm(page: Any) -> None:
    """Nothing went wrong on this page: no exception shown, no error in the console."""
    shown = page.locator('[data-testid="stException"]').all_inner_texts()
    assert not shown, shown
    assert not page.page_errors, page.page_errors
