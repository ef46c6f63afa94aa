"""How a notebook shows a small table."""

from __future__ import annotations

from html import escape


def html_table(lines: list[tuple[str, str]]) -> str:
    """A small table of names and values."""
    rows = "".join(f"<tr><th style='text-align:left'>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in lines)
    return f"<table>{rows}</table>"
