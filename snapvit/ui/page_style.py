"""How much room Streamlit's own parts take: its margins and sizes would push what a page is for off the screen."""

from __future__ import annotations

import streamlit as st

STYLE = """
[data-testid="stMainBlockContainer"] { padding: 1rem 2.25rem 5rem; }
/* Where the sidebar is closed, the button that opens it stands over the page's first line. */
[data-testid="stApp"]:has([data-testid="stExpandSidebarButton"]) [data-testid="stMainBlockContainer"] {
  padding-top: 3.25rem;
}
[data-testid="stMainBlockContainer"] > [data-testid="stVerticalBlock"] { gap: 0.75rem; }
[data-testid="stMainBlockContainer"] h1 { font-size: 1.75rem; line-height: 1.2; padding: 0.25rem 0; }
[data-testid="stMainBlockContainer"] h2 { font-size: 1.375rem; padding: 0.25rem 0 0.75rem; }
[data-testid="stMainBlockContainer"] h3 { font-size: 1.125rem; padding: 0.25rem 0 0.75rem; }
[class*="st-key-numbers_"] [data-testid="stMetric"] > div { padding: 0.5rem 0.75rem; }
[class*="st-key-numbers_"] [data-testid="stMetricLabel"] * { white-space: normal; }
[class*="st-key-numbers_"] [data-testid="stMetricValue"] { font-size: 1.5rem; line-height: 1.25; padding: 0; }
[class*="st-key-numbers_"] [data-testid="stMetricDelta"] { padding: 0; background: none; }
[class*="st-key-numbers_"] [data-testid="stMetricDelta"],
[class*="st-key-numbers_"] [data-testid="stMetricDelta"] * { white-space: normal; font-size: 0.875rem; }
/* What does its work unseen takes no room, to the side neither. */
[class*="st-key-unseen_"] { position: absolute; width: 1px !important; overflow: hidden; }
[data-testid="stButtonGroup"] > [role="radiogroup"] { flex-wrap: wrap; }
@media (max-width: 640px) {
  /* A title and all of a figure's buttons have no room side by side; pictures and the full screen stay. */
  .modebar-group:not(:first-child, :last-child) { display: none; }
  [data-testid="stMainBlockContainer"] { padding-inline: 1rem; }
}
"""


def page_style() -> None:
    """Give the page that room."""
    st.html(f"<style>{STYLE}</style>")
