"""What a report says of a run, in order: the cut, what it costs, against whom the ranking stands, how it was made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from snapvit import figures
from snapvit.elastic.ranking import cut_at
from snapvit.errors import InputError
from snapvit.evaluation.knn import wilson_interval
from snapvit.evaluation.paired import answers_of, compare, describe
from snapvit.evaluation.standings import MEASURES
from snapvit.formats import amount, decimal, duration, p_value, percent, ratio
from snapvit.machine import this_machine
from snapvit.outputs import write_output
from snapvit.pipeline.agreements import MAPS, agreements, most_measured
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.contenders import PROBED
from snapvit.pipeline.results import RunResults, computed_on, load_results
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.pipeline.table import want_of
from snapvit.report.contestants import (
    AREA,
    among,
    gaps_to,
    label_of,
    line_of,
    points_of,
    reference_in,
    rivals_in,
    verdict,
)
from snapvit.report.page import Page, versions
from snapvit.store.codec import encode
from snapvit.store.store import Store
from snapvit.tables import Comparison, Measurement

CARD = "README.md"  # of an export
PAIR = path_pair(0.5)  # of the cut that a report is about where nobody names one
HEADLINES = (0.0, 0.35, 0.5, 0.65, 0.8, 0.95)


def write_report(
    store: Store,
    run: str,
    path: Path,
    pair: tuple[float, float] = PAIR,
    correct: bool = False,
    export: Path | None = None,
    force: bool = False,
) -> Path:
    """Write the report of a run and return where it lies.

    pair: (mlp, heads) of the cut that it is about. correct: with corrected weights. export: folder that `export`
    wrote, whose card is taken in. Raises InputError for a run without a ranking, a folder that is no export, and as
    `write_output` does.
    """
    results = replace(load_results(store, run), correct=correct)
    if results.ranking is None:
        raise InputError(f"Run {run} has no ranking yet, so there is nothing to report; finish it first.")
    content = report_of(results, pair, None if export is None else _card(export))
    return write_output(path, lambda part: part.write_text(content, encoding="utf-8"), "the report", force)


def report_of(results: RunResults, pair: tuple[float, float], card: str | None = None) -> str:
    """The report's HTML, of a run that has a ranking; its cuts are looked at as `results` says."""
    gone = f"{ratio(pair[0])} of its neurons and {ratio(pair[1])} of its heads"
    page = Page(f"{results.facts.model} without {gone}" + (", weights corrected" if results.correct else ""))
    _cut(page, results, pair)
    _path(page, results, pair)
    _kept(page, results, pair)
    _rivals(page, results)
    _interactions(page, results)
    if card is not None:
        page.heading("The exported model")
        page.listing(card)
    _making(page, results)
    return page.write()


def _card(folder: Path) -> str:
    try:
        return (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{folder} holds no {CARD} that can be read, so it is no export; name a folder that `export` wrote."
        ) from error


def _cut(page: Page, results: RunResults, pair: tuple[float, float]) -> None:
    """The headline: what is left, and what that is worth."""
    facts = results.facts
    how = f"{_made_by(results)}, computed on {computed_on(results.stored)}"
    page.text(f"Run {results.summary.run}, on {facts.data}; {how}.", "quiet")
    measured = None if results.measurements is None else results.measurements.find(*pair)
    whole = None if results.measurements is None else results.measurements.find(0.0, 0.0)
    if measured is None or whole is None:
        page.text(
            f"The cut without {ratio(pair[0])} of neurons and {ratio(pair[1])} of heads is not measured; what follows "
            "is of the cuts that are.",
            "verdict",
        )
        return
    left = f"**{amount(measured.params)} parameters** ({percent(measured.params / whole.params, 0)}) and "
    left += f"**{amount(measured.macs)} MACs** an image ({percent(measured.macs / whole.macs, 0)}) are left"
    if measured.top1 is None or whole.top1 is None:
        told = f"Cosine to the full model is {decimal(measured.cosine, 3)} ({facts.accuracy_missing})."
    else:
        low, high = wilson_interval(measured.hits, measured.queries)
        told = (
            f"k-NN top-1 is **{percent(measured.top1)}** (95 % interval {percent(low)} to {percent(high)}), the full "
            f"model's {percent(whole.top1)}. On the same queries: "
            f"{describe(compare(answers_of(whole), answers_of(measured)))}."
        )
    page.text(
        f"Without {ratio(pair[0])} of MLP neurons and {ratio(pair[1])} of heads, {left}. {told}",
        "verdict",
    )
    for note in facts.notes:
        page.text(note, "quiet")


def _made_by(results: RunResults) -> str:
    if results.method is None:
        return "ranked by published scores"
    return f"ranked by {results.method.label} ({results.method.what})"


def _path(page: Page, results: RunResults, pair: tuple[float, float]) -> None:
    page.heading("What each cut costs")
    quality = results.facts.accuracy_missing is None
    on_path = path_pair(pair[0]) == pair
    figure = path_figure(results, pair[0] if on_path else None)
    if figure is None:
        page.text("No cut of this run is measured.")
        return
    page.figure(
        figure,
        "Heads lag 15 points behind neurons, as in the paper's pairs."
        + (" Bands are 95 % Wilson intervals." if quality else "")
        + (" The vertical line is the cut of this report." if on_path else " The cut of this report is not on it."),
    )
    table = results.measurements
    found = [] if table is None else [(s, table.find(*path_pair(s))) for s in HEADLINES]
    page.table(
        ("Neurons, heads removed", "Parameters", "MACs", "k-NN top-1 (95 %)", "Cosine"),
        [_row(s, m) for s, m in found if m is not None],
    )


