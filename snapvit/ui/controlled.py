"""Widgets that show a part of the selection, which clicks, other widgets and the address change too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

SHOWN = "controlled_widgets"  # session key: {name: (version, value)} of what each was last drawn with


def controlled(name: str, value: object, chosen: Callable[[Any], object]) -> dict[str, Any]:
    """`key` and `on_change` of a widget that shows `value`; chosen(new) is called with what the person chooses.

    A value from elsewhere makes a new widget. Were it given to the old one, a timer's rerun that is on its way just
    then would still carry the old value, and that would pass for the person's choice.
    """
    shown: dict[str, tuple[int, object]] = st.session_state.setdefault(SHOWN, {})
    version, before = shown.get(name, (0, value))
    version += before != value
    shown[name] = (version, value)
    key = f"{name}-{version}" if version else name
    if key not in st.session_state:
        st.session_state[key] = value

    def changed() -> None:
        # Such a rerun may also bring a widget that is no longer there, or was on the page before this one.
        if shown[name][0] != version or key not in st.session_state:
            return
        shown[name] = (version, st.session_state[key])
        chosen(st.session_state[key])

    return {"key": key, "on_change": changed}
