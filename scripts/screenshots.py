"""Pictures of every page, light and dark, at 1440 and 800 pixels: `python -m scripts.screenshots [OUT]`.

Starts its own server on the shipped cache and drives Chromium; `make screenshots` calls it.
"""

from __future__ import annotations

import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from scripts.browser import ROOT, app_server, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# address and something that is there once the page is whole
PAGES = {
    "run": ("/?s=0.8", '[data-testid="live-curve"]'),
    "sparsity": ("/sparsity?s=0.9&correct=1", '[data-testid="live-curve"]'),
    "embedding": ("/embedding?s=0.65", '[data-testid="projection-canvas"][data-frame]'),
    "heads": ("/heads?s=0.5&at=9-5", ".st-key-head_map_score .main-svg"),
    "cka": ("/cka?at=5-mlp&with=9-mlp", ".st-key-pair_scatter .main-svg"),
    "correlation": ("/correlation", ".st-key-chance_curve .main-svg"),
    "export": ("/export?s=0.65&correct=1", ".st-key-structure_diff .main-svg"),
    "method": ("/method?s=0.65&at=3-4&step=cut", ".st-key-ordered_scores .main-svg"),
}
WIDTHS = (1440, 800)
HEIGHT = "() => document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"


def take(browser: Browser, url: str, name: str, width: int, scheme: str, out: Path) -> Path:
    """One page, whole, as a PNG."""
    address, mark = PAGES[name]
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(url + address)
    page.locator(mark).first.wait_for(timeout=60_000)
    for _ in range(3):  # the last parts of a page come after its mark, and figures fit themselves to the new size
        page.set_viewport_size({"width": width, "height": page.evaluate(HEIGHT)})
        page.wait_for_timeout(1500)
    path = out / f"{name}_{width}_{scheme}.png"
    picture = Image.open(BytesIO(page.screenshot()))
    # A third of the size; this method keeps the colours of small marks, and the means those of wide areas.
    few = picture.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    page.close()
    return path


def main() -> None:
    """Take all pictures."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots"
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        app_server(Path(folder) / "server.log", ROOT / "cache") as server,
        chromium() as browser,
    ):
        for name in PAGES:
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    print(take(browser, server.url, name, width, scheme, out).relative_to(out.parent))


if __name__ == "__main__":
    main()
