"""Names that people gave to classes and folders, as they read on every page: as they were typed."""

from __future__ import annotations

import json

import pytest
from page_checks import PAGES, as_read, opened, words
from store_samples import edit_manifest
from streamlit.testing.v1 import AppTest

from scripts.bundled_run import REQUEST
from snapvit.figures.names import as_plotly, shortened
from snapvit.store.store import Store
from snapvit.ui.names import as_markdown

RUN = REQUEST.run
TYPED = (
    *("$x^2$", ":red[ship]", "x" * 60, "*cat*", "<b>bold</b>", "a|b `code`", "🦊 _fox_", ":smile: -> www.x.org"),
    *("[a](b)", "%{x} & <i>y</i>"),
)
# One page's query in which names of classes are shown
QUERIES = {"s": "0.65", "image": "9554", "at": "3-4", "look": "rollout", "class": TYPED[1]}
MARKDOWN = (
    *("title", "header", "subheader", "markdown", "caption", "info", "success", "warning", "error", "toast"),
    *("button", "expander", "metric", "selectbox", "slider", "toggle", "text_input", "number_input"),
)


@pytest.fixture
def named(shipped: Store) -> Store:
    """The shipped run with classes and a folder that somebody named without a thought of markdown."""

    def rename(content: dict) -> None:
        content["facts"]["classes"] = list(TYPED)
        content["facts"]["data"] = f"folder:/home/{TYPED[0]}/{TYPED[3]} {TYPED[4]} {TYPED[1]}"
        content["facts"]["notes"] = [f"The gallery has 3 images of {name}." for name in TYPED]
        content["name"] = f"{TYPED[1]} {TYPED[3]} {TYPED[4]}"

    edit_manifest(shipped, RUN, rename)
    return shipped


def interpreted(app: AppTest) -> str:
    """All that Streamlit reads as markdown."""
    found = []
    for kind in MARKDOWN:
        for element in app.get(kind):
            found += [str(getattr(element, "label", "")), str(getattr(element.proto, "body", ""))]
    found += [picture.caption for images in app.get("imgs") for picture in images.proto.imgs]
    return "\n".join(found)


def plotted(app: AppTest) -> str:
    """All text that plotly reads as its own sort of HTML."""
    texts: list[str] = []

    def collect(part: object, name: str = "") -> None:
        if isinstance(part, dict):
            for key, value in part.items():
                if key not in ("customdata", "meta"):
                    collect(value, key)
        elif isinstance(part, list):
            for value in part:
                collect(value, name)
        elif isinstance(part, str) and name != "bdata":
            texts.append(part)

    for chart in app.get("plotly_chart"):
        collect(json.loads(chart.proto.spec))
    return "\n".join(texts)


@pytest.mark.parametrize("page", PAGES)
def test_no_page_reads_a_name_as_anything_but_text(page: str, named: Store) -> None:
    app = opened(page, **QUERIES)
    text, figures = interpreted(app), plotted(app)
    for name in TYPED:
        if as_markdown(name) != name:
            assert name not in text, name
        if as_plotly(name) != name:
            assert name not in figures, name


def test_names_are_there_and_read_as_typed(named: Store) -> None:
    text = words(opened("app.py"))
    assert f"**The run shown:** {TYPED[1]} {TYPED[3]} {TYPED[4]}" in text
    assert f"the images in /home/{TYPED[0]}/{TYPED[3]} {TYPED[4]} {TYPED[1]}" in text
    assert all(f"3 images of {name}." in text for name in TYPED)
    heads = plotted(opened("pages/heads.py", **QUERIES))
    assert as_plotly(shortened(TYPED[0], 11)) in heads
    assert shortened(TYPED[2], 11) == f"{'x' * 10}…"
    assert shortened(TYPED[2], 11) in heads
    assert TYPED[2] in heads, "whole where one points at it"
    embedding = opened("pages/embedding.py", **{"s": "0.65", "class": TYPED[1]})
    assert any(f"It is a **{name}**" in words(embedding) for name in TYPED)
    (box,) = [box for box in embedding.selectbox if box.label == "Class"]
    assert box.options[1:] == list(TYPED)
    assert box.value == TYPED[1]
    assert embedding.sidebar.selectbox[0].options == [f"{TYPED[1]} {TYPED[3]} {TYPED[4]}"]


@pytest.mark.parametrize("name", TYPED)
def test_what_is_written_reads_as_typed(name: str) -> None:
    assert as_read(as_markdown(name)) == name
    assert name not in as_markdown(name) or as_markdown(name) == name


@pytest.mark.parametrize(
    ("name", "short"),
    [("T-shirt/top", "T-shirt/top"), ("T-shirt/tops", "T-shirt/to…"), ("a b c d e f g", "a b c d e…")],
)
def test_a_shortened_name_says_so(name: str, short: str) -> None:
    assert shortened(name, 11) == short
