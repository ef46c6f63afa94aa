"""The live slider in a real browser: what follows the thumb, and what Python hears of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import assert_calm, settle
from .thumb import LAST, grab, place

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
HARNESS = Path(__file__).with_name("live_sparsity_harness.py")


@pytest.fixture(scope="module")
def url(serve: Callable[..., str]) -> str:
    # A dark section makes Streamlit follow the browser's preference whatever the repository's own theme says.
    return serve(HARNESS, env={"STREAMLIT_THEME_DARK_PRIMARY_COLOR": "#56B4E9"})


def text(page: Page, name: str) -> str:
    return page.get_by_test_id(f"live-{name}").inner_text()


def python_says(page: Page) -> tuple[float, int]:
    """The value that the script got, and when it last ran."""
    found = re.search(r"Python has (\S+) at (\d+)", page.get_by_text("Python has").inner_text())
    assert found
    return float(found[1]), int(found[2])


def thumb_at(page: Page) -> float:
    return float(page.get_by_test_id("live-thumb").input_value()) / 100


def marker(page: Page) -> tuple[float, float]:
    circle = page.get_by_test_id("live-curve").locator(".marker")
    return float(circle.get_attribute("cx")), float(circle.get_attribute("cy"))


def kept_heads(page: Page) -> int:
    return page.get_by_test_id("live-heads").locator("rect.cell:not(.cut)").count()


def everything(page: Page) -> dict[str, object]:
    names = ("sparsity", "top1", "interval", "cosine", "params", "macs", "latency", "kind", "words")
    bars = page.get_by_test_id("live-neurons").locator("rect.kept")
    heights = bars.evaluate_all("bars => bars.map(bar => bar.getAttribute('height'))")
    return {name: text(page, name) for name in names} | {
        "marker": marker(page),
        "neurons": heights,
        "heads": kept_heads(page),
    }


def test_all_follows_the_held_thumb_and_python_hears_of_the_release_only(url, open_page):
    page = open_page(url)
    before, heard = everything(page), python_says(page)
    assert before["sparsity"] == "0 %"
    assert kept_heads(page) == 72

    grab(page, 0, 0.55)
    held = everything(page)
    assert held["sparsity"] == "55 %"
    assert held["words"] == "MLP neurons removed 55 %, heads removed 40 %"
    assert held["top1"] == "82.6 %"
    assert held["interval"] == "95 % interval 80.9 – 84.2 %"
    assert held["kind"] == "measured · k = 20, 2,000 queries"
    assert held["params"] == "1.94 M"
    assert held["latency"] == "2.8 ms"
    assert not [name for name in set(before) - {"kind"} if held[name] == before[name]]
    assert python_says(page) == heard

    page.mouse.move(*place(page.get_by_test_id("live-thumb"), 0.8))
    further = everything(page)
    assert not [name for name in set(held) - {"kind"} if further[name] == held[name]]
    page.wait_for_timeout(400)
    assert python_says(page) == heard

    page.mouse.up()
    settle(page)
    assert python_says(page)[0] == 0.8
    assert everything(page) == further
    assert_calm(page)


def test_the_difference_to_the_full_model_is_told_in_pairs(url, open_page):
    page = open_page(f"{url}/?s=0.55")
    drop = page.locator('[data-part="drop"]')
    assert drop.inner_text() == "6.7 points below the full model (paired, −7.7 to −5.7)"
    grab(page, 0.55, 0.5525)  # between two measured cuts it is interpolated as the accuracy is
    assert re.fullmatch(r"\d\.\d points below the full model \(paired, −\d\.\d to −\d\.\d\)", drop.inner_text())
    page.mouse.up()
    assert open_page(f"{url}/?s=0").locator('[data-part="drop"]').inner_text() == "this is the full model"
    assert open_page(f"{url}/?s=0.5&unlabelled=1").locator('[data-part="drop"]').inner_text() == ""


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ("0.0213", "2.1 points above the full model (paired, 1.1 to 3.1)"),
        ("0.0003", "no difference to the full model (paired, −1.0 to 1.0)"),
        ("-0.0003", "no difference to the full model (paired, −1.0 to 1.0)"),
        ("0.0097", "1.0 points above the full model (paired, 0.0 to 2.0)"),  # from just below zero
    ],
)
def test_a_difference_that_is_no_loss_is_called_what_it_is(gain, said, url, open_page):
    page = open_page(f"{url}/?s=0.5&gain={gain}")
    assert page.locator('[data-part="drop"]').inner_text() == said
    assert_calm(page)


def test_times_say_whose_they_are(url, open_page):
    said = {}
    for query in ("", "&elsewhere=1", "&untimed=1"):
        page = open_page(f"{url}/?s=0.5{query}")
        said[query] = (text(page, "latency"), page.locator('[data-part="latency-kind"]').inner_text())
        assert_calm(page)
    assert said[""] == ("2.9 ms", "measured")
    assert said["&elsewhere=1"] == ("2.9 ms", "another computer’s")
    assert said["&untimed=1"] == ("–", "not timed yet")


@pytest.mark.parametrize(
    ("query", "kind", "share"),
    [
        ("s=0.5", "measured", "63.5 % of 4.6 ms"),
        ("s=0.505", "interpolated", "63.1 % of 4.6 ms"),
        ("s=0.505&elsewhere=1", "another computer’s", "63.1 % of 4.6 ms"),
        ("s=0.9&points=6", "not timed yet", ""),  # beyond the last measured cut
        ("s=0.5&untimed=1", "not timed yet", ""),
        ("s=0.5&points=0", "not timed yet", ""),
    ],
)
def test_a_time_is_told_beside_the_full_models(query, kind, share, url, open_page):
    page = open_page(f"{url}/?{query}")
    assert page.locator('[data-part="latency-kind"]').inner_text() == kind
    assert page.locator('[data-part="latency-share"]').inner_text() == share
    assert (text(page, "latency") == "–") == (not share)
    assert_calm(page)


def test_thumb_stands_under_the_marker(url, open_page):
    page = open_page(f"{url}/?s=0.7")
    curve = page.get_by_test_id("live-curve").bounding_box()
    under = place(page.get_by_test_id("live-thumb"), 0.7)[0]
    assert curve["x"] + marker(page)[0] == pytest.approx(under, abs=1)


def test_arrow_keys_move_by_one_step_and_reach_python(url, open_page):
    page = open_page(f"{url}/?s=0.5")
    thumb = page.get_by_test_id("live-thumb")
    thumb.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert text(page, "sparsity") == "51.5 %"
    assert "51.5 %, top-1 85.0 % interpolated" in thumb.get_attribute("aria-valuetext")
    page.wait_for_timeout(300)  # the pause that ends a series of key presses
    settle(page)
    assert python_says(page)[0] == 0.515
    page.keyboard.press("End")
    page.wait_for_timeout(300)
    settle(page)
    assert python_says(page)[0] == LAST
    assert text(page, "sparsity") == "95 %"
    assert_calm(page)


def test_between_and_beyond_measured_points_is_said(url, open_page):
    page = open_page(f"{url}/?points=6&s=0.45")
    assert text(page, "kind") == "interpolated · 40 % to 50 %"
    assert text(page, "top1") == "87.1 %"
    assert "interpolated" in page.get_by_test_id("live-curve").locator(".marker").get_attribute("class")

    thumb = page.get_by_test_id("live-thumb")
    thumb.focus()
    page.keyboard.press("End")  # 95 %, measured up to 80 % only
    assert text(page, "kind") == "not measured yet"
    assert text(page, "top1") == text(page, "latency") == "–"
    assert not page.get_by_test_id("live-curve").locator(".marker").is_visible()
    assert text(page, "params") == "1.06 M"
    assert_calm(page)


def test_without_an_accuracy_the_cosine_leads(url, open_page):
    page = open_page(f"{url}/?unlabelled=1")
    curve, thumb = page.get_by_test_id("live-curve"), page.get_by_test_id("live-thumb")
    assert curve.get_by_text("Cosine to full model").is_visible()
    assert curve.locator(".interval, .chance").count() == 0
    grab(page, 0, 0.6)
    assert text(page, "top1") == "–"
    assert text(page, "interval") == "The images have no labels; the curve shows the cosine."
    assert not page.get_by_test_id("live-kind").is_visible()
    cosine = 1 - 0.85 * 0.6**3
    assert text(page, "cosine") == curve.locator(".callout").text_content() == f"{cosine:.3f}"
    assert f"60 %, cosine {cosine:.3f} measured" in thumb.get_attribute("aria-valuetext")
    top, bottom = (float(curve.locator(kind).first.get_attribute("y1")) for kind in (".full", ".baseline"))
    assert marker(page)[1] == pytest.approx(bottom + (top - bottom) * cosine, abs=0.5)
    page.mouse.up()
    settle(page)
    assert_calm(page)


def test_without_points_the_exact_parts_work(url, open_page):
    page = open_page(f"{url}/?points=0")
    waiting = page.get_by_text("Accuracy is being measured…")
    assert waiting.is_visible()
    grab(page, 0, 0.6)
    assert text(page, "sparsity") == "60 %"
    assert text(page, "kind") == "not measured yet"
    assert text(page, "params") == "1.80 M"
    assert kept_heads(page) < 72
    page.mouse.up()
    settle(page)
    assert waiting.is_visible()
    assert_calm(page)


def test_more_points_leave_the_thumb_where_it_is(url, open_page):
    page = open_page(f"{url}/?points=6&s=0.45")
    thumb = page.get_by_test_id("live-thumb")
    thumb.evaluate("node => { node.isTheSame = true; }")
    page.get_by_role("button", name="More points").click()
    settle(page)
    assert text(page, "kind") == "measured · k = 20, 2,000 queries"
    assert thumb.evaluate("node => node.isTheSame")
    assert thumb_at(page) == 0.45
    assert python_says(page)[0] == 0.45


def test_a_held_thumb_is_not_yanked_while_points_arrive(url, open_page):
    page = open_page(f"{url}/?points=1&ticking=1&s=0.1")
    grab(page, 0.1, 0.5)
    held, points = python_says(page), page.get_by_test_id("live-curve").locator(".point")
    count = points.count()
    page.wait_for_function(
        "old => document.body.innerText.includes('Python has') && !document.body.innerText.includes(old)",
        arg=str(held[1]),
    )
    page.wait_for_timeout(700)
    assert points.count() > count
    assert thumb_at(page) == 0.5
    assert text(page, "sparsity") == "50 %"
    assert python_says(page)[0] == 0.1
    page.mouse.move(*place(page.get_by_test_id("live-thumb"), 0.6))
    assert text(page, "sparsity") == "60 %"
    page.mouse.up()
    page.get_by_text("Python has 0.6 ").wait_for()
    assert thumb_at(page) == 0.6
    assert_calm(page)


@pytest.mark.parametrize(("to", "end"), [(0.6, 0.6), (0.5, 0.35)])
def test_python_asking_for_another_place_waits_for_the_release(url, open_page, to, end):
    """Who carried the thumb has the last word; who only held it lets Python have it."""
    page = open_page(f"{url}/?points=1&ticking=1&s=0.5")
    grab(page, 0.5, to)
    page.get_by_role("button", name="Go to 35 %").dispatch_event("click")  # the mouse is on the thumb
    page.get_by_text("Python has 0.35 ").wait_for()
    page.wait_for_timeout(200)
    assert thumb_at(page) == to
    page.mouse.up()
    page.get_by_text(f"Python has {end} ").wait_for()
    page.get_by_test_id("live-sparsity").get_by_text(f"{100 * end:.0f} %", exact=True).wait_for()
    assert thumb_at(page) == end
    assert_calm(page)


def test_python_moves_the_thumb_and_the_person_moves_it_back(url, open_page):
    page = open_page(f"{url}/?s=0.4013")
    assert thumb_at(page) == 0.4  # a deep link snaps to a step
    thumb = page.get_by_test_id("live-thumb")
    for start in (0.4, 0.35):  # the second time both sides have seen each value before
        grab(page, start, 0.6)
        page.mouse.up()
        page.get_by_text("Python has 0.6 ").wait_for()
        page.get_by_role("button", name="Go to 35 %").click()
        settle(page)
        assert thumb_at(page) == python_says(page)[0] == 0.35
        assert text(page, "sparsity") == "35 %"
    assert thumb.is_visible()
    assert_calm(page)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [480, 800, 1440])
def test_nothing_overflows_and_the_theme_is_followed(url, open_page, width, dark):
    page = open_page(f"{url}/?s=0.575&blocks=24&heads=16", width=width, dark=dark)
    live = page.get_by_test_id("live")
    over = live.evaluate(
        """live => [...live.querySelectorAll('*')].filter(node => {
            const box = node.getBoundingClientRect(), frame = live.getBoundingClientRect();
            return box.width && (box.left < frame.left - 1 || box.right > frame.right + 1
                || (!node.closest('svg') && node.scrollWidth > node.clientWidth + 1 && node.clientWidth));
        }).map(node => node.outerHTML.slice(0, 90))"""
    )
    assert not over
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert live.get_attribute("data-theme") == ("dark" if dark else "light")
    small = live.evaluate(
        """live => [...live.querySelectorAll('*')].filter(node => node.textContent.trim() && !node.children.length
            && parseFloat(getComputedStyle(node).fontSize) < 14).map(node => node.textContent)"""
    )
    assert not small
    assert_calm(page)
