"""What a person takes from a page: pictures and numbers of a figure, and the address of the view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from .conftest import ROOT, assert_calm

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
RUN = "bundled-paper-37105200"
CHART, BELOW = ".st-key-head_map_score", ".st-key-take_head_map_score"  # one of the page's figures, its buttons
TITLE = "Final score of every head"


@pytest.fixture
def heads(serve: Callable[..., str], open_page: Callable[..., Page]) -> Iterator[Page]:
    page = open_page(f"{serve('app.py', cache=ROOT / 'cache')}/heads?s=0.4")
    page.locator(f"{CHART} [data-events=on]").wait_for()
    yield page
    assert_calm(page)


def saved(page: Page, kind: str, folder: Path) -> Path:
    button = f"Download plot as a PNG: {TITLE}" if kind == "PNG" else f"{kind}: {TITLE}"
    with page.expect_download() as download:
        page.locator(f"{CHART}, {BELOW}").get_by_role("button", name=button).click()
    target = folder / download.value.suggested_filename
    download.value.save_as(target)
    return target


def painted(page: Page, svg: Path, folder: Path) -> Image.Image:
    """The drawing as a browser paints it."""
    page.goto(svg.as_uri())
    page.locator("svg").first.screenshot(path=folder / "painted.png")
    page.close()
    return Image.open(folder / "painted.png").convert("RGB")


def test_a_figure_is_saved_as_png_svg_and_csv(heads: Page, tmp_path: Path) -> None:
    png, svg, csv = (saved(heads, kind, tmp_path) for kind in ("PNG", "SVG", "CSV"))
    assert {path.stem for path in (png, svg, csv)} == {f"{RUN}-heads-score"}
    assert [path.suffix for path in (png, svg, csv)] == [".png", ".svg", ".csv"]
    with Image.open(png) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        drawn = np.asarray(picture.convert("RGB").resize((400, 300)), float)
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert TITLE in " ".join(ElementTree.parse(svg).getroot().itertext())
    again = np.asarray(painted(heads.context.new_page(), svg, tmp_path).resize((400, 300)), float)
    assert np.abs(drawn - again).mean() < 3, "plotly's own picture and the drawing look alike, of 255"
    table = pd.read_csv(csv)
    assert len(table) == 72
    assert (table["This cut"] == "removed").sum() == 18  # a quarter of the heads at 40 %


def test_the_live_charts_are_saved_as_they_stand(
    serve: Callable[..., str], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page(f"{serve('app.py', cache=ROOT / 'cache')}/sparsity?s=0.8")

    def taken(name: str) -> Path:
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        target = tmp_path / download.value.suggested_filename
        download.value.save_as(target)
        return target

    curve = taken("Save the curve as SVG")
    words = " ".join(ElementTree.parse(curve).getroot().itertext())
    assert "Accuracy of the cut at 80 % sparsity" in words
    assert page.get_by_test_id("live-top1").inner_text() in words
    assert "var(" not in curve.read_text(), "a file has no style sheet to take colours from"
    kept = " ".join(ElementTree.parse(taken("Save what is kept as SVG")).getroot().itertext())
    assert "Kept neurons at 80 % sparsity: 1,383 of 6,912" in kept
    assert "Kept heads at 80 % sparsity: 26 of 72" in kept
    for name in ("Save the curve as PNG", "Save what is kept as PNG"):
        with Image.open(taken(name)) as picture:
            assert picture.format == "PNG"
            assert picture.width >= 1000
            assert len(picture.convert("RGB").getcolors(1_000_000)) > 20
    assert_calm(page)


def test_the_copied_link_opens_the_same_view(heads: Page, open_page: Callable[..., Page]) -> None:
    heads.context.grant_permissions(["clipboard-read", "clipboard-write"])
    heads.get_by_role("button", name="Copy link to this view").click()
    heads.get_by_role("button", name="Copied").wait_for()
    link = heads.evaluate("navigator.clipboard.readText()")
    assert "s=0.4" in link
    other = open_page(link)
    other.get_by_text("40 %").first.wait_for()
    assert_calm(other)
