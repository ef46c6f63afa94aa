"""The reference: every docstring of the library as pages, in docs/reference, with no link that leads nowhere."""

from __future__ import annotations

import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
APART = ("ui", "server", "private_names", "__main__")  # what the dashboard is made of is for its pages alone


def main() -> int:
    """Build the reference; exit code 1 where a link of it is dead."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    build(FOLDER, modules())
    dead = dead_links(FOLDER)
    print("\n".join(dead) or f"{FOLDER.relative_to(ROOT)}/snapvit.html is the reference; none of its links is dead.")
    return 1 if dead else 0


def modules() -> list[str]:
    """The package and every room that is documented: pdoc by itself leaves out what `__all__` does not name."""
    rooms = {path.relative_to(ROOT / "snapvit").with_suffix("").parts[0] for path in (ROOT / "snapvit").rglob("*.py")}
    return ["snapvit", *(f"snapvit.{room}" for room in sorted(rooms - {*APART, "__init__"}))]


def build(folder: Path, names: list[str]) -> None:
    """Write the pages of these modules."""
    from pdoc import pdoc, render

    render.configure(docformat="markdown", show_source=False, search=True)
    pdoc(*names, output_directory=folder)


class _Page(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.append(value)
            if value and name in ("id", "name"):
                self.places.add(value)


def dead_links(folder: Path) -> list[str]:
    """Links of the pages in this folder to files or places in it that are not there, one line each.

    Links into the net are not followed.
    """
    pages = {path.resolve(): _Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            if not target.is_file() or (place and target in pages and place not in pages[target].places):
                found.append(f"{path.relative_to(folder.resolve())}: {link} leads nowhere")
    return found


if __name__ == "__main__":
    sys.exit(main())
