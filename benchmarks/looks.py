"""What a person does on each page while looking around: widgets, each used in ways that show something new."""

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
    """Uses of one widget, each of which leads to what was not there before on this visit."""

    page: str  # its address
    mark: str  # that is there once the page is whole
    name: str
    uses: tuple[Use, ...]


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
        page.wait_for_timeout(200)  # plotly looks where the pointer is before it takes a click
        page.mouse.click(*at)

    return use


def _press(role: str, name: str, scope: str = "body") -> Use:
    return lambda page: page.locator(scope).get_by_role(role, name=name, exact=True).first.click()


def _in_fold(use: Use) -> Use:
    """The same in the Correlation page's fold, which is opened first."""

    def opened(page: Page) -> None:
        _press("button", "Options")(page)
        use(page)

    return opened


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
        box = canvas.bounding_box()
        page.mouse.click(box["x"] + 15, box["y"] + 35 * (row + 1) + 17)

    return use


def _choose(label: str, option: str) -> Use:
    """An option of a select box."""

    def use(page: Page) -> None:
        box = page.get_by_role("combobox", name=label, exact=True)
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


def _projection(page: Page) -> dict[str, float]:
    canvas = page.get_by_test_id("projection-canvas")
    canvas.evaluate("canvas => canvas.scrollIntoView({block: 'center'})")
    return canvas.bounding_box()


def _point(share: float) -> Use:
    """A click on the first point of the projection that is met from here: to the right, then row by row upwards."""

    def use(page: Page) -> None:
        box = _projection(page)
        page.mouse.move(box["x"] + 1, box["y"] + 1)  # away from what was pointed at before
        left, middle = box["x"] + box["width"] * share, box["y"] + box["height"] / 2
        for up in range(0, int(box["height"] / 2) - 10, 12):
            for right in range(0, int(box["x"] + box["width"] - left) - 10, 6):
                page.mouse.move(left + right, middle - up)
                if page.get_by_test_id("projection-tip").is_visible():
                    page.mouse.click(left + right, middle - up)
                    return
        raise RuntimeError(f"no point of the projection lies up and right of {share:.0%} of its width")

    return use


def _lasso(page: Page) -> None:
    box = _projection(page)
    left, top = box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.45
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((90, 0), (90, 90), (0, 90)):
        page.mouse.move(left + x, top + y, steps=3)
    page.mouse.up()


def _by(page: str, mark: str, **uses: tuple[Use, ...]) -> tuple[Change, ...]:
    return tuple(Change(page, mark, name.replace("_", " "), some) for name, some in uses.items())


SLIDER = '[data-testid="stMain"] [data-testid="stSlider"] input'
GENERATION = '[class*="st-key-generation_box"]'
THUMB = '[data-testid="live-thumb"]'
slide, live = 3 * (_key(SLIDER, "ArrowRight"),), 5 * (_key(THUMB, "ArrowRight"),)
button, radio = partial(_press, "button"), partial(_press, "radio")

CHANGES = (
    *_by("/?s=0.8", '[data-testid="live-curve"]', slider=live, preset=(radio("paper"), radio("custom"))),
    *_by("/sparsity?s=0.8", '[data-testid="live-curve"]', slider=live),
    *_by("/sparsity?s=0.5&mode=ratios", ".st-key-ratio_plane .main-svg", slider_of_two_ratios=slide),
    *_by(
        "/heads?s=0.5&at=9-5",
        ".st-key-kept_share .main-svg",
        head=tuple(_cell("head_map_score", *at) for at in ((4, 3), (12, 1), (7, 6))),
        block=tuple(_choose("Block", f"Block {b}") for b in (3, 8, 5)),
        image=tuple(_cell("attention_examples", 0.5, 0.5, column) for column in (1, 2, 3)),
        attention_of=(radio("Rollout through the whole model"),),
        slider=slide,
    ),
    *_by(
        "/cka?s=0.5&at=5-mlp&with=9-mlp",
        ".st-key-pair_scatter .main-svg",
        cell=tuple(_cell("cka_before", *at) for at in ((20, 30), (40, 10), (70, 33))),
        blocks=tuple(_cell("block_map", *at) for at in ((4, 8), (2, 10), (7, 1))),
        model=(radio("After the cut"), radio("Difference")),
        structures=(radio("Heads"), radio("MLPs")),
        order=(radio("By similarity"),),
        slider=slide,
    ),
    *_by(
        "/correlation",
        ".st-key-chance_curve .main-svg",
        row=tuple(_row("pair_table", row) for row in (2, 5, 8)),
        map=tuple(map(radio, ("Displacement", "Measured", "CKA"))),
        against=(_choose("Held against", "Gauss-Newton"), _choose("Held against", "CKA")),
        generation=3 * (button("Decrement", GENERATION),),
        scrubber=tuple(_scrub(share) for share in (0.4, 0.8, 0.6)),
        show=(_in_fold(radio("Since the start")), radio("Less CKA")),
        structures=(_in_fold(radio("Heads")), radio("MLPs")),
        order=(_in_fold(radio("By similarity")),),
    ),
    *_by(
        "/embedding?s=0.65",
        '[data-testid="projection-canvas"][data-frame]',
        point=tuple(_point(share) for share in (0.3, 0.6, 0.45)),
        lasso=(_lasso,),
        colours=(radio("outcome"),),
        one_class=tuple(_choose("Class", name) for name in ("Bag", "Coat", "Shirt")),
        cut=(button("95 %"),),
        slider=slide,
    ),
    *_by(
        "/method?s=0.65&at=3-4&step=factors",
        ".st-key-factor_map .main-svg",
        individual=tuple(_choose("Generation", g) for g in ("7", "9", "8")),
    ),
    *_by(
        "/method?s=0.65&at=3-4&step=views",
        ".views .crops img",
        image=tuple(_choose("Image", i) for i in ("1392", "1645", "3141")),
    ),
    *_by("/method?s=0.65&at=3-4&step=cut", ".st-key-ordered_scores .main-svg", slider=slide),
)
