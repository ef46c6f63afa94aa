"""What a page is for fits the first screen of a projector and of a laptop, with the sidebar open."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from .conftest import assert_calm, settle

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser
SCREENS = [(1280, 720), (1366, 768)]
Box = dict[str, float]
OpenAt = Callable[[str], "Page"]


@pytest.fixture(params=SCREENS, ids=lambda size: "x".join(map(str, size)))
def opened(request: pytest.FixtureRequest, url: str, open_page: Callable[..., Page]) -> OpenAt:
    """`opened(address)`: the page on a screen of one of the sizes, its sidebar open."""
    width, height = request.param

    def open_(address: str) -> Page:
        page = open_page(url + address, width=width, height=height)
        assert page.get_by_test_id("stSidebar").bounding_box()["x"] >= 0
        return page

    return open_


def in_view(page: Page, part: Locator) -> Box:
    """The box of a part that is whole on the screen although nobody scrolled."""
    part.wait_for()
    box, screen = part.bounding_box(), page.viewport_size
    assert box["y"] >= 0, box
    assert box["x"] >= 0, box
    assert box["y"] + box["height"] <= screen["height"], box
    assert box["x"] + box["width"] <= screen["width"], box
    return box


def in_one_row(boxes: list[Box]) -> bool:
    """Side by side, from left to right, at one height."""
    ordered = all(one["x"] + one["width"] <= other["x"] for one, other in pairwise(boxes))
    return ordered and max(box["y"] for box in boxes) - min(box["y"] for box in boxes) < 1


def plot(page: Page, chart: str) -> Locator:
    """Where a chart draws its data, axes and titles left out."""
    return page.locator(f".st-key-{chart} .js-plotly-plot[data-events=on] .nsewdrag").first


@pytest.mark.parametrize("address", ["/?s=0.8", "/sparsity?s=0.8"])
def test_numbers_the_curve_with_its_thumb_and_what_is_kept(address: str, opened: OpenAt) -> None:
    page = opened(address)
    named = in_view(page, page.get_by_role("heading", name="80 % sparsity", exact=True))
    tiles = [in_view(page, tile) for tile in page.get_by_test_id("live").locator(".tile").all()]
    assert len(tiles) == 5
    assert in_one_row(tiles)
    assert named["y"] < tiles[0]["y"], "the numbers stand under the name of their cut"
    curve = in_view(page, page.get_by_test_id("live-curve"))
    in_view(page, page.get_by_test_id("live-thumb"))
    for kept in ("live-neurons", "live-heads"):
        box = in_view(page, page.get_by_test_id(kept))
        assert box["x"] >= curve["x"] + curve["width"], "beside the curve"
    assert_calm(page)


def test_the_thumb_stays_under_the_pointer_whatever_the_numbers_say(opened: OpenAt) -> None:
    page = opened("/?s=0")
    thumb = page.get_by_test_id("live-thumb")
    thumb.focus()
    places = [thumb.bounding_box()["y"]]
    for key in ("ArrowRight", "End"):  # between measured cuts, and where the loss is told in more words
        page.keyboard.press(key)
        settle(page)
        places.append(thumb.bounding_box()["y"])
    assert max(places) - min(places) < 1, places
    assert_calm(page)


def test_the_best_cut_for_a_budget_can_be_taken(opened: OpenAt) -> None:
    page = opened("/sparsity?mode=budget&max_macs=36")
    in_view(page, page.get_by_role("heading", name="The best measured cut"))
    tiles = [
        in_view(page, tile) for tile in page.locator(".st-key-numbers_best_tiles").get_by_test_id("stMetric").all()
    ]
    assert len(tiles) == 5
    assert in_one_row(tiles)
    in_view(page, page.get_by_role("button", name="Take this cut"))
    assert_calm(page)


@pytest.mark.parametrize("measure", ["local", "factor", "score"])
def test_the_map_of_heads_and_the_story_of_the_clicked_one(measure: str, opened: OpenAt) -> None:
    page = opened(f"/heads?s=0.65&measure={measure}")
    cells = in_view(page, plot(page, f"head_map_{measure}"))
    page.mouse.click(cells["x"] + cells["width"] * 3.5 / 12, cells["y"] + cells["height"] * 1.5 / 6)
    story = in_view(page, page.get_by_role("heading", name="Block 4, head 2"))
    in_view(page, page.get_by_text("It goes when"))
    in_view(page, plot(page, f"head_map_{measure}"))
    assert story["x"] > cells["x"] + cells["width"], "beside the map"
    assert_calm(page)


def test_the_map_of_cka_and_a_pair(opened: OpenAt) -> None:
    page = opened("/cka")
    cells = in_view(page, plot(page, "cka_before"))
    pair = in_view(page, page.get_by_role("heading", name="A pair side by side"))
    assert pair["x"] > cells["x"] + cells["width"], "beside the map"
    assert_calm(page)


@pytest.mark.parametrize(
    ("address", "chart", "verdict"),
    [
        ("/correlation", "correlation_player", "no better than chance"),
        ("/correlation?map_g=displacement", "map_displacement", "orders pairs well"),
    ],
)
def test_the_map_of_correlations_and_the_verdict_on_it(address: str, chart: str, verdict: str, opened: OpenAt) -> None:
    page = opened(address)
    cells = in_view(page, plot(page, chart))
    said = in_view(page, page.locator(f".st-key-{chart} .annotation-text-g", has_text=verdict))
    assert said["y"] + said["height"] <= cells["y"], "above the map"
    assert_calm(page)


def test_the_projection_and_its_cuts_numbers(opened: OpenAt) -> None:
    page = opened("/embedding?s=0.65")
    canvas = in_view(page, page.locator('[data-testid="projection-canvas"][data-frame]'))
    in_view(page, page.get_by_role("button", name="Play the way from full to cut"))
    in_view(page, page.get_by_role("heading", name="The cut at 65 %"))
    for number in page.locator(".st-key-numbers_headline").get_by_test_id("stMetric").all():
        assert in_view(page, number)["x"] > canvas["x"] + canvas["width"], "beside the projection"
    assert_calm(page)


def test_the_exported_cut_and_the_button_that_hands_it_over(opened: OpenAt) -> None:
    page = opened("/export?s=0.65")
    in_view(page, page.get_by_role("heading", name="The cut at 65"))
    tiles = [
        in_view(page, tile) for tile in page.locator(".st-key-numbers_export_tiles").get_by_test_id("stMetric").all()
    ]
    assert len(tiles) == 5
    assert in_one_row(tiles)
    in_view(page, page.get_by_role("button", name="Export and prove"))
    assert_calm(page)


def test_the_axis_zooms_to_the_curve_and_the_address_keeps_it(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/sparsity?s=0.8")
    curve, zoom = page.get_by_test_id("live-curve"), page.get_by_test_id("live-zoom")

    def ends() -> tuple[float, float]:
        ticks = [float(text) for text in curve.locator("text.tick[text-anchor=end]").all_text_contents()]
        return ticks[0], ticks[-1]

    assert ends() == (0, 100)
    assert curve.locator("line.chance").count() == 1
    zoom.check()
    page.wait_for_url("**axis=curve**")
    low, high = ends()
    assert 60 < low < 73.5, "the curve's least accuracy is 73.5 %"
    assert 89.8 < high <= 100
    assert curve.get_by_text("chance 10 %, below this axis").is_visible()
    page.reload()
    settle(page)
    assert zoom.is_checked()
    assert ends() == (low, high)
    zoom.uncheck()
    page.wait_for_url(lambda address: "axis=curve" not in address)
    assert ends() == (0, 100)
    assert_calm(page)


def test_the_verdict_on_rivals_above_their_curves_and_differences(opened: OpenAt) -> None:
    page = opened("/compare")
    verdict = in_view(page, page.get_by_text("By the area under the curve of accuracy against MACs"))
    curves, gaps = (in_view(page, plot(page, f"contender_{name}")) for name in ("curves", "gaps"))
    assert in_one_row([curves, gaps])
    assert verdict["y"] + verdict["height"] <= curves["y"]
