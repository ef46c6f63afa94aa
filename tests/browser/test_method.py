"""The lesson in a real browser: its steps by button, key, list and address, each on one screen; pictures and terms."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from class_samples import put_pixels, put_random

from scripts.bundled_run import REQUEST
from snapvit.jobs.tasks import StageTask, Workbench
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.interactions import DISPLACEMENT
from snapvit.pipeline.stages.pixel_knn import PIXEL_KNN
from snapvit.store.store import Store
from snapvit.ui.method.steps import SLOPES, STEPS
from snapvit.ui.method.walk import Step

from .conftest import ROOT, assert_calm, settle
from .test_one_screen import SCREENS, in_view

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
WAIT = 180_000  # ms, for work that the worker does
LOADED = "images => images.every(image => image.complete && image.naturalWidth > 0)"


@pytest.fixture(scope="module")
def answered(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app on the shipped run, with answers for the questions that a class asks."""
    store = Store(Path(shutil.copytree(ROOT / "cache", tmp_path_factory.mktemp("answered") / "cache")))
    put_pixels(store, REQUEST.run)
    put_random(store, REQUEST.run)
    return serve("serve.py", cache=store.root)


@pytest.fixture(scope="module")
def direct(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory, small_settings: tuple[str, ...]) -> str:
    """The app on a small run without a search."""
    store = Store(tmp_path_factory.mktemp("direct"))
    settings = [*small_settings, "evaluation.points=20"]  # those of the random cuts among them
    request = RunRequest(config=with_settings(PRESETS["direct"], settings))
    run_pipeline(request, store, Reporter())
    StageTask(request.run, (Want(DISPLACEMENT),)).perform(Workbench(store))
    put_pixels(store, request.run)
    put_random(store, request.run, lost=2)
    return serve("serve.py", cache=store.root)


def choose(page: Page, label: str, typed: str, option: re.Pattern[str]) -> None:
    box = page.get_by_role("combobox", name=label, exact=True)
    box.click()
    box.fill(typed)
    page.get_by_role("option", name=option).first.click()
    settle(page)


def at_step(page: Page, name: str, steps: tuple[Step, ...] = STEPS) -> None:
    """Wait until this step is there, whole."""
    title = next(step.title for step in steps if step.name == name)
    page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
    settle(page)


@pytest.mark.parametrize("presented", [False, True], ids=["with sidebar", "presented"])
@pytest.mark.parametrize("size", SCREENS, ids=lambda size: "x".join(map(str, size)))
def test_every_step_fits_one_screen_and_the_arrow_keys_walk_them(
    size: tuple[int, int], presented: bool, answered: str, open_page: Callable[..., Page]
) -> None:
    walk(open_page(f"{answered}/method?s=0.65{'&present=1' * presented}", width=size[0], height=size[1]), size, STEPS)


def test_so_do_those_of_a_ranking_without_a_search(direct: str, open_page: Callable[..., Page]) -> None:
    width, height = SCREENS[0]
    walk(open_page(f"{direct}/method?s=0.65", width=width, height=height), SCREENS[0], SLOPES)


def walk(page: Page, size: tuple[int, int], steps: tuple[Step, ...]) -> None:
    """From the first step to the last by the arrow key, each on one screen of this size, and one back."""
    for i, step in enumerate(steps):
        at_step(page, step.name, steps)
        for chart in page.get_by_test_id("stPlotlyChart").all():
            chart.locator(".main-svg").first.wait_for()
        in_view(page, page.get_by_role("heading", level=1))
        for label in ("Back", "Next"):
            in_view(page, page.get_by_role("button", name=label))
        in_view(page, page.get_by_role("button", name=f"{i + 1} of {len(steps)}"))
        box = page.locator(".st-key-lesson_step").bounding_box()
        assert box["y"] + box["height"] <= size[1], (step.name, box)
        assert box["x"] + box["width"] <= size[0], (step.name, box)
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    at_step(page, steps[-2].name, steps)
    assert_calm(page)


