"""The Sparsity page's other modes in a real browser: two ratios and a budget."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from store_samples import drop_grid

from scripts.bundled_run import REQUEST
from snapvit.store.store import Store

from .conftest import ROOT, assert_calm, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
WAIT = 240_000  # ms, for work that the worker does


def test_a_click_on_a_measured_cut_chooses_it(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/sparsity?mode=ratios&s=0.2&heads=70")
    page.get_by_role("heading", name="The cut at 20 % of neurons and 70 % of heads").wait_for()
    plot = page.locator(".st-key-ratio_plane .nsewdrag").first
    plot.wait_for()
    plot.scroll_into_view_if_needed()
    settle(page)
    box = plot.bounding_box()
    mlp, heads = 65, 50  # percent; the plane shows -4 to 99 and -5 to 85
    page.mouse.click(box["x"] + box["width"] * (mlp + 4) / 103, box["y"] + box["height"] * (85 - heads) / 90)
    page.get_by_role("heading", name="The cut at 65 % of neurons and 50 % of heads").wait_for()
    page.wait_for_url(re.compile(r"heads=50"))
    assert "s=0.65" in page.url
    page.reload()
    settle(page)
    page.get_by_role("heading", name="The cut at 65 % of neurons and 50 % of heads").wait_for()
    assert_calm(page)


def test_a_budget_typed_is_answered_and_goes_to_the_slider(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/sparsity")
    page.get_by_role("radio", name="For a budget").click()
    page.get_by_text("Say how much the model may cost").wait_for()
    box = page.get_by_role("spinbutton", name=re.compile("^Parameters, at most"))
    box.fill("1.5")
    box.press("Enter")
    title = page.get_by_role("heading", name=re.compile(r"The least cut on the path: [\d.]+ %"))
    title.wait_for()
    percent = re.search(r"([\d.]+) %", title.inner_text())[1]
    page.wait_for_url(re.compile(r"mode=budget"))
    page.wait_for_url(re.compile(r"max_params=1\.5"))
    sidebar = page.get_by_test_id("stSidebar")
    sidebar.get_by_role("link", name="CKA").click()
    page.wait_for_url(re.compile("/cka"))
    sidebar.get_by_role("link", name="Sparsity").click()
    title.wait_for()
    assert box.input_value() == "1.5", "limits stay when one comes back"
    page.get_by_role("button", name="Show it on the slider").click()
    page.get_by_role("heading", name=f"The cut at {percent} %").wait_for()
    page.get_by_test_id("live-sparsity").get_by_text(f"{float(percent):g} %").first.wait_for()
    assert_calm(page)


def test_the_best_cut_for_a_budget_is_the_one_that_is_exported(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/sparsity?mode=budget&max_params=1.3")
    title = page.get_by_role("heading", name=re.compile("The best measured cut: ")).inner_text()
    mlp, heads = re.findall(r"([\d.]+ %)", title)
    page.get_by_role("link", name="Export this cut").click()
    page.get_by_role("heading", name=f"The cut at {mlp} of neurons and {heads} of heads").wait_for()
    assert_calm(page)


def test_a_first_answer_comes_before_the_final_one(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/sparsity?s=0.33")
    page.get_by_role("button", name="Measure this cut").click()
    page.get_by_text("Preliminary: of the first 256 queries").wait_for(timeout=WAIT)
    assert "interpolated" in page.get_by_test_id("live-kind").inner_text(), "a preliminary number is in the curve"
    page.get_by_text("Its embeddings keep a cosine of").wait_for(timeout=WAIT)
    assert not page.get_by_text("Preliminary").is_visible()
    assert_calm(page)


def test_a_grid_begins_and_is_cancelled(
    serve: Callable[..., str], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "cache", tmp_path / "cache")
    store = Store(tmp_path / "cache")
    drop_grid(store, REQUEST.run)
    page = open_page(f"{serve('app.py', cache=tmp_path / 'cache')}/sparsity?mode=ratios")
    page.get_by_role("button", name="Measure 5 × 5 cuts").click()
    page.get_by_text(re.compile("Measuring 25 cuts")).first.wait_for(timeout=WAIT)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Measure 5 × 5 cuts").wait_for(timeout=WAIT)
    assert_calm(page)


@pytest.mark.parametrize("address", ["mode=ratios", "mode=budget&max_params=1.5"])
def test_nothing_sticks_out_at_800_pixels(address: str, url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/sparsity?{address}", width=800, dark=True)
    page.get_by_role("heading", level=2).first.wait_for()
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    assert_calm(page)
