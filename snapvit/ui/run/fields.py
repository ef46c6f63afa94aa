"""Fields of the form that keep what was entered in the address, so that it outlives a reload and goes into a link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamlit.delta_generator import DeltaGenerator

from snapvit.ui.selection import limit_setting, number_setting, setting, setting_key, text_setting

FAR = 1e9  # no number of the form is larger


def choice(where: DeltaGenerator, label: str, name: str, options: Sequence[str], default: str, **more: Any) -> str:
    """One of these, from a box drawn in this place."""
    chosen = setting(name, options, default)
    where.selectbox(label, options, options.index(chosen), key=setting_key(name), **more)
    return chosen


def text(where: DeltaGenerator, label: str, name: str, default: str = "", **more: Any) -> str:
    """A line of text."""
    typed = text_setting(name, default)
    where.text_input(label, typed, key=setting_key(name), **more)
    return typed


def number(where: DeltaGenerator, label: str, name: str, default: int | float, step: int | float, **more: Any) -> Any:
    """A number of the default's kind."""
    kind = type(default)
    value = kind(number_setting(name, more.get("min_value", -FAR), more.get("max_value", FAR), default))
    where.number_input(label, value=value, step=step, key=setting_key(name), **more)
    return value


def number_or_none(where: DeltaGenerator, label: str, name: str, least: int, most: int, **more: Any) -> int | None:
    """A whole number between these, or none."""
    given = limit_setting(name)
    value = None if given is None else int(min(most, max(least, given)))
    where.number_input(label, least, most, value, step=1, key=setting_key(name), **more)
    return value