def test_back_and_forward_walk_the_steps(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method?step=loss")
    at_step(page, "loss")
    page.get_by_role("button", name="Next").click()
    at_step(page, "gradient")
    assert "step=gradient" in page.url
    page.get_by_role("button", name=f"4 of {len(STEPS)}").click()
    page.get_by_role("button", name="2 · Which structures say the same").click()
    at_step(page, "cka")
    assert not page.get_by_role("button", name="All on one page").is_visible(), "the list is closed again"
    page.go_back()
    at_step(page, "gradient")
    page.go_back()
    at_step(page, "loss")
    page.go_forward()
    at_step(page, "gradient")
    page.reload()
    at_step(page, "gradient")
    assert_calm(page)


def test_arrow_keys_in_a_box_or_on_a_slider_are_its_own(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method?step=cut&s=0.65")
    at_step(page, "cut")
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_test_id("stSidebar").get_by_text("Sparsity 65.5 %").wait_for()
    box = page.get_by_role("combobox", name="Head to follow")
    box.focus()
    page.keyboard.press("ArrowLeft")
    settle(page)
    at_step(page, "cut")
    assert_calm(page)


def test_the_first_visit_on_a_fresh_server_shows_every_step(
    serve: Callable[..., str], open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{serve('app.py', cache=ROOT / 'cache')}/method?step=all")
    for title in (*(step.title for step in STEPS), "Glossary"):
        page.get_by_role("heading", name=title, exact=True).wait_for()
    crops = page.locator(".views .crops img")
    assert crops.count() == 12
    assert crops.evaluate_all(LOADED)
    assert page.locator(".flow img").evaluate_all(LOADED)
    assert page.locator(".flow img").count() == 4
    for key in ("softmax_pair", "image_gradients", "factor_map", "kept_heads", "generation_ranks", "ordered_scores"):
        page.locator(f".st-key-{key} .main-svg").first.wait_for()
    assert page.locator(".katex-error").count() == 0
    assert_calm(page)


def test_another_individual_changes_the_numbers(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method?step=fitness")
    fitness = load_results(Store(ROOT / "cache"), REQUEST.run).search.individual_fitness
    page.get_by_text(f"rank 1 of 17 in generation {fitness.min(axis=1).argmin() + 1}").wait_for()  # the best of all
    page.goto(f"{url}/method?step=factors")
    at_step(page, "factors")
    choose(page, "Generation", "7", re.compile("^7$"))
    choose(page, "Individual, by rank in its generation", "rank 3,", re.compile("^rank 3,"))
    page.wait_for_url(re.compile("of_generation=7.*of_rank=3|of_rank=3.*of_generation=7"))
    page.get_by_role("heading", level=1).click()  # away from the box, whose arrow keys are its own
    for name in ("cuts", "fitness"):
        page.keyboard.press("ArrowRight")
        at_step(page, name)
    page.get_by_text("rank 3 of 17 in generation 7").wait_for()
    page.reload()
    page.get_by_text("rank 3 of 17 in generation 7").wait_for()
    assert_calm(page)


def test_terms_open_by_keyboard(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method?step=gradient")
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


def test_an_image_is_computed_on_request(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method?image=77&step=views")
    page.get_by_role("button", name="Compute").click()
    page.get_by_alt_text("Image 77, global 1").wait_for(timeout=WAIT)
    assert page.locator(".views .crops img").count() == 12
    assert_calm(page)


def test_an_image_that_is_not_there_says_so(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/method?image=10000&step=views")
    page.get_by_role("button", name="Compute").click()
    page.get_by_text("There is no image 10000; the ids of bundled").wait_for(timeout=WAIT)
    at_step(page, "views")
    assert_calm(page)


def test_the_pixels_are_looked_at_on_request(url: str, shipped: Path, open_page: Callable[..., Page]) -> None:
    store = Store(shipped)
    store.forget(store.manifests()[0].run, [PIXEL_KNN.name])
    page = open_page(f"{url}/method?step=wrong")
    page.get_by_role("button", name="Compute").click()
    board = page.get_by_role("list", name="Queries that are lost first")
    board.locator("img").first.wait_for(timeout=WAIT)
    assert board.locator("img").evaluate_all(LOADED)
    assert_calm(page)
