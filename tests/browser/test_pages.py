"""The pages as a person meets them: a real server, a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import ROOT, assert_calm, open_box, settle

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser
SHIPPED = ROOT / "cache"
WAIT = 800_000  # ms; a run shares two cores with the browser and the other tests


@pytest.fixture(scope="module")
def empty_url(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve("app.py", cache=tmp_path_factory.mktemp("empty") / "cache")


FIRST_VISITS = [
    ("", "How a Vision Transformer can be cut down", '[data-testid="live-curve"]'),
    ("/sparsity", "How far can this model be cut?", '[data-testid="live-curve"]'),
    ("/heads", "What matters, and what goes first", ".st-key-head_map_score .main-svg"),
    ("/cka", "Which structures say the same?", ".st-key-pair_scatter .main-svg"),
    ("/correlation", "How do structures interact?", ".st-key-chance_curve .main-svg"),
    ("/embedding?s=0.65", "What does the cut do to the features?", '[data-testid="projection-canvas"][data-frame]'),
    ("/method", "How a ranking comes about", ".flow img"),
]


@pytest.mark.parametrize(("address", "title", "figure"), FIRST_VISITS)
def test_the_first_visit_to_any_page_shows_the_whole_page(
    address: str, title: str, figure: str, serve: Callable[..., str], shipped: Path, open_page: Callable[..., Page]
) -> None:
    page = open_page(serve("app.py", cache=shipped) + address)
    page.get_by_role("heading", name=title).wait_for()
    page.locator(figure).first.wait_for()
    sidebar = page.get_by_test_id("stSidebar")
    for link in ("Run", "Sparsity", "Heads", "Embedding", "Method"):
        assert sidebar.get_by_role("link", name=link, exact=False).first.is_visible()
    assert sidebar.get_by_text("Run shown").is_visible()
    assert_calm(page)


@pytest.mark.parametrize("address", ["", "/sparsity", "/embedding?s=0.65", "/method"])  # others in their own tests
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_at_800_pixels(address: str, dark: bool, url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(url + address, width=800, dark=dark)
    page.get_by_role("heading", level=1).wait_for()
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    background = page.evaluate("() => getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    red = int(re.findall(r"\d+", background)[0])
    assert (red < 60) == dark
    assert_calm(page)


@pytest.mark.parametrize("address", ["", "/sparsity", "/heads", "/cka", "/correlation", "/embedding", "/method"])
def test_an_empty_cache_says_what_to_do(address: str, empty_url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(empty_url + address)
    page.get_by_text("There is no run to show yet").wait_for()
    assert_calm(page)


def thumb_at(page: Page, percent: float) -> tuple[float, float]:
    page.get_by_test_id("live-thumb").scroll_into_view_if_needed()
    box = page.get_by_test_id("live-thumb").bounding_box()
    knob = 26  # px wide
    return box["x"] + knob / 2 + (box["width"] - knob) * percent / 95, box["y"] + box["height"] / 2


def test_numbers_follow_the_held_thumb_and_the_page_follows_its_release(
    url: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{url}/sparsity?s=0.2")
    page.get_by_role("heading", name="The cut at 20 %").wait_for()
    names = ("sparsity", "top1", "params", "macs")
    read = {name: page.get_by_test_id(f"live-{name}") for name in names}
    read["sparsity"].get_by_text("20 %").wait_for()
    before = {name: read[name].inner_text() for name in names}
    page.mouse.move(*thumb_at(page, 20))
    page.mouse.down()
    page.mouse.move(*thumb_at(page, 95), steps=6)
    read["sparsity"].get_by_text("95 %").wait_for()
    held = {name: read[name].inner_text() for name in names}
    assert all(held[name] != before[name] for name in names), (before, held)
    assert page.get_by_role("heading", name="The cut at 20 %").is_visible(), "Python heard of it too early"
    assert "s=0.2" in page.url
    page.mouse.up()
    page.get_by_role("heading", name="The cut at 95 %").wait_for()
    page.wait_for_url(re.compile(r"s=0\.95"))
    assert_calm(page)


def test_the_first_page_is_live_too_and_the_next_page_stands_there(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(url)
    sidebar = page.get_by_test_id("stSidebar")
    page.mouse.move(*thumb_at(page, 50))
    page.mouse.down()
    page.mouse.move(*thumb_at(page, 80), steps=4)
    page.get_by_test_id("live-sparsity").get_by_text("80 %").wait_for()
    assert sidebar.get_by_text("Sparsity 50 %").is_visible(), "Python heard of it too early"
    page.mouse.up()
    sidebar.get_by_text("Sparsity 80 %").wait_for()
    page.wait_for_url(re.compile(r"s=0\.8"))
    settle(page)
    assert page.get_by_test_id("live-sparsity").inner_text() == "80 %"
    sidebar.get_by_role("link", name="Sparsity").click()
    page.get_by_role("heading", name="The cut at 80 %").wait_for()
    page.get_by_test_id("live-sparsity").get_by_text("80 %").wait_for()
    assert_calm(page)


def test_a_cut_between_the_grid_is_measured_on_request(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/sparsity?s=0.91")
    kind = page.get_by_test_id("live-kind")
    assert "interpolated" in kind.inner_text()
    page.get_by_role("button", name="Measure this cut").click()
    page.get_by_text("Its embeddings keep a cosine of").wait_for(timeout=WAIT)
    assert "91" in page.get_by_test_id("live-sparsity").inner_text(), "the thumb must stay where it was"
    kind.filter(has_text=re.compile(r"^measured")).wait_for()  # the component redraws a moment after the page
    assert_calm(page)


def test_a_click_on_the_map_selects_that_head(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/heads")
    plot = page.locator(".st-key-head_map_score .nsewdrag").first
    plot.wait_for()
    box = plot.bounding_box()
    block, head = 4, 2  # counted from 1, of 12 and 6
    page.mouse.click(box["x"] + box["width"] * (block - 0.5) / 12, box["y"] + box["height"] * (head - 0.5) / 6)
    page.get_by_role("heading", name=f"Block {block}, head {head}").wait_for()
    page.wait_for_url(re.compile(rf"at={block}-{head}"))
    assert page.get_by_text(re.compile("It goes when|This head never goes")).is_visible()
    assert_calm(page)


def test_the_selection_goes_from_page_to_page(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/heads?s=0.65&at=3-4")
    page.get_by_role("heading", name="Block 3, head 4").wait_for()
    page.get_by_test_id("stSidebar").get_by_role("link", name="Sparsity").click()
    page.get_by_role("heading", name="The cut at 65 %").wait_for()
    assert "at=3-4" in page.url
    page.reload()
    settle(page)
    page.get_by_role("heading", name="The cut at 65 %").wait_for()
    assert_calm(page)


def fill(page: Page, label: str, value: int) -> None:
    box = page.get_by_role("spinbutton", name=label)
    box.fill(str(value))
    box.press("Enter")
    settle(page)


def start_tiny_run(page: Page) -> Locator:
    """Fill the custom form with numbers that take seconds and press Start; returns the job's panel."""
    page.get_by_role("radio", name="custom").click()
    settle(page)
    tiny = {
        "Curvature images": 8,
        "Local views": 2,
        "CKA images": 16,
        "Generations": 3,
        "Search images": 8,
        "Correction images": 32,
    }
    for label, value in (tiny | {"Gallery": 200, "Queries": 50, "Points": 5}).items():
        fill(page, label, value)
    page.get_by_role("button", name="Start", exact=True).click()
    panel = page.locator(".st-key-job_panel")
    panel.wait_for()
    return panel


