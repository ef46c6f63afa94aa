"""The report: one HTML file with everything in it, which needs no network and no server."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

import plotly.graph_objects as go

STYLE = """
body {font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1000px; margin: 2em auto; padding: 0 1em}
h1 {margin-bottom: 0} h2 {margin-top: 2em; border-bottom: 1px solid #ccc}
table {border-collapse: collapse; margin: 1em 0} td, th {border: 1px solid #ccc; padding: .25em .7em; text-align: right}
td:first-child, th:first-child {text-align: left} .quiet {color: #666} .verdict {font-size: 1.15em}
pre {background: #f5f5f5; padding: 1em; overflow-x: auto; white-space: pre-wrap}
figure {margin: 1em 0} figcaption {color: #444}
@media print {figure, table {break-inside: avoid}}
"""
PACKAGES = ("torch", "timm", "faiss-cpu", "scikit-learn", "numpy", "plotly")


@dataclass
class Page:
    """Grows from top to bottom. All text is escaped here, so callers give plain words."""

    title: str
    _parts: list[str] = field(default_factory=list)
    _figures: int = 0

    def heading(self, words: str) -> None:
        """A section begins."""
        self._parts.append(f"<h2>{html.escape(words)}</h2>")

    def text(self, words: str, kind: str = "") -> None:
        """A paragraph; **bold** is bold. kind: `verdict` or `quiet`."""
        marked = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(words))
        self._parts.append(f'<p class="{kind}">{marked}</p>' if kind else f"<p>{marked}</p>")

    def figure(self, figure: go.Figure, reading: str) -> None:
        """A figure that can be hovered, with its sentence; the library is written once."""
        drawn = (
            go.Figure(figure)
            .update_layout(template="plotly_white")
            .to_html(
                full_html=False,
                include_plotlyjs=not self._figures,
                div_id=f"figure-{self._figures}",
                config={"displaylogo": False, "responsive": True},
            )
        )
        self._figures += 1
        self._parts.append(f"<figure>{drawn}<figcaption>{html.escape(reading)}</figcaption></figure>")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Rows of words and numbers that are written already."""
        columns = "".join(f"<th>{html.escape(name)}</th>" for name in head)
        cells = ("".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows)
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        self._parts.append(f"<table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>")

    def listing(self, words: str) -> None:
        """Text as it stands, such as a file."""
        self._parts.append(f"<pre>{html.escape(words)}</pre>")

    def write(self) -> str:
        """The file's content."""
        made = f"{datetime.now():%Y-%m-%d %H:%M}"
        title = html.escape(self.title)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"
            f'<p class="quiet">Made by the SnapViT explorer, {made}</p>{"".join(self._parts)}</body></html>'
        )


def versions() -> list[tuple[str, str]]:
    """What the numbers were made with, as far as it is installed here."""
    found = []
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
