"""The live slider's thumb, as a hand takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

LAST = 0.95  # the slider's end
KNOB = 26  # px; its centre travels that much less than the input is wide


def place(thumb: Locator, sparsity: float) -> tuple[float, float]:
    box = thumb.bounding_box()
    assert box
    travel = (box["width"] - KNOB) * sparsity / LAST
    return box["x"] + KNOB / 2 + travel, box["y"] + box["height"] / 2


def grab(page: Page, start: float, to: float, thumb: Locator | None = None) -> None:
    """Take the thumb, the page's only one, or this one, and carry it, without letting go."""
    thumb = thumb or page.get_by_test_id("live-thumb")
    box, (x, y) = thumb.bounding_box(), place(thumb, start)
    thumb.hover(position={"x": x - box["x"], "y": y - box["y"]})  # waits until the page stands still
    page.mouse.down()
    page.mouse.move(*place(thumb, (start + to) / 2))
    page.mouse.move(*place(thumb, to))
