"""The slider that chooses the cut wherever the page does not follow its thumb while it is held."""

from __future__ import annotations

import streamlit as st

from snapvit.pipeline.config import PATH_END
from snapvit.ui.controlled import controlled
from snapvit.ui.selection import Selection, change


def sparsity_slider(
    selection: Selection,
    label: str = "Sparsity of the cut",
    help: str | None = "Share of MLP neurons removed; heads lag 15 points behind",
) -> None:
    """Draw the slider; when it is moved, the selection is changed before the page is drawn again."""
    percent = round(100 * selection.sparsity, 2)
    st.slider(
        label,
        0.0,
        100 * PATH_END,
        step=0.5,
        format="%g %%",
        help=help,
        **controlled("sparsity_of_the_cut", percent, lambda chosen: change(sparsity=round(chosen / 100, 4))),
    )
