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


# What a person sets a page with. Not among it: sliders, which are what one moves before others.
INPUTS = """
  [data-testid="stSelectbox"], [data-testid="stMultiSelect"], [data-testid="stNumberInput"],
  [data-testid="stTextInput"], [data-testid="stCheckbox"], [data-testid="stButtonGroup"], [data-testid="stRadio"],
  [data-testid="stPageLink"], [data-testid="stDownloadButton"]
"""
# A page that is presented: what it says, in bigger type, its sliders, and what is in `.st-key-steps`.
PRESENTED = f"""
html {{ font-size: 110%; }}
[data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stExpandSidebarButton"] {{
  display: none !important;
}}
[data-testid="stMainBlockContainer"] {{ padding-top: 1rem !important; }}
[class*="st-key-take_"], .st-key-title [data-testid="stPopover"], .modebar-container {{ display: none !important; }}
[data-testid="stMain"] :is({INPUTS}) {{ display: none; }}
.st-key-presenting {{
  position: fixed; right: 0.75rem; top: 0.75rem; width: auto !important; z-index: 20; opacity: 0.4;
}}
.st-key-presenting:is(:hover, :focus-within) {{ opacity: 1; }}
"""
# On paper: the page from its first line to its last, without what can only be clicked, in the colours of the screen.
PRINTED = f"""
@media print {{
  * {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
  @page {{ margin: 12mm; }}
  [data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stExpandSidebarButton"], .modebar-container,
  [class*="st-key-take_"], .st-key-title [data-testid="stPopover"], .st-key-presenting, .st-key-steps,
  [data-testid="stMain"] :is({INPUTS}, [data-testid="stButton"], [data-testid="stSlider"]) {{
    display: none !important;
  }}
  html, body, #root, [data-testid="stApp"], [data-testid="stAppViewContainer"], [data-testid="stMain"] {{
    position: static !important; height: auto !important; overflow: visible !important; display: block !important;
  }}
  [data-testid="stMainBlockContainer"] {{ padding: 0 !important; }}
  h1, h2, h3 {{ break-after: avoid; }}
  [data-testid="stPlotlyChart"], [data-testid="stMetric"], [data-testid="stAlert"], img, .katex-display, p {{
    break-inside: avoid;
  }}
}}
"""


def page_style(presented: bool) -> None:
    """Give the page that room; presented: without sidebar and controls."""
    st.html(f"<style>{STYLE}{PRINTED}{PRESENTED if presented else ''}</style>")
