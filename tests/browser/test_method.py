"""The Method page in a real browser: pictures, the chooser of an individual, terms by keyboard, and its way back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from scripts.bundled_run import REQUEST
from snapvit.pipeline.results import load_results
from snapvit.store.store import Store

from .conftest import ROOT, assert_calm, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
WAIT = 180_000  # ms, for work that the worker does


def choose(page: Page, label: str, typed: str, option: re.Pattern[str]) -> None:
    box = page.get_by_role("combobox", name=label, exact=True)
    box.click()
    box.fill(typed)
    page.get_by_role("option", name=option).first.click()
    settle(page)


def test_the_first_visit_on_a_fresh_server_shows_every_step(
    serve: Callable[..., str], open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{serve('app.py', cache=ROOT / 'cache')}/method")
    for title in ("1 · Local curvature", "2 · CKA map", "3 · Search", "4 · Ranking and cut", "Glossary"):
        page.get_by_role("heading", name=title).wait_for()
    crops = page.locator(".views .crops img")
    assert crops.count() == 12
    loaded = "images => images.every(image => image.complete && image.naturalWidth > 0)"
    assert crops.evaluate_all(loaded)
    assert page.locator(".flow img").evaluate_all(loaded)
    assert page.locator(".flow img").count() == 4
    for key in ("softmax_pair", "image_gradients", "factor_map", "kept_heads", "generation_ranks", "ordered_scores"):
        page.locator(f".st-key-{key} .main-svg").first.wait_for()
    assert page.locator(".katex-error").count() == 0
    assert_calm(page)


def test_another_individual_changes_the_numbers(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method")
    fitness = load_results(Store(ROOT / "cache"), REQUEST.run).search.individual_fitness
    page.get_by_text(f"rank 1 of 17 in generation {fitness.min(axis=1).argmin() + 1}").wait_for()  # the best of all
    choose(page, "Generation", "7", re.compile("^7$"))
    page.get_by_text("rank 1 of 17 in generation 7").wait_for()
    choose(page, "Individual, by rank in its generation", "rank 3,", re.compile("^rank 3,"))
    page.get_by_text("rank 3 of 17 in generation 7").wait_for()
    page.wait_for_url(re.compile("of_generation=7.*of_rank=3|of_rank=3.*of_generation=7"))
    page.reload()
    page.get_by_text("rank 3 of 17 in generation 7").wait_for()
    assert_calm(page)


def test_terms_open_by_keyboard(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method")
    button = page.get_by_role("button", name="Terms")
    button.focus()
    page.keyboard.press("Enter")
    meaning = page.get_by_test_id("stPopoverBody").get_by_text("how strongly a small change of it alone")
    meaning.wait_for()
    page.keyboard.press("Escape")
    meaning.wait_for(state="hidden")
    inline = page.locator(".term", has_text=re.compile("^local curvature")).first
    tip = inline.locator(".term-meaning")
    assert not tip.is_visible()
    inline.focus()
    assert tip.is_visible()
    box, view = tip.bounding_box(), page.viewport_size
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= view["width"]
    assert_calm(page)


def test_a_step_s_card_leads_to_the_step(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method?s=0.65")
    heading = page.get_by_role("heading", name="4 · Ranking and cut")
    far = heading.bounding_box()["y"]
    page.locator("a.step", has_text="Ranking and cut").click()
    page.wait_for_function(
        "far => document.querySelector('#step-4').getBoundingClientRect().top < far / 2", arg=far, timeout=10_000
    )
    page.get_by_text("Number 36 is among the first 36").first.wait_for()
    assert_calm(page)


def test_an_image_is_computed_on_request(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method?image=77")
    page.get_by_role("button", name="Compute").click()
    page.get_by_alt_text("Image 77, global 1").wait_for(timeout=WAIT)
    assert page.locator(".views .crops img").count() == 12
    assert_calm(page)


def test_an_image_that_is_not_there_says_so(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method?image=10000")
    page.get_by_role("button", name="Compute").click()
    page.get_by_text("There is no image 10000; the ids of bundled").wait_for(timeout=WAIT)
    page.get_by_role("heading", name="4 · Ranking and cut").wait_for()
    assert_calm(page)
