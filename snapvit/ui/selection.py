"""The one selection that goes from page to page: in the address, so that a link or a reload shows the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from snapvit.pipeline.config import PATH_END

DEFAULT_SPARSITY = 0.5
SESSION_KEY = "selection"


@dataclass(frozen=True)
class Selection:
    """What the person is looking at."""

    run: str | None = None
    sparsity: float = DEFAULT_SPARSITY
    head: tuple[int, int] | None = None  # (block, head), counted from 0

    def query(self) -> dict[str, str]:
        """As parameters of an address; people count blocks and heads from 1."""
        query = {"s": f"{self.sparsity:.4g}"}
        if self.run is not None:
            query["run"] = self.run
        if self.head is not None:
            query["head"] = f"{self.head[0] + 1}-{self.head[1] + 1}"
        return query


def current(runs: list[str]) -> Selection:
    """The selection of this session, the address having the last word; unreadable parts fall back to defaults."""
    before: Selection = st.session_state.get(SESSION_KEY, Selection())
    query = st.query_params
    run = query.get("run", before.run)
    selection = Selection(
        run=run if run in runs else (runs[0] if runs else None),
        sparsity=_sparsity(query.get("s"), before.sparsity),
        head=_head(query["head"]) if "head" in query else before.head,
    )
    return remember(selection)


def remember(selection: Selection) -> Selection:
    """Keep the selection for the session and write it into the address."""
    st.session_state[SESSION_KEY] = selection
    wanted = selection.query()
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)
    return selection


def change(**parts: object) -> Selection:
    """Keep a changed selection, for example `change(sparsity=0.4)`."""
    return remember(replace(st.session_state.get(SESSION_KEY, Selection()), **parts))


def _sparsity(text: str | None, default: float) -> float:
    try:
        value = float(text) if text is not None else default
    except ValueError:
        return default
    return min(PATH_END, max(0.0, value)) if value == value else default


def _head(text: str) -> tuple[int, int] | None:
    block, _, head = text.partition("-")
    if block.isdecimal() and head.isdecimal() and int(block) > 0 and int(head) > 0:
        return int(block) - 1, int(head) - 1
    return None
