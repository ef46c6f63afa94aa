"""The one selection that goes from page to page: in the address, so that a link or a reload shows the same.

Beside it a page may keep settings of its own in the address (`setting`); they stay on that page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import streamlit as st

from snapvit.artifacts import Topology
from snapvit.formats import ratio
from snapvit.pipeline.config import PATH_END
from snapvit.private_names import went_through_history

DEFAULT_SPARSITY = 0.5
SESSION_KEY = "selection"
PAGE = "page_open"  # session key: title of the page that is or was drawn
VISIT = "visit"  # session key: how often the address had the last word
SETTINGS = "settings_kept"  # session key: {(page, name): (visit that it is of, value)}
VERSIONS = "setting_versions"  # session key: {name: how often another widget had to show it}
NAMES = ("run", "s", "correct", "at", "with", "image", "present")  # of the selection's parts in an address

V = TypeVar("V")


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
        number, unit = _number(block), _number(head)
        if not number:
            return None
        if head == "mlp":
            return cls(number - 1)
        return cls(number - 1, unit - 1) if unit else None


@dataclass(frozen=True)
class Selection:
    """What the person is looking at."""

    run: str | None = None
    sparsity: float = DEFAULT_SPARSITY
    correct: bool = False  # whether cuts are looked at with corrected weights
    structure: Structure | None = None
    other: Structure | None = None  # the second of a pair
    image: int | None = None  # its id in the run's image source
    present: bool = False  # whether pages are shown without sidebar and controls
    untouched: bool = True  # whether nobody chose the sparsity yet

    @property
    def head(self) -> tuple[int, int] | None:
        """(block, head) where the selected structure is a head."""
        at = self.structure
        return None if at is None or at.head is None else (at.block, at.head)

    @property
    def words(self) -> str:
        """For people: `Sparsity 65 %, block 3 head 4 with block 5 MLP, image 812`."""
        parts = [f"Sparsity {ratio(self.sparsity)}" + (" corrected" if self.correct else "")]
        structures = [s.words for s in (self.structure, self.other) if s is not None]
        if structures:
            parts.append(" with ".join(structures))
        if self.image is not None:
            parts.append(f"image {self.image}")
        return ", ".join(parts)

    def query(self) -> dict[str, str]:
        """As parameters of an address."""
        query = {} if self.untouched else {"s": f"{self.sparsity:.4g}"}
        if self.run is not None:
            query["run"] = self.run
        if self.correct:
            query["correct"] = "1"
        if self.structure is not None:
            query["at"] = self.structure.text()
        if self.other is not None:
            query["with"] = self.other.text()
        if self.image is not None:
            query["image"] = str(self.image)
        if self.present:
            query["present"] = "1"
        return query


def current(default_run: str | None, page: str) -> Selection:
    """The selection of this session on the page with this title; unreadable parts of an address fall back to defaults.
    A run that was asked for stays what it is, also where there is none of that name.

    The address has the last word where it is news: when the page is opened, and after Back or Forward. At other times
    it may be old: a timer's rerun brings the address that the browser had when the timer went off.
    """
    before: Selection = st.session_state.get(SESSION_KEY, Selection())
    if went_through_history():  # to an address that was written here, whole
        before = Selection(run=before.run)
    elif st.session_state.get(PAGE) == page:
        return remember(replace(before, run=before.run or default_run))
    st.session_state[PAGE], st.session_state[VISIT] = page, visit() + 1
    query = st.query_params
    selection = Selection(
        run=query.get("run") or before.run or default_run,
        sparsity=_sparsity(query.get("s"), before.sparsity),
        correct=query["correct"] == "1" if "correct" in query else before.correct,
        structure=Structure.parse(query["at"]) if "at" in query else before.structure,
        other=Structure.parse(query["with"]) if "with" in query else before.other,
        image=_number(query["image"]) if "image" in query else before.image,
        present=query["present"] == "1" if "present" in query else before.present,
        untouched=before.untouched and "s" not in query,
    )
    return remember(selection)


def remember(selection: Selection, **settings: str) -> Selection:
    """Keep the selection for the session and write it into the address, beside the page's own settings.

    `settings`: those that change with it. What is written at once is one step for Back.
    """
    st.session_state[SESSION_KEY] = selection
    own = {name: value for name, value in dict(st.query_params).items() if name not in NAMES}
    wanted = own | settings | selection.query()
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)
    return selection


def visit() -> int:
    """Another number each time that a page is opened, or gone to by Back or Forward."""
    return st.session_state.get(VISIT, 0)


def change(**parts: object) -> Selection:
    """Keep a changed selection, for example `change(sparsity=0.4)`.

    To be called in a widget's callback, or before a rerun: what the page has drawn so far shows the old selection.
    """
    return remember(_changed(parts))


def _changed(parts: dict[str, object]) -> Selection:
    touched = {"untouched": False} if "sparsity" in parts else {}
    return replace(st.session_state.get(SESSION_KEY, Selection()), **parts, **touched)


def setting_key(name: str) -> str:
    """Key of the widget that shows the page's setting with this name.

    A value from elsewhere makes a new widget, see `controlled`.
    """
    version = st.session_state.get(VERSIONS, {}).get(name, 0)
    return f"{name}-{version}" if version else name


def put_setting(name: str, value: str | float, **parts: object) -> None:
    """Change a page's own setting, and parts of the selection with it, in a callback that is not its widget's."""
    _renew(name)
    _settings()[st.session_state.get(PAGE), name] = visit(), value
    remember(_changed(parts), **{name: _text(value)})


def setting(name: str, options: Sequence[str], default: str) -> str:
    """One of this page's own settings, to be called before the widget that shows it.

    The widget has `setting_key(name)` as its key and what this returns as its default. Its `on_change` needs nothing:
    the next run keeps its value and writes it into the address.

    When the page is opened the address has the first word, then what it was when the person left the page.
    """
    return _setting(name, default, str, lambda value: value in options)


def text_setting(name: str, default: str = "") -> str:
    """Like `setting`, of any text."""
    return _setting(name, default, str, lambda value: isinstance(value, str))


def number_setting(name: str, least: float, most: float, default: float) -> float:
    """Like `setting`, of a number."""

    def parse(text: str) -> float:
        value = float(text)
        return min(most, max(least, value)) if value == value else default

    return _setting(name, default, parse, lambda value: value is not None)


def limit_setting(name: str) -> float | None:
    """Like `setting`, of a number that is not negative, or none."""

    def parse(text: str) -> float | None:
        value = float(text) if text else None
        return value if value is None or 0 <= value < float("inf") else None

    return _setting(name, None, parse, lambda value: True)


def _setting(name: str, default: V, parse: Callable[[str], V], fits: Callable[[V], bool]) -> V:
    key, here, page, kept = setting_key(name), visit(), st.session_state.get(PAGE), _settings()
    seen, value = kept.get((page, name), (None, default))
    if seen != here:  # the page was opened, or gone to by Back or Forward: then the address is news
        text = st.query_params.get(name)
        if text is not None:
            value = _parsed(text, parse, default)
        elif went_through_history():
            value = default
    elif key in st.session_state:
        value = st.session_state[key]
    if not fits(value):  # a widget that lets go of its choice, or another run's options
        value = default
    if key in st.session_state and st.session_state[key] != value:
        _renew(name)
    kept[page, name] = here, value
    _write(name, _text(value), _text(default))
    return value


def _settings() -> dict[tuple[str | None, str], tuple[int, Any]]:
    return st.session_state.setdefault(SETTINGS, {})


def _renew(name: str) -> None:
    """Have a new widget show the setting."""
    versions = st.session_state.setdefault(VERSIONS, {})
    versions[name] = versions.get(name, 0) + 1


def _parsed(text: str, parse: Callable[[str], V], default: V) -> V:
    try:
        return parse(text)
    except ValueError:
        return default


def _text(value: str | float | None) -> str:
    """As in an address."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def _write(name: str, value: str, default: str) -> None:
    if st.query_params.get(name, default) == value:
        return
    if value:
        st.query_params[name] = value
    else:
        del st.query_params[name]


def _sparsity(text: str | None, default: float) -> float:
    try:
        value = float(text) if text is not None else default
    except ValueError:
        return default
    return min(PATH_END, max(0.0, value)) if value == value else default


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None
