"""The one selection that goes from page to page: in the address, so that a link or a reload shows the same.

Beside it a page may keep settings of its own in the address (`setting`); they stay on that page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from snapvit.artifacts import Topology
from snapvit.formats import ratio
from snapvit.pipeline.config import PATH_END

DEFAULT_SPARSITY = 0.5
SESSION_KEY = "selection"
PAGE = "page_open"  # session key: title of the page that is or was drawn
VISIT = "visit"  # session key: how often the address had the last word
SETTINGS = "settings_kept"  # session key: {(page, name): value} of pages that one may come back to
VERSIONS = "setting_versions"  # session key: {name: how often `put_setting` changed it}
NAMES = ("run", "s", "correct", "at", "with", "image")  # of the selection's parts in an address


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
        query = {"s": f"{self.sparsity:.4g}"}
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
        return query


def current(runs: list[str], page: str) -> Selection:
    """The selection of this session on the page with this title; unreadable parts of an address fall back to defaults.

    The address has the last word where it is news: when the page is opened, and after Back or Forward. At other times
    it may be old: a timer's rerun brings the address that the browser had when the timer went off.
    """
    before: Selection = st.session_state.get(SESSION_KEY, Selection())
    if _went_through_history():  # to an address that was written here, whole
        before = Selection(run=before.run)
    elif st.session_state.get(PAGE) == page:
        return remember(replace(before, run=before.run if before.run in runs else _first(runs)))
    st.session_state[PAGE], st.session_state[VISIT] = page, visit() + 1
    query = st.query_params
    run = query.get("run", before.run)
    selection = Selection(
        run=run if run in runs else _first(runs),
        sparsity=_sparsity(query.get("s"), before.sparsity),
        correct=query["correct"] == "1" if "correct" in query else before.correct,
        structure=Structure.parse(query["at"]) if "at" in query else before.structure,
        other=Structure.parse(query["with"]) if "with" in query else before.other,
        image=_number(query["image"]) if "image" in query else before.image,
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


def _first(runs: list[str]) -> str | None:
    return runs[0] if runs else None


def _went_through_history() -> bool:
    """Whether this run was asked for by the browser's Back or Forward."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def change(**parts: object) -> Selection:
    """Keep a changed selection, for example `change(sparsity=0.4)`.

    To be called in a widget's callback, or before a rerun: what the page has drawn so far shows the old selection.
    """
    return remember(_changed(parts))


def _changed(parts: dict[str, object]) -> Selection:
    return replace(st.session_state.get(SESSION_KEY, Selection()), **parts)


def setting_key(name: str) -> str:
    """Key of the widget that shows the page's setting with this name, where `put_setting` may change it."""
    version = st.session_state.get(VERSIONS, {}).get(name, 0)
    return f"{name}-{version}" if version else name


def put_setting(name: str, value: str | float, **parts: object) -> None:
    """Change a page's own setting, and parts of the selection with it, in a callback that is not its widget's.

    A new widget shows it, see `controlled`.
    """
    versions = st.session_state.setdefault(VERSIONS, {})
    versions[name] = versions.get(name, 0) + 1
    st.session_state[setting_key(name)] = value
    remember(_changed(parts), **{name: _text(value)})


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def setting(name: str, options: Sequence[str], default: str) -> str:
    """One of this page's own settings, to be called before the widget that shows it.

    Its key is the name, or `setting_key(name)` where `put_setting` may change it.

    The address has the first word, then what it was when the person left the page, then the widget, whose `on_change`
    needs nothing: the next run writes it back.
    """
    key = setting_key(name)
    if _is_asked(key):
        st.session_state[key] = _asked(name, default)
    if st.session_state[key] not in options:  # a widget that lets go of its choice, or another run's options
        st.session_state[key] = default
    _keep(name, st.session_state[key], default)
    return st.session_state[key]


def number_setting(name: str, least: float, most: float, default: float) -> float:
    """Like `setting`, of a number."""
    key = setting_key(name)
    if _is_asked(key):
        try:
            asked = float(_asked(name, str(default)))
        except ValueError:
            asked = default
        st.session_state[key] = min(most, max(least, asked)) if asked == asked else default
    value = float(st.session_state[key])
    _keep(name, _text(value), _text(default))
    return value


def limit_setting(name: str) -> float | None:
    """Like `setting`, of a number that is not negative, or none."""
    key = setting_key(name)
    if _is_asked(key):
        st.session_state[key] = _positive(_asked(name, ""))
    value = st.session_state[key]
    _keep(name, "" if value is None else _text(value), "")
    return value


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _is_asked(key: str) -> bool:
    """Whether the page's setting is to be looked up; at other times its widget has it."""
    return key not in st.session_state or _went_through_history()


def _asked(name: str, default: str) -> str:
    """What the address says of a setting, or what it was when the person left the page."""
    kept = {} if _went_through_history() else st.session_state.get(SETTINGS, {})
    return st.query_params.get(name, kept.get((st.session_state.get(PAGE), name), default))


def _keep(name: str, value: str, default: str) -> None:
    st.session_state.setdefault(SETTINGS, {})[st.session_state.get(PAGE), name] = value
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
