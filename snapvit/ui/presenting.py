"""What can be done with a page as a whole: copy its address, make it light or dark, and present it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from snapvit.ui.components.page_tools import copy_link, theme_switch
from snapvit.ui.selection import Selection, change


def page_tools(selection: Selection, pages: Sequence[str]) -> None:
    """The tools in the sidebar; while a page is presented they are beside it, see `presenting_tools`.

    pages: the last part of every page's address.
    """
    if not selection.present:
        with st.container(horizontal=True, gap="small", key="page_tools"):
            st.button(
                "Present",
                icon=":material/slideshow:",
                help="This page without sidebar and controls, in bigger type. Escape comes back.",
                key="present",
                on_click=change,
                kwargs={"present": True},
            )
            theme_switch(pages)
    copy_link()


def presenting_tools(selection: Selection, pages: Sequence[str]) -> None:
    """Two small buttons in the corner of a page that is presented."""
    if selection.present:
        with st.container(horizontal=True, gap="small", key="presenting"):
            theme_switch(pages)
            st.button(
                "Leave",
                icon=":material/close_fullscreen:",
                key="leave",
                shortcut="Esc",
                on_click=change,
                kwargs={"present": False},
            )
