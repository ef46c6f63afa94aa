"""The Compare page's first screen: curves of all contenders, and their differences to one of them."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.evaluation.standings import MEASURES, Measure
from snapvit.formats import ratio
from snapvit.pipeline.contenders import PROBED
from snapvit.pipeline.path import no_accuracy
from snapvit.pipeline.results import RunResults
from snapvit.report.contestants import (
    AREA,
    AS_CUT,
    among,
    label_of,
    line_of,
    points_of,
    reference_in,
    rivals_in,
    verdict,
)
from snapvit.tables import Comparison
from snapvit.ui.axis import axis_switch
from snapvit.ui.compare.contestants import gaps_to
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.run_key import run_key
from snapvit.ui.selection import Selection, setting, setting_key
from snapvit.ui.tables import table_to_keep

AXIS_NAMES = {"sparsity": "Sparsity", "macs": "MACs"}


def rivals(results: RunResults, found: Comparison, selection: Selection) -> Measure:
    """Controls, curves, gaps and their table. Returns the measure that is chosen."""
    measure, axis, where, reference, zoomed = _controls(results, found)
    names = rivals_in(found, reference)
    gaps = among(gaps_to(results, found, reference, where, measure), names) if measure != "cosine" else []
    if measure != "cosine" and reference != AS_CUT:
        st.markdown(verdict(gaps, label_of(reference), _place(where)))
    lines = [line_of(results, found, name, results.correct, measure) for name in names]
    left, right = flowing_columns([4, 3], 330, key="curves_and_gaps")
    with left:
        shown = [line for line in lines if line is not None]
        _curves(results, shown, len(names) < len(found.contenders), measure, axis, zoomed, selection.sparsity)
    with right:
        _gaps(results, gaps, measure, where, reference)
    _table(results, found, measure, reference)
    return measure


def _controls(results: RunResults, found: Comparison) -> tuple[Measure, str, str, str, bool]:
    measures = [name for name in MEASURES if name == "cosine" or no_accuracy(results) is None]
    if found.head is None:
        measures = [name for name in measures if name != "head"]
    places = [AREA, *(f"{point:g}" for point in PROBED)]
    references = [*found.contenders, *([AS_CUT] if results.correct else [])]
    columns = flowing_columns([5, 3, 5, 5, 4], 110, key="compare_controls", align="bottom")
    measure = setting("measure", measures, measures[0])
    columns[0].selectbox(
        "Measured by", measures, measures.index(measure), format_func=MEASURES.__getitem__, key=setting_key("measure")
    )
    axis = setting("by", list(AXIS_NAMES), "sparsity")
    columns[1].selectbox(
        "Against", list(AXIS_NAMES), list(AXIS_NAMES).index(axis), AXIS_NAMES.__getitem__, key=setting_key("by")
    )
    reference = setting("reference", references, reference_in(results, found))
    columns[2].selectbox(
        "Differences to",
        references,
        references.index(reference),
        format_func=_reference_label,
        key=setting_key("reference"),
    )
    where = setting("where", places, AREA)
    columns[3].selectbox(
        "Of",
        places,
        places.index(where),
        format_func=lambda place: "the whole curve" if place == AREA else f"the cut at {ratio(float(place))}",
        key=setting_key("where"),
    )
    with columns[4]:
        zoomed = axis_switch()
    return measure, axis, where, reference, zoomed


def _reference_label(name: str) -> str:
    return "itself, not corrected" if name == AS_CUT else label_of(name)


def _place(where: str) -> str:
    return "the area under the curve of accuracy against MACs" if where == AREA else f"the cut at {ratio(float(where))}"


def _curves(
    results: RunResults,
    lines: list[figures.Line],
    more: bool,
    measure: Measure,
    axis: str,
    zoomed: bool,
    selected: float,
) -> None:
    """more: whether there are searches of other lengths too."""
    title = f"Rankings, {'corrected' if results.correct else 'as cut'}"
    y, shares = MEASURES[measure], measure != "cosine"
    labels = tuple(line.label for line in lines)
    rows = [
        (line.label, s, m, mean, low, high, line.band)
        for line in lines
        for s, m, mean, low, high in zip(line.sparsity, line.macs, line.mean, line.low, line.high, strict=True)
    ]
    names = ["Ranking", "MLP sparsity", "MACs, share", MEASURES[measure], "Lowest seed", "Highest seed", "Seeds"]
    show_figure(
        kept_figure(
            *("contender_curves", run_key(results), measure, axis, title, zoomed, selected, labels),
            make=lambda: figures.contender_curves(lines, axis, y, shares, title, zoomed, selected),
        ),
        key="contender_curves",
        reading="Each line is the mean over a ranking's seeds (other images, crops, draws); its band reaches from the "
        "lowest to the highest seed. All were measured on the same gallery and queries."
        + (" Searches of other lengths stand below." if more else ""),
        alt=f"{title}: {y} of {len(lines)} rankings",
        table=pd.DataFrame(rows, columns=names),
        file=f"{results.summary.run}-rankings",
    )


def _gaps(results: RunResults, gaps: list[figures.Gap], measure: Measure, where: str, reference: str) -> None:
    if measure == "cosine":
        st.info(
            "The cosine is kept as a mean over all queries, so its differences have no paired interval; choose k-NN or "
            "the linear probe for them.",
            icon=":material/info:",
        )
        return
    if not gaps:
        st.info("Nothing was measured here that could be compared with it.", icon=":material/info:")
        return
    name = _reference_label(reference)
    show_figure(
        kept_figure(
            *("contender_gaps", run_key(results), results.correct, measure, where, reference),
            make=lambda: figures.contender_gaps(gaps, name, "Paired differences"),
        ),
        key="contender_gaps",
        reading=f"Of {_place(where)}: mean over seeds with a 95 % interval by a bootstrap over queries and seeds. A "
        "filled mark is told apart from 0, an open one is not.",
        alt="; ".join(f"{g.label} {100 * g.mean:+.1f} points, {100 * g.low:+.1f} to {100 * g.high:+.1f}" for g in gaps),
        table=pd.DataFrame(
            [(g.label, g.mean, g.low, g.high, g.decided) for g in gaps],
            columns=["Ranking", f"More than {name}", "95 % low", "95 % high", "Told apart from 0"],
        ),
        file=f"{results.summary.run}-differences",
    )


def _table(results: RunResults, found: Comparison, measure: Measure, reference: str) -> None:
    """All differences at once: a row a ranking, a column a cut."""
    if measure == "cosine":
        return
    rows: dict[str, dict[str, str]] = {}
    for where in (*(f"{point:g}" for point in PROBED), AREA):
        heading = "Area" if where == AREA else f"At {ratio(float(where))}"
        for gap in gaps_to(results, found, reference, where, measure):
            rows.setdefault(gap.label, {"Ranking": gap.label})[heading] = points_of(gap)
    table_to_keep(
        f"All differences to {_reference_label(reference)}, in points with 95 % intervals",
        pd.DataFrame(list(rows.values())),
        f"{results.summary.run}-all-differences",
    )
