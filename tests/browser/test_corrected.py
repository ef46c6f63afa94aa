"""Corrected cuts and the smaller model, as a person meets them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import snapvit
from scripts.bundled_run import REQUEST
from snapvit.pipeline.results import load_results
from snapvit.store.store import Store

from .conftest import assert_calm, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
WAIT = 180_000  # ms, for work that the worker does


def switch(page: Page) -> None:
    page.get_by_test_id("stSidebar").get_by_text("Correct the weights").click()


def test_the_switch_swaps_both_curves_and_stays_from_page_to_page(
    url: str, shipped: Path, open_page: Callable[..., Page]
) -> None:
    results = load_results(Store(shipped), REQUEST.run)
    as_cut, corrected = (f"{100 * t.find(0.95, 0.8).top1:.1f} %" for t in (results.as_cut, results.corrected))
    page = open_page(f"{url}/sparsity?s=0.95")
    page.get_by_test_id("live-top1").get_by_text(as_cut).wait_for()
    page.get_by_text(f"weights corrected: {corrected}").wait_for()
    switch(page)
    page.wait_for_url(re.compile("correct=1"))
    page.get_by_test_id("live-top1").get_by_text(corrected).wait_for()
    page.get_by_text(f"as cut: {as_cut}").wait_for()
    curves = page.locator(".curve .path, .curve .other")
    assert curves.count() == 2
    page.get_by_test_id("stSidebar").get_by_role("link", name="Embedding").click()
    page.wait_for_url(re.compile("embedding.*correct=1"))
    page.get_by_text("Sparsity 95 % corrected").wait_for()
    page.go_back()
    page.get_by_text(f"as cut: {as_cut}").wait_for()
    assert_calm(page)


def test_a_corrected_cut_is_exported_proven_and_loads(url: str, open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page(f"{url}/export?s=0.65&correct=1")
    box = page.get_by_role("textbox", name="Folder, new or empty")
    box.fill(str(tmp_path / "smaller"))
    box.press("Enter")
    settle(page)
    page.get_by_role("button", name="Export and prove").click()
    page.get_by_text("A fresh process loaded it").wait_for(timeout=WAIT)
    page.get_by_text("one step of an optimiser had finite gradients").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as zip").click()
    assert download.value.suggested_filename == "smaller.zip"
    model = snapvit.load_exported(tmp_path / "smaller")
    assert sum(p.numel() for p in model.parameters()) < 1.3e6
    assert_calm(page)


@pytest.mark.parametrize("dark", [False, True])
def test_the_export_page_fits_800_pixels(dark: bool, url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/export?mode=ratios&s=0.5", width=800, dark=dark)
    page.locator(".st-key-structure_diff .main-svg").first.wait_for()
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    assert_calm(page)
