"""Pages for those who hear them, use no mouse, or have a narrow screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from .conftest import assert_calm, pages_of, settle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
MOST_STOPS = 5  # of the Tab key in one figure
NARROW, HEIGHT = 390, 844  # px

# Address, and what is on the page once it is whole.
PAGES = {
    "/": '[data-testid="live-curve"] .path',
    "/sparsity": '[data-testid="live-curve"] .path',
    "/sparsity?mode=ratios": ".st-key-ratio_plane [data-events=on]",
    "/sparsity?mode=budget&max_macs=36": ".st-key-take_best",
    "/heads?at=4-2&s=0.5": ".st-key-kept_share [data-events=on]",
    "/cka": ".st-key-block_map [data-events=on]",
    "/correlation": ".st-key-chance_curve [data-events=on]",
    "/correlation?map_g=displacement": ".st-key-agreement [data-events=on]",
    "/embedding?s=0.65": ".st-key-kept_neighbours [data-events=on]",
    "/export": ".st-key-structure_diff [data-events=on]",
    "/method?step=all": ".st-key-scores_by_block [data-events=on]",
}

# Functions for scripts in the page. Components live in shadow trees, which selectors do not enter.
LOOK = """
const all = (root) => [...root.querySelectorAll('*')].flatMap((e) => e.shadowRoot ? [e, ...all(e.shadowRoot)] : [e]);
const seen = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getBoundingClientRect().width > 0;
const stops = (root) => all(root).filter((e) => e.tabIndex >= 0 && !e.disabled && seen(e));
"""


def whole(page: Page, address: str) -> Page:
    """The page once all of it is there."""
    page.locator(PAGES[address]).first.wait_for(state="attached")
    settle(page)
    return page


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest, url: str, browser: Browser) -> Iterator[Page]:
    """Each page, opened once for all that is asked of it as it stands."""
    with pages_of(browser) as open_page:
        yield whole(open_page(url + request.param, width=1280, height=HEIGHT), request.param)


def test_headings_go_down_by_one(page: Page) -> None:
    levels = page.evaluate(
        f"() => {{ {LOOK} return all(document).filter((e) => /^H[1-6]$/.test(e.tagName) && seen(e))"
        ".map((e) => Number(e.tagName[1])); }"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(deeper <= level + 1 for level, deeper in pairwise(levels)), levels
    assert_calm(page)


def test_a_figures_buttons_name_it_and_are_few_stops_of_the_tab_key(page: Page) -> None:
    figures = page.evaluate(
        f"""() => {{ {LOOK}
        const title = (e) => e.getAttribute('aria-label') ?? e.textContent;
        return [...document.querySelectorAll('.js-plotly-plot')].map((plot) => {{
          const key = [...plot.closest('[class*=st-key-]').classList].find((name) => name.startsWith('st-key-'));
          const below = document.querySelector('.' + key.replace('st-key-', 'st-key-take_'));
          const parts = [plot, below].filter(Boolean);
          return {{
            title: plot.layout.title.text.replace(/<.*?>/g, ''),
            bar: plot.querySelector('.modebar').getAttribute('aria-label'),
            buttons: parts.flatMap((part) => all(part).filter((e) => e.tagName === 'BUTTON' && seen(e)).map(title)),
            stops: parts.flatMap(stops).length,
          }};
        }}); }}"""
    )
    for figure in figures:
        assert figure["title"] in figure["bar"]
        assert figure["buttons"]
        assert all(figure["title"] in button for button in figure["buttons"]), figure
        assert 0 < figure["stops"] <= MOST_STOPS, figure
    for component in page.get_by_test_id("projection").or_(page.get_by_test_id("live").locator(".panel")).all():
        count = component.evaluate(f"(root) => {{ {LOOK} return stops(root).length; }}")
        assert count <= MOST_STOPS
    assert_calm(page)


@pytest.mark.parametrize(
    ("address", "bar", "first", "second"),
    [
        ("/cka", ".st-key-cka_before .modebar-btn", "Download plot as a PNG", "Zoom"),
        ("/embedding?s=0.65", '[data-testid="projection"] :is(.play, .tools button)', "Play", "Lasso"),
    ],
)
def test_arrow_keys_go_from_button_to_button(
    address: str, bar: str, first: str, second: str, url: str, open_page: Callable[..., Page]
) -> None:
    page = whole(open_page(url + address, width=1280, height=HEIGHT), address)
    buttons = page.locator(bar)
    buttons.first.focus()

    def focused() -> str:
        return page.evaluate(
            """() => { let e = document.activeElement;
            while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
            return e.getAttribute('aria-label') ?? e.textContent; }"""
        )

    assert first in focused()
    page.keyboard.press("ArrowRight")
    assert second in focused()
    page.keyboard.press("ArrowLeft")
    assert first in focused()
    page.keyboard.press("End")
    assert first not in focused()
    page.keyboard.press("Home")
    assert first in focused()
    assert_calm(page)


def test_every_table_says_what_it_is(page: Page) -> None:
    for fold in page.get_by_test_id("stExpander").locator("summary").all():
        fold.click()
        settle(page)
    tables = page.evaluate(
        """() => [...document.querySelectorAll('[data-testid=stDataFrame]')].map((table) =>
        table.querySelector('[data-testid=stDataFrameResizable]')?.getAttribute('aria-label') ?? null)"""
    )
    assert all(tables), tables
    assert_calm(page)


@pytest.mark.parametrize("address", PAGES)
def test_a_narrow_page_scrolls_downwards_only_and_nothing_is_written_over(
    address: str, url: str, open_page: Callable[..., Page]
) -> None:
    page = whole(open_page(url + address, width=NARROW, height=HEIGHT), address)
    wide = page.evaluate(
        """() => [document.documentElement, document.querySelector('[data-testid=stMain]')]
        .map((e) => e.scrollWidth - e.clientWidth)"""
    )
    assert max(wide) <= 0
    collisions = page.evaluate(
        f"""() => {{ {LOOK}
        const written = (root) => all(root).filter((e) => seen(e) && e.closest('.hoverlayer') === null
          && [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())
          && !['tspan', 'style', 'title'].includes(e.tagName.toLowerCase())).map((e) => [e, e.getBoundingClientRect()]);
        const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
          && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
        const roots = all(document).filter((e) => e.matches('.js-plotly-plot, .live'));
        return roots.flatMap((root) => {{
          const texts = written(root);
          return texts.flatMap(([one, a], i) => texts.slice(i + 1)
            .filter(([other, b]) => !one.contains(other) && over(a, b))
            .map(([other]) => [one.textContent, other.textContent]));
        }}); }}"""
    )
    assert not collisions
    assert_calm(page)
