"""Parts of a component's data that change on their own.

Streamlit sends a component whole whenever anything in it is different. What changes with a look around is therefore
handed to a large component beside it, in a few bytes; its script waits for that (scripts/joining.js).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snapvit.ui.components import UNSEEN
from snapvit.ui.components.mounting import component

_mount = component("parts")


def hand_part(to: str, name: str, data: Mapping[str, Any]) -> None:
    """Hand `data` to the component with key `to`, which waits for the part with this name."""
    _mount(key=f"{UNSEEN}part_{to}_{name}", data={"to": to, "name": name, "data": dict(data)}, height=1)