def path_figure(results: RunResults, selected: float | None = None) -> go.Figure | None:
    """What the measured cuts of the path cost, as cut and with corrected weights; None where none is measured.

    selected: sparsity that is marked.
    """
    lines, quality = [], results.facts.accuracy_missing is None
    for i, (table, title) in enumerate(((results.as_cut, "As cut"), (results.corrected, "Weights corrected"))):
        rows = [] if table is None else [table.row(j) for j in range(len(table))]
        on_path = sorted((m for m in rows if path_pair(m.cut.mlp)[1] == m.cut.heads), key=lambda m: m.cut.mlp)
        if on_path:
            lines.append(_line(title, i, on_path, quality))
    measure = "k-NN top-1" if quality else "Cosine to the full model"
    if not lines:
        return None
    return figures.contender_curves(lines, "sparsity", measure, quality, "Along the path", True, selected)


def _row(sparsity: float, m: Measurement) -> tuple[str, ...]:
    mlp, heads = path_pair(sparsity)
    accuracy = ""
    if m.hits is not None:
        low, high = wilson_interval(m.hits, m.queries)
        accuracy = f"{percent(m.top1)} ({percent(low)} to {percent(high)})"
    return f"{ratio(mlp)}, {ratio(heads)}", amount(m.params), amount(m.macs), accuracy, decimal(m.cosine, 3)


def _line(title: str, look: int, rows: list[Measurement], quality: bool) -> figures.Line:
    sparsity, macs = np.array([m.cut.mlp for m in rows]), np.array([m.macs for m in rows], dtype=np.float64)
    values = np.array([m.top1 if quality else m.cosine for m in rows])
    ends = np.array([wilson_interval(m.hits, m.queries) if quality else (m.cosine, m.cosine) for m in rows])
    band = "95 % interval" if quality else ""
    return figures.Line(title, look, sparsity, macs / macs.max(), values, ends[:, 0], ends[:, 1], band)


def _kept(page: Page, results: RunResults, pair: tuple[float, float]) -> None:
    topology, cut = results.facts.topology, cut_at(results.ranking, *pair)
    page.heading("What stays")
    for kept, full, name in (
        (cut.kept_neurons, topology.hidden, "neurons"),
        (cut.kept_heads, topology.heads, "heads"),
    ):
        page.figure(
            figures.kept_by_block(kept, full, name),
            f"{sum(kept):,} of {full * topology.blocks:,} {name}; the hatched part is what the cut removes.",
        )


def _rivals(page: Page, results: RunResults) -> None:
    found = results.stored.load(COMPARISON)
    if found is None or not len(found):
        return
    page.heading("Against other rankings")
    reference = reference_in(results, found)
    quality = results.facts.accuracy_missing is None
    page.figure(
        rivals_figure(results, found),
        "Mean over seeds, with the range of the seeds; all on the same gallery and queries.",
    )
    if not quality:
        return
    rivals = rivals_in(found, reference)

    def gaps_at(place: str) -> list[figures.Gap]:
        return among(gaps_to(results, found, reference, results.correct, place, "top1"), rivals)

    if area := gaps_at(AREA):
        page.text(verdict(area, label_of(reference), "the area under the curve of accuracy against MACs"), "verdict")
    places = [*(f"{point:g}" for point in PROBED), AREA]
    rows: dict[str, dict[str, str]] = {}
    for place in places:
        for gap in gaps_at(place):
            rows.setdefault(gap.label, {})[place] = points_of(gap)
    page.text(f"Points of top-1 more than {label_of(reference)}, with 95 % intervals over queries and seeds:")
    heads = ["Ranking", *(f"at {ratio(float(place))}" for place in places[:-1]), "area"]
    page.table(heads, [[name, *(row.get(place, "") for place in places)] for name, row in rows.items()])
    if others := len(found.contenders) - len(rivals):
        page.text(f"Not in it: searches of other lengths ({others}); the Compare page has them.", "quiet")


def rivals_figure(results: RunResults, found: Comparison) -> go.Figure:
    """Every rival's curve against MACs, as the cuts are to be looked at."""
    quality = results.facts.accuracy_missing is None
    measure = "top1" if quality else "cosine"
    lines = [
        line_of(results, found, name, results.correct, measure)
        for name in rivals_in(found, reference_in(results, found))
    ]
    shown = [line for line in lines if line is not None]
    title = "Rankings" + (", corrected" if results.correct else ", as cut")
    return figures.contender_curves(shown, "macs", MEASURES[measure], quality, title, True, None)


def _interactions(page: Page, results: RunResults) -> None:
    measured = most_measured(results.stored)
    if measured is None:
        return
    found = agreements(results.stored, measured)
    page.heading("Whether the estimates of interactions can be trusted")
    page.text(
        f"Against {max(one.pairs for one in found.values()):,} pairs of structures whose interaction was measured on "
        f"{measured.images:,} images."
    )
    page.table(
        ("Estimate", "Rank correlation", "Mantel test"),
        [
            (MAPS[name], decimal(one.rho, 2), p_value(one.mantel_p))
            for name, one in found.items()
            if np.isfinite(one.rho)
        ],
    )


def _making(page: Page, results: RunResults) -> None:
    page.heading("How it was made")
    page.table(
        ("Setting", "Value"),
        [
            (name.removeprefix("config."), "" if value is None else value)
            for name, value in encode(results.request)[1].items()
        ],
    )
    entries = results.stored.manifest.entries
    stages = [(want, entry) for name, entry in entries.items() if (want := want_of(name)) is not None]
    page.table(
        ("Stage", "Time", "Key"),
        [(want.label, duration(entry.seconds), entry.key) for want, entry in stages],
    )
    page.table(("Here", "Version"), [("machine", this_machine().label), *versions()])
