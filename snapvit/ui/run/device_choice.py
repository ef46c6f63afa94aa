"""The form's choice of the device that computes; nothing is asked where there is but one."""

from __future__ import annotations

import streamlit as st

from snapvit.devices import chosen, device_label, devices
from snapvit.errors import InputError
from snapvit.ui.names import as_markdown
from snapvit.ui.run.fields import choice
from snapvit.ui.selection import setting


def device_chosen() -> str | None:
    """One of this machine's, as the form has it; None, then said, where SNAPVIT_DEVICE names none of them."""
    try:
        return setting("device", devices(), chosen())
    except InputError as error:
        st.error(as_markdown(str(error)))
        return None


def ask_device() -> None:
    """Draw the field, where `device_chosen` gave one."""
    if len(devices()) > 1:
        choice(
            st,
            "Computed on",
            "device",
            devices(),
            chosen(),
            format_func=device_label,
            help="The numbers of another kind of device differ in their last digits, so they are a run of their own.",
        )
