"""Starting a run, and names as they read, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snapvit.store.store import Store

from .conftest import assert_calm, settle
from .test_one_screen import in_view
from .test_pages import WAIT, start_tiny_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
NAME = "$x^2$ :red[ship] [a](b) *cat* <b> | 🦊 :smile:"


@pytest.fixture(scope="module")
def empty_url(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve("app.py", cache=tmp_path_factory.mktemp("empty") / "cache")


def test_after_start_form_and_job_are_in_one_view_and_the_form_outlives_a_reload(
    empty_url: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(empty_url, width=1280, height=720)
    box = page.get_by_role("textbox", name="Name (optional)")
    box.fill(NAME)
    box.press("Enter")
    settle(page)
    panel = start_tiny_run(page)
    page.get_by_test_id("stToast").get_by_text("Started: bundled").wait_for()
    page.get_by_test_id("stSidebar").locator('[data-testid="stProgress"]').first.wait_for()
    in_view(page, page.get_by_role("button", name="Start", exact=True))
    in_view(page, panel.get_by_role("heading", name=re.compile("Running:")))
    panel.get_by_text(re.compile("is finished, after")).wait_for(timeout=WAIT)
    page.reload()
    settle(page)
    assert page.get_by_role("spinbutton", name="Generations").input_value() == "3"
    assert page.get_by_role("textbox", name="Name (optional)").input_value() == NAME
    assert NAME in page.get_by_text("The run shown:").locator("..").inner_text().replace("\u2060", "")
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("This run is finished already").wait_for()
    page.get_by_role("button", name="Dismiss").click()
    panel.wait_for(state="hidden")
    assert_calm(page)


def test_a_name_reads_as_typed_in_every_place(
    serve: Callable[..., str], shipped: Path, open_page: Callable[..., Page]
) -> None:
    store = Store(shipped)
    (run,) = [manifest.run for manifest in store.manifests()]
    store.rename(run, NAME)
    page = open_page(serve("app.py", cache=shipped))
    assert NAME in page.get_by_text("The run shown:").locator("..").inner_text().replace("\u2060", "")
    row = page.locator(f".st-key-run_{run}")
    assert NAME in row.inner_text().replace("\u2060", "")
    assert page.get_by_test_id("stSidebar").get_by_role("combobox").input_value() == NAME
    assert not row.locator("strong a, strong em, .katex, strong .stMarkdownColoredText").count()
    store.rename(run, "")
    assert_calm(page)
