"""A run's comparison as the page shows it, worked out once for all sessions."""

from __future__ import annotations

import streamlit as st

from snapvit import figures
from snapvit.evaluation.standings import Measure
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.report import contestants
from snapvit.tables import Comparison


def comparison_of(results: RunResults) -> Comparison | None:
    """What was measured beside this run; None where nothing was."""
    entry = results.stored.manifest.entries.get(COMPARISON.name)
    return None if entry is None else _comparison(results.summary.run, entry.sha256, results)


@st.cache_resource(show_spinner=False, max_entries=4)
def _comparison(run: str, content: str, _results: RunResults) -> Comparison | None:
    found = _results.stored.load(COMPARISON)
    return found if found is not None and len(found) else None


def gaps_to(results: RunResults, found: Comparison, reference: str, where: str, measure: Measure) -> list[figures.Gap]:
    """Each contender less the reference, at one cut or as area, without what was not measured."""
    content = results.stored.manifest.entries[COMPARISON.name].sha256
    return _gaps(results.summary.run, content, reference, results.correct, where, measure, results, found)


@st.cache_resource(show_spinner=False, max_entries=200)
def _gaps(
    run: str,
    content: str,
    reference: str,
    correct: bool,
    where: str,
    measure: Measure,
    _results: RunResults,
    _found: Comparison,
) -> list[figures.Gap]:
    return contestants.gaps_to(_results, _found, reference, correct, where, measure)
