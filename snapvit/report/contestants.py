"""A run's comparison as figures show it: curves, gaps to whoever is the reference, and the verdict in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snapvit import figures
from snapvit.evaluation.standings import (
    FitnessCurve,
    Measure,
    area_difference,
    curve_of,
    difference_at,
    fitness_curve_of,
)
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.contenders import Contender, in_words
from snapvit.pipeline.methods import METHODS
from snapvit.pipeline.results import RunResults
from snapvit.tables import Comparison

AREA = "area"  # in the place of a sparsity: the area under the whole curve
STARTS = {"identity": "from the identity", "cka": "from the CKA map", "displacement": "from displacements"}
AS_CUT = "as cut"  # in the place of a reference: each contender's own cuts without correction


def label_of(name: str) -> str:
    """A contender for people."""
    return Contender.parse(name).label


def reference_in(results: RunResults, found: Comparison) -> str:
    """Whom all are held against at first: the run's own ranking, where it takes part."""
    own = results.request.config.ranking.method
    return next((name for name in (own, "snapvit") if name in found.contenders), found.contenders[0])


def rivals_in(found: Comparison, reference: str) -> list[str]:
    """Who stands in the curves and the verdict: all but searches of other lengths, unless one is the reference.

    A search whose length was set is one of those beside a search of the run's own length; without it, it is a rival.
    """
    if "snapvit" not in found.contenders:
        return list(found.contenders)
    return [name for name in found.contenders if name == reference or not Contender.parse(name).of_another_length]


def look_of(found: Comparison, name: str) -> int:
    """Its colour and marker: a method's are the same everywhere, variants come after them."""
    plain = list(METHODS)
    variants = [other for other in found.contenders if other not in plain]
    return plain.index(name) if name in plain else len(plain) + variants.index(name)


def line_of(results: RunResults, found: Comparison, name: str, correct: bool, measure: Measure) -> figures.Line | None:
    """A contender's curve, from the uncut model on where that was measured with this measure; None without a cut."""
    curve = curve_of(found, name, correct, measure)
    if curve is None:
        return None
    uncut = None if results.as_cut is None else results.as_cut.find(0.0, 0.0)
    columns = [curve.mlp, curve.macs, curve.mean, curve.low, curve.high]
    whole = None if uncut is None else {"top1": uncut.top1, "cosine": uncut.cosine}.get(measure)
    if whole is not None:
        first = (0.0, uncut.macs, whole, whole, whole)
        columns = [np.append(value, column) for value, column in zip(first, columns, strict=True)]
    full = uncut.macs if uncut is not None else curve.macs.max()
    sparsity, macs, *rest = columns
    seeds = int(curve.seeds.max())
    band = f"{seeds} seeds" if seeds > 1 else ""
    return figures.Line(label_of(name), look_of(found, name), sparsity, macs / full, *rest, band)


def kind_of_search(results: RunResults, one: Contender) -> str:
    """What tells its search apart from others beside their length: `from the CKA map, 64 images`."""
    config, told = one.request(results.request, 0).config.search, ("generations", "start", "images")
    others = [in_words(s) for s in one.settings if not s.startswith(tuple(f"search.{name}=" for name in told))]
    return ", ".join([STARTS[config.start], *others, in_words(f"search.images={config.images}")])


def longest_searches(results: RunResults, found: Comparison) -> dict[str, FitnessCurve]:
    """By kind, how far its longest search came, where that is known: what shorter ones judge is the beginning of it."""
    longest: dict[str, FitnessCurve] = {}
    for name in found.contenders:
        course, kind = fitness_curve_of(found, name), kind_of_search(results, Contender.parse(name))
        if course is not None and (kind not in longest or len(course.judged) > len(longest[kind].judged)):
            longest[kind] = course
    return longest


def gaps_to(
    results: RunResults, found: Comparison, reference: str, correct: bool, where: str, measure: Measure
) -> list[figures.Gap]:
    """Each contender less the reference, at one cut or as area, without what was not measured."""
    uncut = None if results.as_cut is None else results.as_cut.find(0.0, 0.0)
    gaps = []
    for name in found.contenders:
        first, second = ((name, False) if reference == AS_CUT else (reference, correct)), (name, correct)
        if first == second:
            continue
        if where == AREA:
            gap = area_difference(found, first, second, uncut, measure)
        else:
            gap = difference_at(found, first, second, *path_pair(float(where)), measure)
        if gap is not None:
            gaps.append(figures.Gap(label_of(name), look_of(found, name), gap.mean, gap.low, gap.high))
    return gaps


def among(gaps: Sequence[figures.Gap], names: Sequence[str]) -> list[figures.Gap]:
    """Those of these contenders."""
    labels = {label_of(name) for name in names}
    return [gap for gap in gaps if gap.label in labels]


def verdict(gaps: Sequence[figures.Gap], reference: str, place: str) -> str:
    """Who is better, who is worse, and who cannot be told apart from the reference."""
    kinds = {
        "better than": [gap.label for gap in gaps if gap.high < 0],
        "worse than": [gap.label for gap in gaps if gap.low > 0],
        "not told apart from": [gap.label for gap in gaps if not gap.decided],
    }
    parts = [f"{what} {', '.join(labels)}" for what, labels in kinds.items() if labels]
    return f"By {place}, **{reference}** is {'; '.join(parts)}." if parts else f"Nothing is beside {reference} yet."


def points_of(gap: figures.Gap) -> str:
    """`+1.6 [0.5, 2.7]`, in points; said to be undecided where the interval holds 0."""
    told = f"{100 * gap.mean:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    return told if gap.decided else f"{told} (undecided)"
