"""The CKA and Correlation pages as a person meets them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.bundled_run import REQUEST
from snapvit.errors import Cancelled
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stages.interactions import MEASURED
from snapvit.store.store import Store

from .conftest import assert_calm, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
WAIT = 180_000  # ms, for work that the worker does
PLOT = ".st-key-{} .js-plotly-plot[data-events=on]"


def click_cell(page: Page, chart: str, row: int, column: int, cells: int) -> None:
    """Click the middle of one cell of the square heat map in a chart, counted from 0."""
    page.locator(PLOT.format(chart)).wait_for()
    settle(page)  # a click is lost to a map that is drawn anew, with the last click's frames, under the pointer
    plot = page.locator(f".st-key-{chart} .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    side = min(box["width"], box["height"])  # cells are square, in the middle of what there is
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    at = (left + side * (column + 0.5) / cells, top + side * (row + 0.5) / cells)
    page.mouse.move(*at)
    page.locator(f".st-key-{chart} .hoverlayer .hovertext").first.wait_for()
    page.mouse.click(*at)


def shown_matrix(page: Page) -> list[float]:
    """Some numbers of the matrix that is drawn now."""
    return page.evaluate(
        "() => { const z = document.querySelector('.st-key-correlation_player .js-plotly-plot').calcdata[0][0].z;"
        " return Array.from(z[0].slice(1, 6)).concat(Array.from(z[5].slice(20, 26))); }"
    )


def scrub_to(page: Page, share: float) -> None:
    box = page.locator(".st-key-correlation_player .slider-rail-touch-rect").bounding_box()
    page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2, steps=4)


def test_a_click_on_a_cell_puts_the_pair_side_by_side(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/cka?show=mlp")
    click_cell(page, "cka_before", 2, 6, 12)
    page.get_by_role("columnheader", name="Block 3 MLP").wait_for()
    page.get_by_role("columnheader", name="Block 7 MLP").wait_for()
    page.wait_for_url(re.compile(r"at=3-mlp.*with=7-mlp"))
    click_cell(page, "cka_before", 11, 0, 12)
    page.get_by_role("columnheader", name="Block 12 MLP").wait_for()
    page.wait_for_url(re.compile(r"at=12-mlp.*with=1-mlp"))
    page.reload()
    settle(page)
    page.get_by_role("columnheader", name="Block 12 MLP").wait_for()
    assert_calm(page)


def test_a_click_between_blocks_goes_to_their_most_similar_pair(
    url: str, shipped: Path, open_page: Callable[..., Page]
) -> None:
    store = Store(shipped)
    results = load_results(store, REQUEST.run)
    topology, cka = results.facts.topology, results.cka.values
    depth = topology.structure_depth()
    first, second = ([i for i in range(len(depth)) if depth[i] == b] for b in (4, 8))
    i, j = max(((i, j) for i in first for j in second), key=lambda pair: cka[pair])
    page = open_page(f"{url}/cka")
    click_cell(page, "block_map", 4, 8, 12)
    page.get_by_role("columnheader", name=topology.structure_name(i), exact=True).wait_for()
    page.get_by_role("columnheader", name=topology.structure_name(j), exact=True).wait_for()
    assert_calm(page)


def test_hovering_names_both_structures(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/cka?show=heads")
    click_cell(page, "cka_before", 3, 10, 72)
    text = page.locator(".st-key-cka_before .hoverlayer").text_content()
    assert "Block 1 head 4" in text
    assert "Block 2 head 5" in text


def test_a_cut_map_is_computed_on_request(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/cka?s=0.7&view=difference")
    page.get_by_role("button", name="Compute this map").click()
    page.locator(".st-key-cka_difference .main-svg").first.wait_for(timeout=WAIT)
    page.get_by_text(re.compile(r"CKA after the cut at 70 % less CKA before")).wait_for()
    assert_calm(page)


def test_the_matrix_follows_the_held_scrubber_and_the_page_its_rest(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/correlation")
    page.locator(PLOT.format("correlation_player")).wait_for()
    page.get_by_role("heading", name="Strongest pairs at generation 30").wait_for()
    page.locator(".st-key-correlation_player .slider-rail-touch-rect").scroll_into_view_if_needed()
    last = shown_matrix(page)
    scrub_to(page, 0.98)
    page.mouse.down()
    scrub_to(page, 0.0)
    page.wait_for_function(
        "() => document.querySelector('.st-key-correlation_player .slider-label')?.textContent.endsWith(': 0')"
    )
    page.wait_for_function(
        "() => { const d = document.querySelector('.st-key-correlation_player .js-plotly-plot').data;"
        " return d[d.length - 1].x[0] === 0; }"
    )
    held = shown_matrix(page)
    assert held != last
    assert all(abs(value) < 1e-6 for value in held), "the search starts without correlation"
    page.mouse.up()
    page.get_by_role("heading", name="Strongest pairs at generation 0").wait_for()
    page.wait_for_url(re.compile(r"g=0"))
    assert shown_matrix(page) == held, "the figure must stay where the person left it"
    assert_calm(page)


def test_pairs_are_measured_on_request_and_judge_the_estimate(
    serve: Callable[..., str], shipped: Path, tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    cache = shutil.copytree(shipped, tmp_path / "cache")
    entries = Store(cache).manifest(REQUEST.run).entries
    Store(cache).forget(REQUEST.run, [name for name in entries if MEASURED.asked_for(name)])
    page = open_page(f"{serve('app.py', cache=cache)}/correlation?map_g=cka")
    for box, number in (("Pairs", "60"), ("Images", "8")):
        field = page.get_by_role("spinbutton", name=box)
        field.fill(number)
        field.press("Enter")
    page.get_by_text("60 pairs on 8 images").wait_for()
    page.get_by_role("button", name="Measure pairs").click()
    page.locator(PLOT.format("agreement")).wait_for(timeout=WAIT)
    note = page.locator(".st-key-map_cka .annotation-text")
    note.get_by_text("60 pairs measured on 8 images").wait_for()
    page.get_by_role("radio", name="Search's estimate").click()
    page.locator(".st-key-correlation_player .slider-rail-touch-rect").scroll_into_view_if_needed()
    scrub_to(page, 0.98)
    page.mouse.down()
    scrub_to(page, 0.0)
    page.wait_for_function(  # the point in the lowest panel follows the held scrubber
        "() => document.querySelector('.st-key-correlation_player .js-plotly-plot').data"
        ".some(trace => trace.mode === 'markers' && trace.x.length === 1 && trace.x[0] === 0)"
    )
    page.mouse.up()
    assert_calm(page)


def test_play_runs_to_the_last_generation_and_step_goes_back(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/correlation?g=26")
    page.get_by_role("heading", name="Strongest pairs at generation 26").wait_for()
    page.locator(PLOT.format("correlation_player")).wait_for()
    page.locator(".st-key-correlation_player .updatemenu-button", has_text="Play").click()
    page.get_by_role("heading", name="Strongest pairs at generation 30").wait_for(timeout=60_000)
    page.locator('[class*="st-key-generation_box"]').get_by_role("button", name="Decrement").click()
    page.get_by_role("heading", name="Strongest pairs at generation 29").wait_for()
    page.wait_for_url(re.compile(r"g=29"))
    assert_calm(page)


def test_the_selection_goes_from_the_table_to_the_cka_page(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/correlation?at=1-mlp&with=2-mlp")
    page.get_by_role("link", name="The selected pair on the CKA page").click()
    page.get_by_role("columnheader", name="Block 1 MLP").wait_for()
    page.get_by_role("columnheader", name="Block 2 MLP").wait_for()
    assert_calm(page)


@pytest.mark.parametrize("address", ["/cka?view=after", "/correlation"])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_at_800_pixels(address: str, dark: bool, url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(url + address, width=800, dark=dark)
    page.locator(".main-svg").first.wait_for()
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    assert_calm(page)


def generation_shown(page: Page) -> int:
    heading = page.get_by_role("heading", name=re.compile("Strongest pairs at generation"))
    return int(heading.inner_text().split()[-1])


def test_pages_follow_a_search_that_runs(
    serve: Callable[..., str], tmp_path: Path, small_settings: tuple[str, ...], open_page: Callable[..., Page]
) -> None:
    settings = [*small_settings, "search.generations=60", "search.images=64"]
    request = RunRequest(config=with_settings(PRESETS["quick"], settings))
    reporter = Reporter(lambda event: reporter.cancel() if event.kind == "generation" else None)
    with pytest.raises(Cancelled):
        run_pipeline(request, Store(tmp_path), reporter)
    page = open_page(serve("app.py", cache=tmp_path))
    page.locator(f".st-key-go_on_{request.run} button").click()
    page.locator(".st-key-job_panel").get_by_text("Running:").wait_for(timeout=WAIT)
    page.wait_for_function(
        "() => (document.querySelector('.st-key-fitness_curve .js-plotly-plot')?._fullData[2].x.length ?? 0) > 2",
        timeout=WAIT,
    )
    page.get_by_test_id("stSidebar").get_by_role("link", name="Correlation").click()
    page.get_by_role("heading", name=re.compile("Strongest pairs at generation")).wait_for(timeout=WAIT)
    first = generation_shown(page)
    assert first < 60
    page.wait_for_function(
        "first => Array.from(document.querySelectorAll('h2'),"
        " h => Number(h.innerText.match(/generation (\\d+)/)?.[1])).some(g => g > first)",
        arg=first,
        timeout=WAIT,
    )
    page.locator(PLOT.format("correlation_player")).last.wait_for()  # the old one may still be leaving
    label = page.locator(".st-key-correlation_player .slider-label").last
    assert int(label.text_content().split()[-1]) > first, "the figure starts at the last generation"
    assert_calm(page)


def test_figure_table_and_address_are_of_one_generation(url: str, open_page: Callable[..., Page]) -> None:
    """The symptom: opened at generation 12, scrubbed to 4; once the figure was drawn anew, it stood at 12 again."""
    page = open_page(f"{url}/correlation?g=12")
    labels = page.locator(".st-key-correlation_player .slider-label")
    labels.filter(has_text=re.compile(r": 12$")).first.wait_for()
    rail = page.locator(".st-key-correlation_player .slider-rail-touch-rect")
    rail.scroll_into_view_if_needed()
    box, last = rail.bounding_box(), 30
    page.mouse.move(box["x"] + box["width"] * 12 / last, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 6 + (box["width"] - 12) * 4 / last, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()

    def assert_at(generation: int) -> None:
        page.get_by_role("heading", name=f"Strongest pairs at generation {generation}").wait_for()
        page.wait_for_url(re.compile(rf"g={generation}(&|$)"))
        labels.filter(has_text=re.compile(rf": {generation}$")).first.wait_for()

    assert_at(4)
    table = page.locator(".st-key-pair_table canvas").first
    table.scroll_into_view_if_needed()
    place = table.bounding_box()
    page.mouse.click(place["x"] + 15, place["y"] + 100)
    page.wait_for_url(re.compile("at="))
    assert_at(4)
    page.emulate_media(color_scheme="dark")  # the figure is drawn anew
    assert_at(4)
    page.locator('[class*="st-key-generation_box"]').get_by_role("button").last.click()
    assert_at(5)
    assert_calm(page)
