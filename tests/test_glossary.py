"""The glossary: every term that a page uses is there, each is short, and none is written twice."""

from __future__ import annotations

import ast
import html
from pathlib import Path

import pytest

from snapvit.ui import glossary
from snapvit.ui.glossary import TERMS, about, term

ROOT = Path(__file__).parents[1]
STEPS = ROOT / "snapvit" / "ui" / "method" / "steps.py"
SOURCES = [ROOT / "app.py", *ROOT.glob("pages/*.py"), *ROOT.glob("snapvit/ui/**/*.py")]
CALLS = {"term", "about"}


def used_terms(source: Path) -> list[str]:
    """Names in `term("...")`, `about("...")` and `page_title(..., terms=(...))`."""
    found = []
    for node in ast.walk(ast.parse(source.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in CALLS and node.args and isinstance(node.args[0], ast.Constant):
            found.append(node.args[0].value)
        for keyword in node.keywords:
            if keyword.arg == "terms":
                found += [c.value for c in ast.walk(keyword.value) if isinstance(c, ast.Constant)]
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_term_that_is_used_is_explained(source: Path) -> None:
    assert [name for name in used_terms(source) if name not in TERMS] == []


def test_the_check_sees_the_pages() -> None:
    assert {"local curvature", "xNES", "floor"} <= set(used_terms(STEPS))
    assert "fitness" in used_terms(ROOT / "snapvit" / "ui" / "method" / "search_lesson.py")


@pytest.mark.parametrize("page", [ROOT / "app.py", STEPS, *ROOT.glob("pages/*.py")], ids=lambda path: path.name)
def test_a_page_names_no_term_twice(page: Path) -> None:
    tree = ast.parse(page.read_text())
    for keyword in (k for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords if k.arg == "terms"):
        names = [c.value for c in ast.walk(keyword.value) if isinstance(c, ast.Constant)]
        assert len(names) == len(set(names))


def test_no_term_is_written_twice() -> None:
    tree = ast.parse(Path(glossary.__file__).read_text())
    written = next(
        n.value for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and getattr(n.target, "id", "") == "TERMS"
    )
    keys = [key.value.casefold() for key in written.keys]
    assert len(keys) == len(set(keys)) == len(TERMS)


def test_meanings_are_short_whole_sentences() -> None:
    for name, entry in TERMS.items():
        assert entry.meaning.endswith("."), name
        assert len(entry.meaning) < 220, name
        assert entry.where, name


def test_a_term_carries_its_meaning_and_escapes_what_it_shows() -> None:
    text = term("gradient", "<gradients>")
    assert "&lt;gradients&gt;" in text
    assert 'tabindex="0"' in text
    assert html.escape(about("gradient")) in text
    with pytest.raises(KeyError):
        term("no such term")
