"""What a person does on each page while looking around: widgets with two uses each, that change and change back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

Use = Callable[["Page"], None]


@dataclass(frozen=True)
class Change:
    """Two uses of one widget, the second the first's opposite."""

    page: str  # its address
    mark: str  # that is there once the page is whole
    name: str
    there: Use
    back: Use


# Where a place in a chart's coordinates is on the screen; `axis` numbers the panels from 1.
PLACE = """([chart, x, y, axis]) => {
    const plot = document.querySelector(`.st-key-${chart} .js-plotly-plot`);
    const layout = plot._fullLayout, end = axis > 1 ? axis : '';
    const [across, down] = [layout[`xaxis${end}`], layout[`yaxis${end}`]];
    const box = plot.getBoundingClientRect();
    return [box.left + across._offset + across.l2p(x), box.top + down._offset + down.l2p(y)];
}"""


def _cell(chart: str, x: float, y: float, axis: int = 1) -> Use:
    """A click at (x, y) of a plotly chart."""

    def use(page: Page) -> None:
        page.locator(f".st-key-{chart} .nsewdrag").first.scroll_into_view_if_needed()
        at = page.evaluate(PLACE, [chart, x, y, axis])
        page.mouse.move(at[0] + 1, at[1] + 1)
        page.mouse.move(*at)
        page.wait_for_timeout(150)  # plotly looks where the pointer is before it takes a click
        page.mouse.click(*at)

    return use


def _press(role: str, name: str, scope: str = "body") -> Use:
    return lambda page: page.locator(scope).get_by_role(role, name=name, exact=True).first.click()


def _key(thumb: str, key: str) -> Use:
    """An arrow key on a slider's thumb."""

    def use(page: Page) -> None:
        page.locator(thumb).first.focus()
        page.keyboard.press(key)

    return use


def _row(table: str, row: int) -> Use:
    """A click on the box before a row of a table."""

    def use(page: Page) -> None:
        canvas = page.locator(f".st-key-{table} canvas").first
        canvas.scroll_into_view_if_needed()
        canvas.click(position={"x": 15, "y": 35 * (row + 1) + 17})

    return use


def _choose(label: str, option: str) -> Use:
    """An option of a select box."""

    def use(page: Page) -> None:
        box = page.get_by_role("combobox", name=label)
        box.click()
        box.fill(option)
        page.get_by_role("option", name=option).first.click()

    return use


def _scrub(share: float) -> Use:
    def use(page: Page) -> None:
        rail = page.locator(".st-key-correlation_player .slider-rail-touch-rect")
        rail.scroll_into_view_if_needed()
        box = rail.bounding_box()
        page.mouse.click(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)

    return use


def _point(share: float) -> Use:
    """A click on the first point of the map of images that lies right of this share of its width."""

    def use(page: Page) -> None:
        canvas = page.get_by_test_id("map-canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        x, y = box["x"] + box["width"] * share, box["y"] + box["height"] / 2
        while not page.get_by_test_id("map-tip").is_visible():
            x += 5
            page.mouse.move(x, y)
        page.mouse.click(x, y)

    return use


def _lasso(page: Page) -> None:
    box = page.get_by_test_id("map-canvas").bounding_box()
    left, top = box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.45
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((90, 0), (90, 90), (0, 90)):
        page.mouse.move(left + x, top + y, steps=3)
    page.mouse.up()


def _by(page: str, mark: str, *changes: tuple[str, Use, Use]) -> tuple[Change, ...]:
    return tuple(Change(page, mark, *change) for change in changes)


SLIDER = '[data-testid="stMain"] [data-testid="stSlider"] input'
THUMB = '[data-testid="live-thumb"]'
slide = ("slider", _key(SLIDER, "ArrowRight"), _key(SLIDER, "ArrowLeft"))
live = ("slider", _key(THUMB, "ArrowRight"), _key(THUMB, "ArrowLeft"))
radio, button = partial(_press, "radio"), partial(_press, "button")

CHANGES = (
    *_by("/?s=0.8", '[data-testid="live-curve"]', live, ("preset", radio("paper"), radio("quick"))),
    *_by("/sparsity?s=0.8", '[data-testid="live-curve"]', live),
    *_by("/sparsity?s=0.5&mode=ratios", ".st-key-ratio_plane .main-svg", slide),
    *_by(
        "/heads?s=0.5&at=9-5",
        ".st-key-kept_share .main-svg",
        ("head", _cell("head_map_score", 4, 3), _cell("head_map_score", 9, 5)),
        ("block", _choose("Block", "Block 3"), _choose("Block", "Block 8")),
        ("image", _cell("attention_examples", 0.5, 0.5, 1), _cell("attention_examples", 0.5, 0.5, 2)),
        ("attention of", radio("Rollout through the whole model"), radio("The selected head")),
        slide,
    ),
    *_by(
        "/cka?s=0.5&at=5-mlp&with=9-mlp",
        ".st-key-pair_scatter .main-svg",
        ("cell", _cell("cka_before", 20, 60), _cell("cka_before", 90, 30)),
        ("blocks", _cell("block_map", 4, 8), _cell("block_map", 2, 10)),
        ("model", radio("After the cut"), radio("Full model")),
        ("structures", radio("Heads"), radio("All")),
        ("order", radio("By similarity"), radio("By depth")),
        slide,
    ),
    *_by(
        "/correlation",
        ".st-key-chance_curve .main-svg",
        ("row", _row("pair_table", 2), _row("pair_table", 5)),
        ("generation", button("Decrement"), button("Increment")),
        ("scrubber", _scrub(0.4), _scrub(0.8)),
        ("show", radio("Since the start"), radio("Estimate")),
        ("structures", radio("Heads"), radio("All")),
    ),
    *_by(
        "/embedding?s=0.65",
        '[data-testid="map-canvas"][data-frame]',
        ("point", _point(0.3), _point(0.6)),
        ("lasso", _lasso, button("Clear")),
        ("colours", radio("outcome"), radio("class")),
        ("class", _choose("Class", "Bag"), _choose("Class", "all classes")),
        ("cut", button("95 %"), button("65 %")),
        slide,
    ),
    *_by(
        "/method?s=0.65&at=3-4",
        ".st-key-ordered_scores .main-svg",
        ("individual", _choose("Generation", "7"), _choose("Generation", "30")),
        ("image", _choose("Image", "1392"), _choose("Image", "1362")),
        slide,
    ),
)
