"""The report of a cut, to attach to a decision."""

from __future__ import annotations

import streamlit as st

from snapvit.formats import ratio
from snapvit.pipeline.results import RunResults
from snapvit.report.report import report_of


def report(results: RunResults, pair: tuple[float, float]) -> None:
    """A button that downloads it; it is made when it is asked for."""
    st.header("A report to attach")
    st.markdown(
        f"One HTML file on the cut at {ratio(pair[0])} of neurons and {ratio(pair[1])} of heads: what it "
        "costs, what stays, how the ranking stands beside rivals, every setting and "
        "version. It needs no network and no server."
    )
    st.download_button(
        "Report (HTML, 5 MB)",
        lambda: report_of(results, pair),
        f"{results.summary.run}-{pair[0]:g}-{pair[1]:g}.html",
        "text/html",
        on_click="ignore",
        key="report",
        icon=":material/description:",
    )
