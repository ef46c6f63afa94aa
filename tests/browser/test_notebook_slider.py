"""The live slider in a real JupyterLab: it moves while it is held, and Python hears of it; light and dark."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from .conftest import ROOT
from .jupyterlab import jupyterlab, trust, write_notebook
from .thumb import grab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser
WAIT_MS = 60_000
TOUR = ROOT / "docs" / "tour.ipynb"
CELLS = (
    "import snapvit\nslider = snapvit.open().slider(0.3)\nslider",
    "told = []\nslider.observe(lambda change: told.append(change.new), 'at')\nslider",
    "print('Python has', slider.at, slider.mlp, slider.heads, told)",
    "slider.at = 0.8",
    "snapvit.open().figures.correlation(frames=3)",
)


@pytest.fixture(scope="module")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A notebook of which the first two cells have run; its console's and page's errors are in `page_errors`."""
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "slider.ipynb", *CELLS)
    trust(folder, shutil.copy(TOUR, folder))
    with jupyterlab(folder, {"SNAPVIT_CACHE": str(ROOT / "cache")}) as url:
        context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
        page = context.new_page()
        page.page_errors = []
        page.on("pageerror", lambda error: page.page_errors.append(str(error)))
        asked = page.asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{url}/lab/tree/slider.ipynb?reset")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=WAIT_MS)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=WAIT_MS)
        for number in (0, 1):
            run(page, number)
        yield page
        context.close()


def run(page: Page, number: int) -> Locator:
    """Run a cell; returns what it shows."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    cell.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]")).wait_for(timeout=WAIT_MS)
    return cell.locator(".jp-OutputArea")


def shown(page: Page, number: int) -> Locator:
    """The slider under a cell."""
    return page.locator(".jp-Notebook .jp-CodeCell").nth(number).get_by_test_id("live")


def sparsity(slider: Locator) -> str:
    return slider.get_by_test_id("live-sparsity").inner_text()


def python_says(page: Page) -> str:
    return run(page, 2).inner_text().strip()


def curve(page: Page, number: int) -> tuple[float, str]:
    """Where the marker is, and the parameters that are told."""
    slider = shown(page, number)
    return float(slider.locator(".marker").get_attribute("cx")), slider.get_by_test_id("live-params").inner_text()


def test_it_moves_while_it_is_held_and_python_hears_of_the_release(lab):
    first, second = shown(lab, 0), shown(lab, 1)
    assert sparsity(first) == sparsity(second) == "30 %"
    before = curve(lab, 0)
    grab(lab, 0.3, 0.55, first.get_by_test_id("live-thumb"))
    held = curve(lab, 0)
    assert sparsity(first) == "55 %" and held[0] > before[0] and held[1] != before[1]
    assert sparsity(second) == "30 %", "the same slider elsewhere waits for the release"
    lab.mouse.up()
    second.get_by_text("55 % sparsity").wait_for()
    assert python_says(lab) == "Python has 0.55 0.55 0.4 [0.55]"


def test_python_moves_it_everywhere(lab):
    run(lab, 3)
    for number in (0, 1):
        shown(lab, number).get_by_text("80 % sparsity").wait_for()
    assert python_says(lab).startswith("Python has 0.8 0.8 0.65 ")


def test_light_and_dark_are_the_pages(lab):
    slider = shown(lab, 0)
    colours = []
    for scheme in ("dark", "light", "dark"):  # the first is what it began with
        lab.emulate_media(color_scheme=scheme)
        slider.and_(lab.locator(f'[data-theme="{scheme}"]')).wait_for()
        colours.append(slider.evaluate("node => getComputedStyle(node).color"))
    assert colours[0] == colours[2] != colours[1]


def test_it_shares_no_style_with_the_page_and_needs_no_network(lab):
    shown(lab, 0).scroll_into_view_if_needed()
    assert lab.evaluate("() => document.querySelectorAll('.live').length") == 0
    own = lab.url.partition("/lab")[0].removeprefix("http:")
    assert [url for url in lab.asked if not url.startswith((f"http:{own}", f"ws:{own}", "blob:", "data:"))] == []
    assert lab.page_errors == []


def test_the_correlation_is_scrubbed(lab):
    figure = run(lab, 4).locator(".js-plotly-plot")
    figure.locator(".slider-group").wait_for(timeout=WAIT_MS)
    frames = figure.evaluate("plot => plot._transitionData._frames.map((frame) => frame.name)")
    assert len(frames) == 3
    told = "plot => plot.layout.sliders[0].active"
    before = figure.evaluate(told)
    figure.locator(".slider-rail-touch-rect").scroll_into_view_if_needed()
    track = figure.locator(".slider-rail-touch-rect").bounding_box()
    place = track["x"] + track["width"] * (0.05 if before else 0.95), track["y"] + track["height"] / 2
    lab.mouse.click(*place)
    lab.wait_for_function(f"([plot, was]) => ({told})(plot) !== was", arg=[figure.element_handle(), before])


def test_it_moves_in_a_stored_notebook_of_which_nothing_was_run(lab):
    lab.goto(lab.url.replace("slider.ipynb", TOUR.name))
    slider = lab.get_by_test_id("live")
    slider.wait_for(timeout=WAIT_MS)
    assert sparsity(slider) == "65 %"
    grab(lab, 0.65, 0.8, slider.get_by_test_id("live-thumb"))
    lab.mouse.up()
    assert sparsity(slider) == "80 %"
