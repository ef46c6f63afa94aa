"""What all sessions of the server share: the store, the one worker, and results read from disk."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from snapvit.browser.live_sparsity import LiveSparsity
from snapvit.browser.live_sparsity.of_run import live_data
from snapvit.environment import only_shows, settle
from snapvit.errors import InputError
from snapvit.jobs.manager import JobManager
from snapvit.pipeline.results import RunResults, load_results
from snapvit.store.manifest import MANIFEST
from snapvit.store.store import Store, default_root


def store() -> Store:
    """The cache that this server shows."""
    return _store(str(default_root()), only_shows())


@st.cache_resource(show_spinner=False)
def _store(root: str, read_only: bool) -> Store:
    return Store(root, read_only)


def jobs() -> JobManager:
    """The one worker of this process."""
    return _jobs(str(default_root()), only_shows())


@st.cache_resource(show_spinner=False)
def _jobs(root: str, read_only: bool) -> JobManager:
    settle()  # the first page of this server has loaded what all of them need
    return JobManager(_store(root, read_only))


def chosen_results(run: str, correct: bool = False) -> RunResults | None:
    """Results of `run` as they are on disk now, its cuts as they are or corrected; None where it vanished."""
    stamp = run_stamp(run)
    try:
        return None if stamp is None else _results(str(store().root), run, stamp, correct)
    except InputError:
        return None


def run_stamp(run: str) -> int | None:
    """A number that changes whenever something is added to the run; None where there is no such run."""
    try:
        return (store().root / run / MANIFEST).stat().st_mtime_ns
    except FileNotFoundError:
        return None


# The stamp makes a changed manifest a new entry; readers share the arrays, which nobody writes to.
@st.cache_resource(show_spinner=False, max_entries=8)
def _results(root: str, run: str, stamp: int, correct: bool) -> RunResults:
    if correct:
        return replace(_results(root, run, stamp, False), correct=True)
    return load_results(_store(root, only_shows()), run)


def chosen_live_data(results: RunResults) -> LiveSparsity:
    """What the live slider shows of these results, which must have a ranking."""
    contents = tuple(entry.sha256 for entry in results.stored.manifest.entries.values())
    return _live_data(results.summary.run, contents, results.correct, results)


# The contents' digests, not how many cuts are measured: a cut may be timed long after it was measured.
@st.cache_resource(show_spinner=False, max_entries=8)
def _live_data(run: str, contents: tuple[str, ...], correct: bool, _results: RunResults) -> LiveSparsity:
    return live_data(_results)
