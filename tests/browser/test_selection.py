"""One selection everywhere, in a real browser: by address, through the menu, after a reload and in a copied link."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from .conftest import ROOT, assert_calm, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
SELECTED = "Sparsity 65 %, block 3 head 4, image 9554"
# label in the menu, address, page's own setting in the address, and what shows that it is on
PAGES = [
    ("Run", "", "", None),
    ("Sparsity", "/sparsity", "", None),
    ("Heads", "/heads", "&look=rollout", '.st-key-look [aria-checked="true"]:has-text("Rollout")'),
    ("CKA", "/cka", "", None),
    ("Correlation", "/correlation", "&g=7", None),
    ("Method", "/method", "&step=fitness&of_generation=7&of_rank=3", "text=rank 3 of 17 in generation 7"),
]


@pytest.fixture(scope="module")
def url(serve: Callable[..., str]) -> str:
    return serve("app.py", cache=ROOT / "cache")


def go(page: Page, label: str) -> None:
    page.get_by_test_id("stSidebar").get_by_role("link", name=label, exact=False).first.click()
    page.mouse.move(900, 500)  # the link's tooltip would cover its neighbours
    settle(page)


def assert_selected(page: Page) -> None:
    page.get_by_test_id("stSidebar").get_by_text(SELECTED).wait_for()
    for part in ("s=0.65", "at=3-4", "image=9554"):
        assert part in page.url


@pytest.mark.parametrize(("label", "address", "own", "mark"), PAGES)
def test_it_survives_another_page_the_way_back_and_a_reload(
    label: str, address: str, own: str, mark: str | None, url: str, open_page: Callable[..., Page]
) -> None:
    def assert_here() -> None:
        assert_selected(page)
        assert all(part in page.url for part in own.split("&"))
        if mark is not None:
            page.locator(mark).first.wait_for()

    page = open_page(f"{url}{address}?s=0.65&at=3-4&image=9554{own}")
    assert_here()
    elsewhere = "Sparsity" if label != "Sparsity" else "Heads"
    go(page, elsewhere)
    assert_selected(page)
    go(page, label)
    assert_here()
    page.reload()
    assert_here()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link to this view").click()
    page.get_by_role("button", name="Copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert_calm(page)
    page = open_page(link)
    assert_here()
    assert_calm(page)


def test_a_slider_moved_on_one_page_is_where_the_next_page_stands(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/heads?s=0.4")
    page.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_test_id("stSidebar").get_by_text("Sparsity 40.5 %").wait_for()
    go(page, "Method")
    page.get_by_test_id("stSidebar").get_by_text("Sparsity 40.5 %").wait_for()
    go(page, "Sparsity")
    page.get_by_role("heading", name=re.compile(r"The cut at 40\.5")).wait_for()
    assert_calm(page)


def test_structure_and_image_are_cleared_from_the_sidebar(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/heads?s=0.65&at=3-4&image=9554")
    page.get_by_role("button", name="Clear structure").click()
    page.get_by_test_id("stSidebar").get_by_text("Sparsity 65 %, image 9554").wait_for()
    page.wait_for_url(lambda address: "at=" not in address)
    page.get_by_role("button", name="Clear image").click()
    page.get_by_role("button", name="Clear image").wait_for(state="hidden")
    page.wait_for_url(lambda address: "image=" not in address)
    page.reload()
    settle(page)
    assert "at=" not in page.url
    assert_calm(page)


def test_back_brings_the_view_of_before(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/heads?s=0.65&at=3-4&look=rollout")
    words = page.get_by_test_id("stSidebar")
    page.get_by_role("button", name="Clear structure").click()
    page.wait_for_url(lambda address: "at=" not in address)
    settle(page)
    page.locator(".st-key-look").get_by_text("The selected head").click()
    page.wait_for_url(lambda address: "look=head" in address)
    settle(page)
    page.go_back()
    page.locator('[class*="st-key-look"] [aria-checked="true"]:has-text("Rollout")').wait_for()
    page.go_back()
    words.get_by_text("block 3 head 4").wait_for()
    assert "at=3-4" in page.url
    page.go_forward()
    words.get_by_text("block 3 head 4").wait_for(state="hidden")
    assert "at=" not in page.url
    assert_calm(page)
