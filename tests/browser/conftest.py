"""What every browser test needs: a Chromium, a server of its own and a page that remembers its errors."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_SECONDS = 60
SETTLE_MS = 30_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests; the one on PATH, so that nothing is downloaded."""
    chromium = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    if chromium is None:
        pytest.skip(f"no Chromium on PATH (looked for {', '.join(CHROMIUMS)})")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("playwright is not installed (requirements-dev.txt)")
    args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium, args=args)
        yield chrome
        chrome.close()


@dataclass
class Server:
    """A running Streamlit server."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str

    def died(self) -> str | None:
        """What to show of a server that ended by itself."""
        code = self.process.poll()
        if code is None:
            return None
        return f"the Streamlit server ended by itself with code {code}; its log:\n{self.log.read_text()}"

    def wait_healthy(self) -> None:
        """Return once the server answers; fail with its log if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if message := self.died():
                pytest.fail(message)
            try:
                with urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                    if answer.read() == b"ok":
                        return
            except (URLError, OSError):
                time.sleep(0.1)
        pytest.fail(f"no answer from Streamlit in {START_SECONDS} s; its log:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End this very process, firmly if it does not listen."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """`serve(entry, cache=None, env=None)` starts a server for this module's tests and returns its base URL."""
    servers: list[Server] = []

    def start(entry: str | Path, cache: Path | None = None, env: dict[str, str] | None = None) -> str:
        port = _free_port()
        log = tmp_path_factory.mktemp("server") / "log.txt"
        options = {
            "server.port": port,
            "server.address": "127.0.0.1",
            "server.headless": "true",
            "server.fileWatcherType": "none",
            "browser.gatherUsageStats": "false",
        }
        command = [sys.executable, "-m", "streamlit", "run", str(entry)]
        command += [f"--{name}={value}" for name, value in options.items()]
        environment = os.environ | (env or {}) | ({"SNAPVIT_CACHE": str(cache)} if cache else {})
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
        server = Server(process, log, f"http://127.0.0.1:{port}")
        servers.append(server)
        server.wait_healthy()
        return server.url

    yield start
    deaths = [message for server in servers if (message := server.died())]
    for server in servers:
        server.stop()
    assert not deaths, "\n\n".join(deaths)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`open_page(url, width=1440, dark=False)`: a settled page; its console and page errors are in `page_errors`."""
    contexts = []

    def open_(url: str, width: int = 1440, dark: bool = False) -> Page:
        # Streamlit's theme follows the browser's preference, so the address stays as a person would type it.
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        errors: list[str] = []
        page.page_errors = errors
        page.on("console", lambda message: errors.append(message.text) if _is_ours(message) else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        settle(page)
        return page

    yield open_
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
    page.wait_for_timeout(100)


def _is_ours(message: Any) -> bool:
    """An error in the console, but for the two addresses that Streamlit itself tries under every page's own first."""
    probes = ("/_stcore/health", "/_stcore/host-config")
    return message.type == "error" and not message.location.get("url", "").endswith(probes)


def assert_calm(page: Any) -> None:
    """Nothing went wrong on this page: no exception shown, no error in the console."""
    shown = page.locator('[data-testid="stException"]').all_inner_texts()
    assert not shown, shown
    assert not page.page_errors, page.page_errors
