"""The Heads and neurons page in a real browser: every figure selects what is clicked in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import assert_calm, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
WAIT = 180_000  # ms, for work that the worker does


def click_in(page: Page, chart: str, across: float, down: float, number: int = 0) -> None:
    """Click at shares of the plot's width and height."""
    plot = page.locator(f".st-key-{chart} .nsewdrag").nth(number)
    plot.wait_for(timeout=WAIT)
    settle(page)  # a page that has just got a result is drawn again
    plot.scroll_into_view_if_needed()
    settle(page)
    box = plot.bounding_box()
    page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] * down)


@pytest.mark.parametrize(("measure", "block", "head"), [("local", 4, 2), ("factor", 11, 6), ("score", 1, 3)])
def test_a_click_in_each_map_selects_that_head(
    measure: str, block: int, head: int, url: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{url}/heads?s=0.65&measure={measure}")
    click_in(page, f"head_map_{measure}", (block - 0.5) / 12, (head - 0.5) / 6)
    page.get_by_role("heading", name=f"Block {block}, head {head}").wait_for()
    page.wait_for_url(re.compile(rf"at={block}-{head}"))
    assert_calm(page)


def test_a_click_on_a_row_of_the_share_map_selects_that_mlp(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/heads?s=0.65")
    click_in(page, "kept_share", 0.38, 6.5 / 12)
    page.get_by_role("heading", name="Block 7, MLP").wait_for()
    page.wait_for_url(re.compile("at=7-mlp"))
    assert_calm(page)


def test_attention_is_computed_on_request_and_a_picture_is_chosen_by_a_click(
    url: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{url}/heads?s=0.65&at=3-2")
    page.get_by_role("button", name="Compute attention").click()
    page.get_by_text("Attention of block 3, head 2, kept at 65 %").first.wait_for(timeout=WAIT)
    click_in(page, "attention_examples", 0.5, 0.5, number=2)
    page.locator(".st-key-attention_image .main-svg").first.wait_for(timeout=WAIT)
    page.wait_for_url(re.compile(r"image=\d+"))
    chosen = re.search(r"image=(\d+)", page.url)[1]
    assert page.get_by_role("textbox", name="Image by its id").input_value() == chosen
    page.get_by_role("radio", name="Rollout through the whole model").click()
    page.get_by_text("Attention of the whole model (rollout)").first.wait_for()
    assert "look=rollout" in page.url
    assert f"image={chosen}" in page.url
    assert_calm(page)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_at_800_pixels(dark: bool, url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/heads?s=0.65&at=3-2", width=800, dark=dark)
    page.locator(".st-key-kept_share .main-svg").first.wait_for(timeout=WAIT)
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    assert_calm(page)


def test_the_table_downloads_every_structure(url: str, open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page(f"{url}/heads?s=0.4")
    with page.expect_download() as download:
        page.locator(".st-key-structures_csv button").first.click()  # one more is for narrow windows
    target = tmp_path / download.value.suggested_filename
    download.value.save_as(target)
    lines = target.read_text().splitlines()
    assert len(lines) == 1 + 84
    assert sum("removed" in line for line in lines) == 18
    assert_calm(page)
