"""A Streamlit server and a Chromium of our own, for the tests, the benchmarks and the screenshots."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
START_SECONDS = 60
open_local = build_opener(ProxyHandler({})).open  # of this machine, never through a proxy


class NoBrowser(Exception):
    """What is missing for driving a browser."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium on PATH, headless, so that nothing is downloaded. Raises NoBrowser where it is missing."""
    path = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    if path is None:
        raise NoBrowser(f"no Chromium on PATH (looked for {', '.join(CHROMIUMS)})")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise NoBrowser("playwright is not installed (requirements-dev.txt)") from None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process that serves the dashboard on a port of this machine."""

    def __init__(
        self, log: Path, command: list[str], port: int, env: dict[str, str], path: str = "", cwd: Path = ROOT
    ) -> None:
        """Start it. log: takes what it prints. path: the first part of its addresses."""
        self.port = port
        self.url = f"http://127.0.0.1:{port}" + (f"/{path}" if path else "")
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, cwd=cwd, env=env, stdout=out, stderr=subprocess.STDOUT)

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self._process.pid

    def died(self) -> str | None:
        """What to show of a server that ended by itself."""
        code = self._process.poll()
        if code is None:
            return None
        return f"the Streamlit server ended by itself with code {code}; its log:\n{self._log.read_text()}"

    def wait_healthy(self) -> None:
        """Return once the server answers. Raises RuntimeError with its log if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if message := self.died():
                raise RuntimeError(message)
            try:
                with open_local(f"{self.url}/_stcore/health", timeout=2) as answer:
                    if answer.read() == b"ok":
                        return
            except (URLError, OSError):
                time.sleep(0.02)
        raise RuntimeError(f"no answer from Streamlit in {START_SECONDS} s; its log:\n{self._log.read_text()}")

    def stop(self) -> None:
        """End this very process, firmly if it does not listen."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class AppServer(Server):
    """Streamlit on one of this checkout's scripts, on a free port."""

    def __init__(
        self, log: Path, entry: str | Path = "app.py", env: dict[str, str] | None = None, port: int | None = None
    ) -> None:
        """Start it; `env` is added to this process's environment, `log` takes what it prints. port: None for a free
        one."""
        port = port or free_port()
        options = {
            "server.port": port,
            "server.address": "127.0.0.1",
            "server.headless": "true",
            "server.fileWatcherType": "none",
            "browser.gatherUsageStats": "false",
        }
        command = [sys.executable, "-m", "streamlit", "run", str(entry), *(f"--{k}={v}" for k, v in options.items())]
        super().__init__(
            log, command, port, os.environ | (env or {}), (env or {}).get("STREAMLIT_SERVER_BASE_URL_PATH", "")
        )


@contextmanager
def app_server(log: Path, cache: Path) -> Iterator[AppServer]:
    """The app on this cache, once it answers."""
    server = AppServer(log, env={"SNAPVIT_CACHE": str(cache)})
    try:
        server.wait_healthy()
        yield server
    finally:
        server.stop()