def test_a_run_is_started_seen_by_a_second_tab_and_shown_when_finished(
    empty_url: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(empty_url)
    panel = start_tiny_run(page)
    other = open_page(f"{empty_url}/")
    other.locator(".st-key-job_panel").wait_for()
    panel.get_by_text(re.compile("is finished, after")).wait_for(timeout=WAIT)
    other.locator(".st-key-job_panel").get_by_text(re.compile("is finished, after")).wait_for(timeout=WAIT)
    page.get_by_test_id("live-curve").wait_for()
    page.get_by_test_id("stSidebar").get_by_role("link", name="Sparsity").click()
    page.get_by_test_id("live-curve").wait_for()
    assert_calm(page)


def test_a_run_is_cancelled_and_goes_on(empty_url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{empty_url}/?preset=quick")
    page.get_by_role("spinbutton", name="Seed of the search").fill("7")
    page.get_by_role("spinbutton", name="Seed of the search").press("Enter")
    settle(page)
    page.get_by_role("button", name="Start", exact=True).click()
    panel = page.locator(".st-key-job_panel")
    panel.get_by_text("Running:").wait_for()
    page.locator("button:disabled", has_text="Start").wait_for()
    panel.get_by_text(re.compile(r"\d+\s%, \d+:\d\d gone")).first.wait_for(timeout=WAIT)
    panel.get_by_role("button", name="Cancel").click()
    panel.get_by_text("was cancelled").wait_for(timeout=WAIT)
    panel.get_by_role("button", name=re.compile("Go on with this run|Start it again")).click()
    panel.get_by_text("Running:").wait_for(timeout=WAIT)
    panel.get_by_role("button", name="Cancel").click()
    panel.get_by_text("was cancelled").wait_for(timeout=WAIT)
    assert_calm(page)


def test_a_failed_run_says_why_and_the_app_stays_usable(empty_url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(empty_url)
    open_box(page, "Model")
    page.get_by_role("option", name="A timm model").click()
    settle(page)
    box = page.get_by_role("combobox", name="Architecture (timm name)")
    box.fill("vit_of_nobody")
    box.press("Enter")
    settle(page)
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("timm has no model named 'vit_of_nobody'").first.wait_for(timeout=WAIT)
    settle(page)
    assert page.get_by_role("button", name="Start", exact=True).is_enabled()
    assert_calm(page)
