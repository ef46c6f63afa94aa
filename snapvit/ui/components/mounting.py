"""How a component comes to the page: its markup and style go along, its script is a module that the browser fetches.

The modules in `snapvit/browser/scripts/` import one another, so Streamlit has to serve them as files, from the
component's `asset_dir`. It reads that from the `pyproject.toml` of packages that pip has installed and of no others,
but in a checkout the dashboard runs as it is; so each component declares the folder itself, in a checkout as in an
installed package (see snapvit/private_names.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import streamlit as st

from snapvit.browser import SCRIPTS
from snapvit.private_names import declare_scripts

PACKAGE = "snapvit"


def component(
    name: str, html: str = "<i></i>", css: str | None = None, script: str | None = None
) -> Callable[..., Any]:
    """What mounts the component `name`: called like a component of Streamlit's.

    script: module in `snapvit/browser/scripts/`; without one, the one with the component's name.
    """
    full = f"{PACKAGE}.{name}"

    @cache
    def registered() -> Callable[..., Any]:
        return st.components.v2.component(full, html=html, css=css, js=script or f"{name}.js")

    def mount(**settings: Any) -> Any:
        declare_scripts(
            PACKAGE, name, SCRIPTS.parent, SCRIPTS.name
        )  # of the server that runs now; a test may start many
        return registered()(**settings)

    return mount
