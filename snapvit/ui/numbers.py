"""Headline numbers in one row, low enough to leave the screen to what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snapvit.ui.flow import flowing_columns


@dataclass(frozen=True)
class Number:
    """A headline number. `note` says what it is of, or how it was found."""

    label: str
    value: str
    note: str | None = None


def number_row(numbers: Sequence[Number], key: str, least: int = 130) -> None:
    """Draw the numbers, each at least so many pixels wide; a row that has no room for one starts another.

    key: a name of its own for each row on a page.
    """
    for column, number in zip(flowing_columns(len(numbers), least, key=f"numbers_{key}"), numbers, strict=True):
        column.metric(
            number.label,
            number.value,
            number.note,
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
        )
