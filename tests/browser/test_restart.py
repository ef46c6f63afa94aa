"""A page that outlives the server it was opened on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.browser import AppServer

from .test_pages import thumb_at

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("before", [20, 80])
def test_the_first_release_after_a_restart_of_the_server_counts(
    before: int, shipped: Path, tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    settings = {"SNAPVIT_CACHE": str(shipped)}
    server = AppServer(tmp_path / "log.txt", env=settings)
    try:
        server.wait_healthy()
        page = open_page(f"{server.url}/sparsity?s=0.2")
        page.get_by_role("heading", name="The cut at 20 %").wait_for()
        if before != 20:
            drag(page, 20, before)
        server.stop()
        page.locator('[data-test-connection-state="CONNECTED"]').wait_for(state="detached")
        server = AppServer(tmp_path / "log.txt", env=settings, port=server.port)
        server.wait_healthy()
        page.locator('[data-test-connection-state="CONNECTED"]').wait_for()
        drag(page, before, 50)
    finally:
        server.stop()


def drag(page: Page, start: int, end: int) -> None:
    """Take the thumb from one percentage to another, and see the page follow."""
    page.mouse.move(*thumb_at(page, start))
    page.mouse.down()
    page.mouse.move(*thumb_at(page, end), steps=4)
    page.mouse.up()
    page.get_by_role("heading", name=f"The cut at {end} %").wait_for()
    page.wait_for_url(re.compile(rf"s=0\.{end // 10}(&|$)"))
