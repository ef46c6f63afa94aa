"""Names that people gave to classes, in a figure as they were typed."""

from __future__ import annotations

MOST = 40  # characters of a name where there is little room
# Plotly reads a part of HTML, mathematics between dollars, and %{...} in what is shown of a point.
PLOTLY = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "%{": "&#37;{"}


def as_plotly(text: str) -> str:
    """`text` within a title, a label or a hover of a figure, where it reads as typed."""
    for sign, written in PLOTLY.items():
        text = text.replace(sign, written)
    return text


def shortened(text: str, most: int = MOST) -> str:
    """At most so many characters; an ellipsis says that there are more."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
