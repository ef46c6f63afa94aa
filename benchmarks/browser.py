"""A Streamlit server and a Chromium of our own, for the lines that time what a person sees."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.timing import Unavailable
from snapvit.models.loading import BUNDLED
from snapvit.pipeline.results import list_runs
from snapvit.pipeline.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_SECONDS = 60


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium on PATH, headless. Raises Unavailable where it or Playwright is missing."""
    path = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    if path is None:
        raise Unavailable(f"no Chromium on PATH (looked for {', '.join(CHROMIUMS)})")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Unavailable("playwright is not installed (requirements-dev.txt)") from None
    args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=args)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def shipped_cache() -> Iterator[Path]:
    """A copy of the shipped cache, which a page may write to. Raises Unavailable without a finished bundled run."""
    if not (ROOT / "app.py").exists():
        raise Unavailable("there is no app.py")
    runs = list_runs(Store(ROOT / "cache"))
    if not any(run.model == BUNDLED and run.state == "finished" for run in runs):
        raise Unavailable("the cache holds no finished run of the bundled model (make bundled-run)")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        shutil.copytree(ROOT / "cache", cache, ignore=shutil.ignore_patterns(".*"))
        yield cache


@contextmanager
def server(cache: Path) -> Iterator[str]:
    """The app on a free port of this machine: its address, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "server.port": port,
        "server.address": "127.0.0.1",
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    command = [sys.executable, "-m", "streamlit", "run", "app.py", *(f"--{k}={v}" for k, v in options.items())]
    environment = os.environ | {"SNAPVIT_CACHE": str(cache)}
    with (cache.parent / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_healthy(process, url)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_healthy(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{url}/_stcore/health", timeout=2) as answer:
                if answer.read() == b"ok":
                    return
        except (URLError, OSError):
            time.sleep(0.02)
    raise RuntimeError(f"the Streamlit server did not answer (exit code {process.poll()})")
