"""Any address opens every page, whatever stands behind its question mark."""

from __future__ import annotations

import random

import pytest
from page_checks import PAGES, opened

from snapvit.ui.selection import Structure

NAMES = ("run", "s", "at", "with", "image", "mode", "heads", "g", "view", "view_g", "only", "colour", "class", "look")
NAMES += ("of_generation", "of_rank", "of_view", "macs", "params", "ms", "budget", "nobody")
VALUES = (
    *("", " ", "0", "-1", "1e999", "nan", "inf", "-inf", "1" * 5_000, "9" * 400 + "-" + "9" * 5_000, "0.5", "2"),
    *("3-4", "3-mlp", "99-99", "0-0", "-", "mlp", "1-", "-1-2", "٣-٤", "²-1", "x" * 10_000, "\0", "%00", "../../etc"),
    *("<script>alert(1)</script>", "ねこ", "\u202e", "\ud800".encode("utf-8", "replace").decode(), "[1]", "{}", "None"),
)


@pytest.mark.parametrize("text", ["9" * 5_000, "9" * 5_000 + "-1", "1-" + "9" * 5_000, "²-1", "1-²", "", "-"])
def test_what_is_no_structure_selects_none(text):
    assert Structure.parse(text) is None


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("seed", range(3))
def test_any_address_opens_every_page(shipped, page, seed):
    draw = random.Random(f"{page} {seed}")
    opened(page, **{name: draw.choice(VALUES) for name in NAMES})
    opened(page, at="9" * 5_000, **{"with": "9" * 5_000 + "-1"}, image="9" * 5_000)
