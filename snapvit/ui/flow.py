"""Columns that wrap where the page is narrow. Streamlit's own only stack on phones, so at 800 pixels they squeeze."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from snapvit.private_names import COLUMN, ROW, WRAPPER


def flowing_columns(spec: int | Sequence[float], least: int, key: str, align: str = "top") -> list[DeltaGenerator]:
    """Like `st.columns(spec)`, but a column that would get narrower than `least` pixels starts a new row.

    key: a name of its own for each call on a page.
    """
    scope = f".st-key-{key} > {WRAPPER} > {ROW}"
    style = f"{scope} {{flex-wrap: wrap}} {scope} > {COLUMN} {{min-width: min(100%, {least}px)}}"
    with st.container(key=key):
        st.html(f"<style>{style}</style>")
        return st.columns(spec, vertical_alignment=align)
