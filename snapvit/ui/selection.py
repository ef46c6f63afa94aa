"""The one selection that goes from page to page: in the address, so that a link or a reload shows the same.

Beside it a page may keep settings of its own in the address (`setting`); they stay on that page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from snapvit.artifacts import Topology
from snapvit.pipeline.config import PATH_END

DEFAULT_SPARSITY = 0.5
SESSION_KEY = "selection"
LISTENER = "selection_listener"  # session key: who redraws what shows the selection, and in which script run
PAGE = "page_open"  # session key: title of the page that is being drawn
SETTINGS = "settings_kept"  # session key: {(page, name): value} of pages that one may come back to
NAMES = ("run", "s", "at", "with", "image")  # of the selection's parts in an address


@dataclass(frozen=True)
class Structure:
    """An MLP or a head of one block, both counted from 0."""

    block: int
    head: int | None = None  # None: the MLP

    @classmethod
    def of(cls, index: int, topology: Topology) -> Structure:
        """The structure with this search index in [0, S)."""
        if index < topology.blocks:
            return cls(index)
        return cls(*divmod(index - topology.blocks, topology.heads))

    def index(self, topology: Topology) -> int:
        """Its search index in [0, S)."""
        return self.block if self.head is None else topology.blocks + self.block * topology.heads + self.head

    def fits(self, topology: Topology) -> bool:
        """Whether the model has it."""
        return self.block < topology.blocks and (self.head is None or self.head < topology.heads)

    def text(self) -> str:
        """As in an address: `3-4` or `3-mlp`; people count from 1."""
        return f"{self.block + 1}-{'mlp' if self.head is None else self.head + 1}"

    @property
    def words(self) -> str:
        """For people: `block 3 head 4`."""
        return f"block {self.block + 1} " + ("MLP" if self.head is None else f"head {self.head + 1}")

    @classmethod
    def parse(cls, text: str) -> Structure | None:
        """What `text` wrote; None for anything else."""
        block, _, head = text.partition("-")
        if not (block.isdecimal() and int(block) > 0):
            return None
        if head == "mlp":
            return cls(int(block) - 1)
        return cls(int(block) - 1, int(head) - 1) if head.isdecimal() and int(head) > 0 else None


@dataclass(frozen=True)
class Selection:
    """What the person is looking at."""

    run: str | None = None
    sparsity: float = DEFAULT_SPARSITY
    structure: Structure | None = None
    other: Structure | None = None  # the second of a pair
    image: int | None = None  # its id in the run's image source

    @property
    def head(self) -> tuple[int, int] | None:
        """(block, head) where the selected structure is a head."""
        at = self.structure
        return None if at is None or at.head is None else (at.block, at.head)

    @property
    def words(self) -> str:
        """For people: `Sparsity 65 %, block 3 head 4 with block 5 MLP, image 812`."""
        parts = [f"Sparsity {100 * self.sparsity:.4g} %"]
        structures = [s.words for s in (self.structure, self.other) if s is not None]
        if structures:
            parts.append(" with ".join(structures))
        if self.image is not None:
            parts.append(f"image {self.image}")
        return ", ".join(parts)

    def query(self) -> dict[str, str]:
        """As parameters of an address."""
        query = {"s": f"{self.sparsity:.4g}"}
        if self.run is not None:
            query["run"] = self.run
        if self.structure is not None:
            query["at"] = self.structure.text()
        if self.other is not None:
            query["with"] = self.other.text()
        if self.image is not None:
            query["image"] = str(self.image)
        return query


def current(runs: list[str]) -> Selection:
    """The selection of this session, the address having the last word; unreadable parts fall back to defaults."""
    before: Selection = st.session_state.get(SESSION_KEY, Selection())
    query = st.query_params
    run = query.get("run", before.run)
    selection = Selection(
        run=run if run in runs else (runs[0] if runs else None),
        sparsity=_sparsity(query.get("s"), before.sparsity),
        structure=Structure.parse(query["at"]) if "at" in query else before.structure,
        other=Structure.parse(query["with"]) if "with" in query else before.other,
        image=_number(query["image"]) if "image" in query else before.image,
    )
    return remember(selection)


def remember(selection: Selection) -> Selection:
    """Keep the selection for the session and write it into the address, beside the page's own settings."""
    st.session_state[SESSION_KEY] = selection
    _tell(selection)
    own = {name: value for name, value in dict(st.query_params).items() if name not in NAMES}
    wanted = own | selection.query()
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)
    return selection


def change(**parts: object) -> Selection:
    """Keep a changed selection, for example `change(sparsity=0.4)`."""
    return remember(replace(st.session_state.get(SESSION_KEY, Selection()), **parts))


def on_change(draw: Callable[[Selection], None]) -> None:
    """Have `draw` called with the new selection whenever it changes in the rest of this script run.

    A page's widgets are read after the sidebar is drawn; without this its links would lead back to the old selection.
    """
    st.session_state[LISTENER] = (_script_run(), draw)


def _tell(selection: Selection) -> None:
    script_run, draw = st.session_state.get(LISTENER, (None, None))
    if script_run is not None and script_run is _script_run():  # in a callback, what was drawn belongs to the last run
        draw(selection)


def _script_run() -> object:
    """Something that is the same throughout one run of a page's script, and another in the next."""
    context = get_script_run_ctx()
    return None if context is None else context.cursors


def setting(name: str, options: Sequence[str], default: str) -> str:
    """One of this page's own settings, to be called before the widget with `key=name` that shows it.

    The address has the first word, then what it was when the person left the page, then the widget, whose `on_change`
    needs nothing: the next run writes it back.
    """
    kept: dict[tuple[str, str], str] = st.session_state.setdefault(SETTINGS, {})
    place = (st.session_state.get(PAGE, ""), name)
    if name not in st.session_state:
        asked = st.query_params.get(name, kept.get(place, default))
        st.session_state[name] = asked if asked in options else default
    if st.session_state[name] not in options:  # a widget that lets go of its choice, or another run's options
        st.session_state[name] = default
    value = kept[place] = st.session_state[name]
    if st.query_params.get(name, default) != value:
        st.query_params[name] = value
    return value


def number_setting(name: str, least: float, most: float, default: float) -> float:
    """Like `setting`, of a number: to be called before the widget with `key=name` that shows it."""
    kept: dict[tuple[str, str], str] = st.session_state.setdefault(SETTINGS, {})
    place = (st.session_state.get(PAGE, ""), name)
    if name not in st.session_state:
        try:
            asked = float(st.query_params.get(name, kept.get(place, default)))
        except ValueError:
            asked = default
        st.session_state[name] = min(most, max(least, asked)) if asked == asked else default
    value = float(st.session_state[name])
    text = kept[place] = f"{value:.6g}"
    if st.query_params.get(name, f"{default:.6g}") != text:
        st.query_params[name] = text
    return value


def _sparsity(text: str | None, default: float) -> float:
    try:
        value = float(text) if text is not None else default
    except ValueError:
        return default
    return min(PATH_END, max(0.0, value)) if value == value else default


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None
