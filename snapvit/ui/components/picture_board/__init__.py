"""Thumbnails with their words, by image id; a click on one tells which. Streamlit's images cannot be clicked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import streamlit as st

from snapvit.browser import read
from snapvit.ui.components.mounting import component
from snapvit.ui.components.parts import hand_part

_mount = component("picture_board", html=read(__file__, "picture_board.html"), css=read(__file__, "picture_board.css"))


@dataclass(frozen=True)
class Card:
    """One image. The id, the picture and the words belong together and never travel apart."""

    id: int
    url: str
    title: str
    lines: tuple[str, ...] = ()
    mark: str = ""  # a word that stands out
    kind: str = ""  # its colour: left, entered, right, wrong


def picture_board(
    cards: Sequence[Card], label: str, key: str, on_picked: Callable[[int], None] | None = None, small: bool = False
) -> None:
    """Show the cards in rows. label: what they are, for screen readers. on_picked: told the id of a clicked one."""
    ids = {card.id for card in cards}

    def picked() -> None:
        sent = (st.session_state.get(key) or {}).get("picked")
        found = sent.get("value") if isinstance(sent, dict) else None
        if on_picked is not None and found in ids:
            on_picked(found)

    shown = {
        "cards": [asdict(card) for card in cards],
        "label": label,
        "clickable": on_picked is not None,
        "small": small,
    }
    _mount(key=key, data={"key": key}, on_picked_change=picked)
    hand_part(key, "cards", shown)
