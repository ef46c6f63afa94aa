"""How much of an axis of accuracies is shown: all of it, or where the curve is. One choice for a page's figures."""

from __future__ import annotations

import streamlit as st

from snapvit.ui.controlled import controlled
from snapvit.ui.selection import put_setting, setting

AXIS, EXTENTS = "axis", ("whole", "curve")  # the setting in the address


def is_zoomed() -> bool:
    """Whether the axis shows no more than where the curve is."""
    return setting(AXIS, EXTENTS, "whole") == "curve"


def zoom(on: bool) -> None:
    """Choose it, in a callback."""
    put_setting(AXIS, "curve" if on else "whole")


def axis_switch() -> bool:
    """Draw the switch of a page whose figures are plotly's; returns what it says."""
    zoomed = is_zoomed()
    st.toggle("Zoom to the curve", **controlled("axis_switch", zoomed, zoom))
    return zoomed
