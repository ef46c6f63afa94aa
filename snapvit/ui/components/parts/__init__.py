"""Parts of a component's data that change on their own.

Streamlit sends a component whole, scripts and numbers, whenever anything in it is different. What changes with a look
around is therefore handed to a large component beside it, in a few bytes.
The script beside this file is a constant; names reach it only as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from snapvit.ui.components import UNSEEN

HERE = Path(__file__).parent


def hand_part(to: str, name: str, data: Mapping[str, Any]) -> None:
    """Hand `data` to the component with key `to`, which waits for the part with this name."""
    _component()(key=f"{UNSEEN}part_{to}_{name}", data={"to": to, "name": name, "data": dict(data)}, height=1)


@cache
def _component() -> Callable[..., Any]:
    script = (HERE / "parts.js").read_text(encoding="utf-8")
    return st.components.v2.component("snapvit_parts", html="<i></i>", js=script)


def joining() -> str:
    """Script for a component that is handed parts; it is to be put in front of the component's own."""
    return (HERE / "joining.js").read_text(encoding="utf-8")
