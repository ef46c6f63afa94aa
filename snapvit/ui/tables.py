"""A table under a figure: for reading exact numbers, for screen readers, and to take away."""

from __future__ import annotations

import pandas as pd
import streamlit as st


def table_to_keep(title: str, table: pd.DataFrame, file: str) -> None:
    """A folded table with a button that downloads it as CSV."""
    numbers = [name for name in table.columns if table[name].dtype.kind == "f"]
    with st.expander(title):
        formats = {name: st.column_config.NumberColumn(format="%.4g") for name in numbers}
        st.dataframe(table, hide_index=True, column_config=formats)
        st.download_button(
            "Download as CSV",
            table.to_csv(index=False),
            file,
            "text/csv",
            on_click="ignore",
            icon=":material/download:",
            key=f"download_{file}",
        )
