"""A table under a figure: for reading exact numbers, for screen readers, and to take away."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st


def table_to_keep(title: str, table: pd.DataFrame, file: str) -> None:
    """A folded table with a button that downloads it as CSV."""
    numbers = [name for name in table.columns if table[name].dtype.kind == "f"]
    with st.expander(title):
        formats = {name: st.column_config.NumberColumn(format="%.4g") for name in numbers}
        st.dataframe(table, hide_index=True, column_config=formats, alt=title)
        csv_button(table, file, key=f"download_{file}", help="This table")


def in_percent(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table as it is to be read, with this column of shares, if it has it, in percent."""
    return table.assign(**{column: 100 * table[column]}) if column in table.columns else table


def csv_button(table: pd.DataFrame | Callable[[], pd.DataFrame], file: str, key: str, help: str) -> None:
    """A button that downloads `table` as `file`.csv; made and written when it is asked for."""
    st.download_button(
        "CSV",
        lambda: (table() if callable(table) else table).to_csv(index=False),
        f"{file}.csv",
        "text/csv",
        on_click="ignore",
        key=key,
        help=help,
    )
