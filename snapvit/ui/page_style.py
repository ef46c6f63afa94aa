"""How much room Streamlit's own parts take: its margins and sizes would push what a page is for off the screen."""

from __future__ import annotations

import streamlit as st

from snapvit.private_names import (
    APP,
    BUTTON_GROUP,
    MAIN,
    METRIC,
    METRIC_DELTA,
    METRIC_LABEL,
    METRIC_VALUE,
    PLOT_BUTTONS,
    SIDEBAR_OPENER,
    STACK,
)

STYLE = f"""
{MAIN} {{ padding: 1rem 2.25rem 5rem; }}
/* Where the sidebar is closed, the button that opens it stands over the page's first line. */
{APP}:has({SIDEBAR_OPENER}) {MAIN} {{
  padding-top: 3.25rem;
}}
{MAIN} > {STACK} {{ gap: 0.75rem; }}
{MAIN} h1 {{ font-size: 1.75rem; line-height: 1.2; padding: 0.25rem 0; }}
{MAIN} h2 {{ font-size: 1.375rem; padding: 0.25rem 0 0.75rem; }}
{MAIN} h3 {{ font-size: 1.125rem; padding: 0.25rem 0 0.75rem; }}
[class*="st-key-numbers_"] {METRIC} > div {{ padding: 0.5rem 0.75rem; }}
[class*="st-key-numbers_"] {METRIC_LABEL} * {{ white-space: normal; }}
[class*="st-key-numbers_"] {METRIC_VALUE} {{ font-size: 1.5rem; line-height: 1.25; padding: 0; }}
[class*="st-key-numbers_"] {METRIC_DELTA} {{ padding: 0; background: none; }}
[class*="st-key-numbers_"] {METRIC_DELTA},
[class*="st-key-numbers_"] {METRIC_DELTA} * {{ white-space: normal; font-size: 0.875rem; }}
/* What does its work unseen takes no room, to the side neither. */
[class*="st-key-unseen_"] {{ position: absolute; width: 1px !important; overflow: hidden; }}
{BUTTON_GROUP} {{ flex-wrap: wrap; }}
@media (max-width: 640px) {{
  /* A title and all of a figure's buttons have no room side by side; pictures and the full screen stay. */
  {PLOT_BUTTONS}:not(:first-child, :last-child) {{ display: none; }}
  {MAIN} {{ padding-inline: 1rem; }}
}}
"""


def page_style() -> None:
    """Give the page that room."""
    st.html(f"<style>{STYLE}</style>")
