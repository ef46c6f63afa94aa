"""Names of Streamlit's that it does not call public: all that the dashboard uses, and nowhere else.

A new version may change any of them without a word, so `CHECKED_WITH` says which they were seen to work with; a test
fails where another is installed until somebody has looked (tests/test_private_names.py). The browser's side of them is
browser/scripts/private_names.js.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest
from streamlit.runtime import get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

CHECKED_WITH = {"streamlit": "1.67.0", "plotly": "7.1.0"}  # the plotly.js in the browser is Streamlit's

# Selectors of what Streamlit draws, and plotly for it.
APP = '[data-testid="stApp"]'
MAIN = '[data-testid="stMainBlockContainer"]'
SIDEBAR_OPENER = '[data-testid="stExpandSidebarButton"]'
STACK = '[data-testid="stVerticalBlock"]'
WRAPPER = '[data-testid="stLayoutWrapper"]'
ROW = '[data-testid="stHorizontalBlock"]'
COLUMN = '[data-testid="stColumn"]'
MARKDOWN = '[data-testid="stMarkdownContainer"]'
METRIC = '[data-testid="stMetric"]'
METRIC_LABEL = '[data-testid="stMetricLabel"]'
METRIC_VALUE = '[data-testid="stMetricValue"]'
METRIC_DELTA = '[data-testid="stMetricDelta"]'
BUTTON_GROUP = '[data-testid="stButtonGroup"] > [role="radiogroup"]'
PLOT_BUTTONS = ".modebar-group"
PLOT_BAR = ".modebar-container"
CHART = '[data-testid="stPlotlyChart"]'
SIDEBAR = '[data-testid="stSidebar"]'
HEADER = '[data-testid="stHeader"]'
POPOVER = '[data-testid="stPopover"]'
BUTTON = '[data-testid="stButton"]'
SLIDER = '[data-testid="stSlider"]'
PAGE = '[data-testid="stMain"]'
SCROLLERS = '#root, [data-testid="stApp"], [data-testid="stAppViewContainer"], [data-testid="stMain"]'
# What a person sets a page with, sliders apart, and what leads away from it.
PICKERS = ", ".join(
    f'[data-testid="st{kind}"]'
    for kind in (
        *("Selectbox", "MultiSelect", "NumberInput", "TextInput", "Checkbox", "ButtonGroup", "Radio"),
        *("PageLink", "DownloadButton"),
    )
)


def went_through_history() -> bool:
    """Whether this run was asked for by the browser's Back or Forward."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def declare_scripts(package: str, component: str, root: Path, folder: str) -> None:
    """Have the running server serve `folder` of `root` to a component, as an installed package's manifest would."""
    manager = get_bidi_component_manager()
    if manager.get_component_asset_root(f"{package}.{component}") is None:
        manifest = ComponentManifest(package, version="", components=[ComponentConfig(component, folder)])
        manager.register_from_manifest(manifest, root)


def forget_expired_sessions() -> None:
    """Have Streamlit drop what closed tabs held for longer than it keeps it; by itself it does so at the next visit.

    A version that keeps its sessions elsewhere goes on as it does by itself.
    """
    with contextlib.suppress(AttributeError, RuntimeError):
        get_instance()._session_mgr._session_storage._cache.expire()
