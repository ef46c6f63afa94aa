"""A page presented without sidebar and controls, light or dark by a button of our own, and on paper."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from snapvit.private_names import CHECKED_WITH

from .conftest import assert_calm, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
PAGES = ["", "/sparsity", "/heads", "/cka", "/correlation", "/embedding", "/compare", "/export", "/method"]
PICKERS = "stSelectbox", "stNumberInput", "stButtonGroup", "stDownloadButton", "stPageLink"


def theme_of(page: Page) -> str:
    return page.get_by_test_id("stApp").evaluate("app => getComputedStyle(app).colorScheme")


@pytest.mark.parametrize("address", PAGES)
def test_a_presented_page_has_no_sidebar_and_no_controls(
    address: str, url: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{url}{address}?s=0.65", width=1280, height=720)
    title = page.get_by_role("heading", level=1)
    small = title.bounding_box()["height"]
    page.get_by_role("button", name="Present").click()
    page.wait_for_url("**present=1**")
    page.get_by_test_id("stSidebar").wait_for(state="hidden")
    settle(page)
    assert not page.get_by_test_id("stHeader").is_visible()
    for kind in PICKERS:
        assert not any(found.is_visible() for found in page.get_by_test_id(kind).all()), kind
    assert not any(button.is_visible() for button in page.locator('[class*="st-key-take_"] button').all())
    box = title.bounding_box()
    assert box["height"] > small
    assert box["x"] < 100, "the sidebar's room is the page's"
    page.keyboard.press("Escape")
    page.get_by_test_id("stSidebar").wait_for()
    page.wait_for_url(lambda there: "present=1" not in there)
    assert_calm(page)


def test_presenting_is_in_the_address_and_left_by_a_button(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method?present=1&step=loss")
    assert not page.get_by_test_id("stSidebar").is_visible()
    page.get_by_role("button", name="Next").click()
    page.wait_for_url("**step=gradient**")
    assert "present=1" in page.url
    page.get_by_role("button", name="Leave").click()
    page.get_by_test_id("stSidebar").wait_for()
    page.go_back()
    page.get_by_test_id("stSidebar").wait_for(state="hidden")
    assert_calm(page)


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark_change_places_and_stay(dark: bool, url: str, open_page: Callable[..., Page]) -> None:
    """If this fails, see where the installed Streamlit keeps its theme: `themePlaces` in private_names.js."""
    assert version("streamlit") == CHECKED_WITH["streamlit"]
    page = open_page(f"{url}/sparsity?s=0.65", dark=dark)
    first, second = ("dark", "light") if dark else ("light", "dark")
    assert theme_of(page) == first
    assert not page.get_by_test_id("stMainMenu").is_visible(), "Streamlit's own switch is not to be had"
    page.get_by_role("button", name="Light / dark").click()
    page.wait_for_function(
        "want => getComputedStyle(document.querySelector('[data-testid=stApp]') ?? document.body).colorScheme === want",
        arg=second,
    )
    settle(page)
    assert "s=0.65" in page.url
    page.get_by_test_id("stSidebar").get_by_role("link", name="Heads and neurons").click()
    settle(page)
    assert theme_of(page) == second
    for address in ("/heads", "/?s=0.8", "/method?present=1"):  # pages of their own, as from a link or a bookmark
        page.goto(f"{url}{address}")
        settle(page)
        assert theme_of(page) == second
    page.get_by_role("button", name="Light / dark").click()  # while it is presented, too
    settle(page)
    page.goto(f"{url}/cka?embed_options={second}_theme")
    settle(page)
    assert theme_of(page) == second, "an address that names a theme has the last word"
    page.get_by_role("button", name="Light / dark").click()
    page.wait_for_url(lambda there: "embed_options" not in there)
    settle(page)
    assert theme_of(page) == first
    assert_calm(page)


@pytest.mark.parametrize("address", ["/method?step=all", "/heads?s=0.65"])
def test_on_paper_there_is_the_whole_page_and_nothing_to_click(
    address: str, url: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{url}{address}", width=1280, height=720)
    page.get_by_test_id("stPlotlyChart").first.locator(".main-svg").first.wait_for()
    end = page.get_by_test_id("stMainBlockContainer").evaluate("block => block.scrollHeight")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 704, "height": 994})  # A4 within its margins
    settle(page)
    for kind in ("stSidebar", "stHeader", "stButton", *PICKERS):
        assert not any(found.is_visible() for found in page.get_by_test_id(kind).all()), kind
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height > end / 2, "the page flows over as many sheets as it needs"
    assert page.evaluate("document.documentElement.scrollWidth") <= 704
    for chart in page.get_by_test_id("stPlotlyChart").all():
        box = chart.bounding_box()
        assert box["x"] + box["width"] <= 704
    assert_calm(page)
