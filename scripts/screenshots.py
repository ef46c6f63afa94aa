"""Pictures of every page, light and dark, at 1440 and 800 pixels: `python scripts/screenshots.py [OUT]`.

Starts its own server on the shipped cache and drives Debian's Chromium; `make screenshots` calls it.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
# address and something that is there once the page is whole
PAGES = {
    "run": ("/", ".st-key-fitness_curve .main-svg"),
    "sparsity": ("/sparsity?s=0.8", '[data-testid="live-curve"]'),
    "heads": ("/heads?s=0.65&at=9-3", ".st-key-head_map_score .main-svg"),
}
WIDTHS = (1440, 800)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def take(browser: Browser, url: str, name: str, width: int, scheme: str, out: Path) -> Path:
    """One page, whole, as a PNG."""
    address, mark = PAGES[name]
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(url + address)
    page.locator(mark).first.wait_for(timeout=60_000)
    height = page.evaluate("() => document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight")
    page.set_viewport_size({"width": width, "height": int(height)})
    page.wait_for_timeout(1500)  # figures fit themselves to the new size
    path = out / f"{name}_{width}_{scheme}.png"
    page.screenshot(path=path)
    page.close()
    return path


def main() -> None:
    """Take all pictures."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots"
    out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while not _healthy(url):
            time.sleep(0.2)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            for name in PAGES:
                for width in WIDTHS:
                    for scheme in ("light", "dark"):
                        print(take(browser, url, name, width, scheme, out).relative_to(out.parent))
            browser.close()
    finally:
        server.terminate()
        server.wait(10)


def _healthy(url: str) -> bool:
    try:
        with urlopen(f"{url}/_stcore/health", timeout=1) as answer:
            return answer.read() == b"ok"
    except (URLError, OSError):
        return False


if __name__ == "__main__":
    main()
