"""Widgets that show a part of the selection, which clicks, other widgets and the address change too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

SHOWN = "controlled_widgets"  # session key: {name: (version, value)} of what each was last drawn with


def controlled(
    name: str, value: Any, chosen: Callable[[Any], object], options: Sequence[Any] | None = None
) -> dict[str, Any]:
    """`key`, `on_change` and `value` of a widget that shows `value`; chosen(new) is called with what the person
    chooses. With `options`, those of a box, `index` in the place of `value`.

    A value from elsewhere makes a new widget. Were it given to the old one, a timer's rerun that is on its way just
    then would still carry the old value, and that would pass for the person's choice.

    Nor is it put into the session's state: Streamlit sends that with the next run alone, and where another run
    follows before the browser has drawn the widget, it is drawn empty, and the next click would bring that as the
    person's choice. Each run sends the default.
    """
    shown: dict[str, tuple[int, object]] = st.session_state.setdefault(SHOWN, {})
    version, before = shown.get(name, (0, value))
    version += before != value
    shown[name] = (version, value)
    key = f"{name}-{version}" if version else name

    def changed() -> None:
        # Such a rerun may also bring a widget that is no longer there, or was on the page before this one.
        if shown[name][0] != version or key not in st.session_state:
            return
        shown[name] = (version, st.session_state[key])
        chosen(st.session_state[key])

    default = {"value": value} if options is None else {"index": options.index(value) if value in options else None}
    return {"key": key, "on_change": changed} | default
