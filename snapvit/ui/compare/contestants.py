"""A run's comparison as the page shows it: curves, and gaps to whoever is the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from snapvit import figures
from snapvit.evaluation.standings import Difference, Measure, area_difference, curve_of, difference_at
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.contenders import Contender
from snapvit.pipeline.methods import METHODS
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.tables import Comparison

AREA = "area"  # in the place of a sparsity: the area under the whole curve
AS_CUT = "as cut"  # in the place of a reference: each contender's own cuts without correction


def comparison_of(results: RunResults) -> Comparison | None:
    """What was measured beside this run; None where nothing was."""
    entry = results.stored.manifest.entries.get(COMPARISON.name)
    return None if entry is None else _comparison(results.summary.run, entry.sha256, results)


@st.cache_resource(show_spinner=False, max_entries=4)
def _comparison(run: str, content: str, _results: RunResults) -> Comparison | None:
    found = _results.stored.load(COMPARISON)
    return found if found is not None and len(found) else None


def label_of(name: str) -> str:
    """A contender for people."""
    return Contender.parse(name).label


def look_of(found: Comparison, name: str) -> int:
    """Its colour and marker: a method's are the same everywhere, variants come after them."""
    plain = list(METHODS)
    variants = [other for other in found.contenders if other not in plain]
    return plain.index(name) if name in plain else len(plain) + variants.index(name)


def line_of(results: RunResults, found: Comparison, name: str, correct: bool, measure: Measure) -> figures.Line | None:
    """A contender's curve, from the uncut model on where that was measured with this measure."""
    curve = curve_of(found, name, correct, measure)
    if curve is None:
        return None
    uncut = None if results.as_cut is None else results.as_cut.find(0.0, 0.0)
    columns = [curve.mlp, curve.macs, curve.mean, curve.low, curve.high]
    whole = None if uncut is None else {"top1": uncut.top1, "cosine": uncut.cosine}.get(measure)
    if whole is not None:
        columns = [
            np.append(first, column) for first, column in zip((0, uncut.macs, *[whole] * 3), columns, strict=True)
        ]
    full = uncut.macs if uncut is not None else curve.macs.max()
    sparsity, macs, *rest = columns
    return figures.Line(label_of(name), look_of(found, name), sparsity, macs / full, *rest, int(curve.seeds.max()))


def gaps_to(results: RunResults, found: Comparison, reference: str, where: str, measure: Measure) -> list[figures.Gap]:
    """Each contender less the reference, at one cut or as area, without what was not measured."""
    entry = results.stored.manifest.entries[COMPARISON.name]
    key = (results.summary.run, entry.sha256, found.contenders, reference, results.correct, where, measure)
    return [
        figures.Gap(label_of(name), look_of(found, name), d.mean, d.low, d.high)
        for name, d in _differences(*key, results, found)
    ]


@st.cache_resource(show_spinner="Drawing again and again…", max_entries=100)
def _differences(
    run: str,
    content: str,
    names: tuple[str, ...],
    reference: str,
    correct: bool,
    where: str,
    measure: Measure,
    _results: RunResults,
    _found: Comparison,
) -> list[tuple[str, Difference]]:
    uncut = None if _results.as_cut is None else _results.as_cut.find(0.0, 0.0)
    gaps = []
    for name in names:
        first = (name, False) if reference == AS_CUT else (reference, correct)
        if first == (name, correct):
            continue
        if where == AREA:
            gap = area_difference(_found, first, (name, correct), uncut, measure)
        else:
            gap = difference_at(_found, first, (name, correct), *path_pair(float(where)), measure)
        if gap is not None:
            gaps.append((name, gap))
    return gaps


def verdict(gaps: Sequence[figures.Gap], reference: str, place: str) -> str:
    """Who is better, who is worse, and who cannot be told apart from the reference."""
    kinds = {
        "better than": [gap.label for gap in gaps if gap.high < 0],
        "worse than": [gap.label for gap in gaps if gap.low > 0],
        "not told apart from": [gap.label for gap in gaps if not gap.decided],
    }
    parts = [f"{what} {', '.join(labels)}" for what, labels in kinds.items() if labels]
    return f"By {place}, **{reference}** is {'; '.join(parts)}." if parts else f"Nothing is beside {reference} yet."
