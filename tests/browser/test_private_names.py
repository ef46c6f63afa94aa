"""What snapvit/private_names.py says of Streamlit's pages is there, and components' scripts are served as it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest

from scripts.browser import open_local
from snapvit import private_names

from .conftest import ROOT, assert_calm

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
SELECTORS = {name: value for name, value in vars(private_names).items() if name.isupper() and isinstance(value, str)}
SCRIPT = re.compile(r"bidi-components/[\w.]+/(\S+\.js)$")


def test_every_part_of_a_page_is_called_so(url: str, open_page: Callable[..., Page]) -> None:
    found = set()
    for address, width, whole in (
        ("/heads?s=0.4", 1280, ".st-key-head_map_score [data-events=on]"),
        ("/heads?s=0.4", 600, private_names.SIDEBAR_OPENER),  # so narrow that the sidebar is closed
        ("/export?s=0.4", 1280, private_names.METRIC_DELTA),
    ):
        page = open_page(url + address, width=width)
        page.locator(whole).first.wait_for()
        found |= {name for name, selector in SELECTORS.items() if page.locator(selector).count()}
        assert_calm(page)
    assert found == set(SELECTORS)
    row = page.locator(f".st-key-numbers_export_tiles {private_names.ROW}")
    assert page.locator(f"{private_names.WRAPPER} > {private_names.ROW}").count() >= row.count() > 0


def test_scripts_are_served_below_any_address_and_nothing_else_is(
    serve: Callable[..., str], open_page: Callable[..., Page]
) -> None:
    # As behind a proxy that gives the app a path of its own.
    address = serve("app.py", cache=ROOT / "cache", env={"STREAMLIT_SERVER_BASE_URL_PATH": "lab/explorer"})
    assert address.endswith("/lab/explorer")
    page = open_page(f"{address}/?s=0.5")
    page.locator('[data-testid="live-curve"] .path').wait_for()
    asked = page.evaluate("() => performance.getEntriesByType('resource').map(({ name }) => name)")
    scripts = [name for name in asked if SCRIPT.search(name)]
    assert {"formats.js", "live_sparsity/live_sparsity.js"} <= {SCRIPT.search(name)[1] for name in scripts}
    for name in scripts:
        assert name.startswith(address)
        with open_local(name) as answer:
            assert answer.headers.get_content_type() in ("text/javascript", "application/javascript")
    beside = scripts[0].removesuffix(SCRIPT.search(scripts[0])[1])
    for path in ("../__init__.py", "%2e%2e/__init__.py", "..%2f__init__.py", "../../cli.py"):
        with pytest.raises(HTTPError) as refused:
            open_local(beside + path)
        assert refused.value.code in (400, 404)
    assert_calm(page)
