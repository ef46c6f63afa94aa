"""How much room Streamlit's own parts take: its margins and sizes would push what a page is for off the screen."""

from __future__ import annotations

import streamlit as st

from snapvit.private_names import (
    APP,
    BUTTON,
    BUTTON_GROUP,
    CHART,
    HEADER,
    MAIN,
    METRIC,
    METRIC_DELTA,
    METRIC_LABEL,
    METRIC_VALUE,
    PAGE,
    PICKERS,
    PLOT_BAR,
    PLOT_BUTTONS,
    POPOVER,
    SCROLLERS,
    SIDEBAR,
    SIDEBAR_OPENER,
    SLIDER,
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
/* The job goes along with the form's button, however long the form is. */
.st-key-form_and_job {STACK} > :has(.st-key-job_panel) {{ position: sticky; top: 3.75rem; }}
@media (max-width: 640px) {{
  /* A title and all of a figure's buttons have no room side by side; pictures and the full screen stay. */
  {PLOT_BUTTONS}:not(:first-child, :last-child) {{ display: none; }}
  {MAIN} {{ padding-inline: 1rem; }}
}}
"""

# A page that is presented: what it says, in bigger type, its sliders, and what is in `.st-key-steps`.
PRESENTED = f"""
html {{ font-size: 110%; }}
{SIDEBAR}, {HEADER}, {SIDEBAR_OPENER} {{ display: none !important; }}
{MAIN} {{ padding-top: 1rem !important; }}
[class*="st-key-take_"], {PLOT_BAR} {{ display: none !important; }}
{PAGE} :is({PICKERS}, {POPOVER}):not(.st-key-steps *) {{ display: none; }}
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
  {SIDEBAR}, {HEADER}, {SIDEBAR_OPENER}, {PLOT_BAR}, [class*="st-key-take_"],
  .st-key-presenting, .st-key-steps, {PAGE} :is({PICKERS}, {POPOVER}, {BUTTON}, {SLIDER}) {{
    display: none !important;
  }}
  html, body, {SCROLLERS} {{
    position: static !important; height: auto !important; overflow: visible !important; display: block !important;
  }}
  {MAIN} {{ padding: 0 !important; }}
  h1, h2, h3 {{ break-after: avoid; }}
  {CHART}, {METRIC}, img, .katex-display, p {{ break-inside: avoid; }}
}}
"""


def page_style(presented: bool) -> None:
    """Give the page that room; presented: without sidebar and controls."""
    st.html(f"<style>{STYLE}{PRINTED}{PRESENTED if presented else ''}</style>")
