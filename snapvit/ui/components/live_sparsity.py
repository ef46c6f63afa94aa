"""The live sparsity slider on a page: Streamlit's own slider answers on release only.

Everything in it follows the thumb while it is held, Python hears of its release (see snapvit/browser/live_sparsity).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from snapvit.browser.live_sparsity import CSS, HTML, SCRIPT, LiveSparsity, payload
from snapvit.ui.components.mounting import component
from snapvit.ui.components.parts import hand_part

_mount = component("live_sparsity", html=HTML, css=CSS, script=SCRIPT)


@dataclass
class _Thumb:
    """What the session remembers of one slider."""

    sparsity: float
    turn: int = 0  # rises when Python moves the thumb: the browser obeys a new turn and ignores an old one


def live_sparsity(
    data: LiveSparsity,
    value: float,
    key: str,
    on_release: Callable[[float], None],
    file: str = "sparsity",
    zoomed: bool = False,
    on_zoom: Callable[[bool], None] | None = None,
) -> None:
    """Draw the component. A released thumb calls on_release(sparsity), snapped to a step, before the next run.

    `value` is what the page has selected: while it is what the last release said, the thumb stays where it is; any
    other value (a deep link, a button) moves the thumb there, unless a person is holding it. `file` begins the names of
    saved pictures. While `zoomed`, the curve's axis shows where the curve is and no more; the switch calls on_zoom.
    """
    memory = f"_{key}_thumb"
    asked = data.snap(value)
    is_new = memory not in st.session_state
    thumb: _Thumb = st.session_state.setdefault(memory, _Thumb(asked))
    if asked != data.snap(thumb.sparsity):
        thumb = st.session_state[memory] = _Thumb(asked, thumb.turn + 1)

    def released() -> None:
        sparsity = _released(st.session_state.get(key))
        if sparsity is not None:
            # The browser's thumb is there already, so this is no new turn.
            st.session_state[memory] = _Thumb(data.snap(sparsity), st.session_state[memory].turn)
            on_release(data.snap(sparsity))

    def switched() -> None:
        asked = (st.session_state.get(key) or {}).get("zoomed")
        if on_zoom is not None and isinstance(asked, bool):
            on_zoom(asked)

    told = {"on_released_change": released, "on_zoomed_change": switched}
    result = _mount(key=key, data=payload(data) | {"key": key, "file": file}, **told)
    # After a restart of the server a release may be the first that the new session hears, which has nobody yet to call.
    if is_new and _released(result, "was") == asked != _released(result):
        released()
        st.rerun()
    hand_part(key, "thumb", {"value": thumb.sparsity, "turn": thumb.turn, "zoomed": zoomed})


def _released(component: Any, part: str = "sparsity") -> float | None:
    """Where the thumb was let go, or where it `was` by what Python had told."""
    released = component.get("released") if component else None
    try:
        return float(released[part])
    except (TypeError, KeyError, ValueError):  # it comes from a browser
        return None
