"""What the search buys: accuracy, or the cosine it tries to keep, and fitness, by the number of individuals judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Doubles, Floats
from snapvit.evaluation.standings import MEASURES, FitnessCurve, Measure, curve_of
from snapvit.formats import percent, ratio
from snapvit.method.search import start_mean
from snapvit.method.xnes import default_population
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.contenders import PROBED, Contender
from snapvit.pipeline.results import RunResults
from snapvit.report.contestants import kind_of_search, longest_searches
from snapvit.tables import Comparison
from snapvit.ui.figure import show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.run.overview import fitness_figure
from snapvit.ui.selection import setting, setting_key


@dataclass(frozen=True)
class Point:
    """One number of evaluations of one kind of search."""

    kind: str  # where it starts, and its other settings
    evaluations: int
    mean: float
    low: float
    high: float
    seeds: int


def search_gain(results: RunResults, found: Comparison, measure: Measure) -> None:
    """The figures, where searches of several lengths were compared by this measure."""
    places = [f"{point:g}" for point in PROBED]
    st.header("What the search buys")
    where = setting("cut", places, "0.65")
    st.segmented_control(
        "The cut at",
        places,
        default=where,
        format_func=lambda place: ratio(float(place)),
        key=setting_key("cut"),
        required=True,
    )
    points = _points(results, found, float(where), measure)
    if len({point.evaluations for point in points}) < 2:
        st.info(
            "Compare searches of several lengths, and curvature alone, to see what each generation adds.",
            icon=":material/info:",
        )
        return
    courses = longest_searches(results, found)
    kinds = list(dict.fromkeys([*(point.kind for point in points if point.evaluations), *courses]))
    lines, evaluations = [], []
    for i, kind in enumerate(kinds):
        own = sorted((p for p in points if p.kind == kind or not p.evaluations), key=lambda p: p.evaluations)
        if any(p.evaluations for p in own):
            columns = [np.array([getattr(p, name) for p in own]) for name in ("mean", "low", "high")]
            lines.append(_line(kind, i, *columns, max(p.seeds for p in own)))
            evaluations.append([p.evaluations for p in own])
    left, right = flowing_columns(2, 400, key="search_gain_figures")
    with left:
        shares = measure != "cosine"
        what = "Accuracy" if shares else "Cosine"
        title = f"{what} by length of the search, cut at {ratio(float(where))}"
        show_figure(
            figures.search_gain(evaluations, lines, MEASURES[measure], shares, title),
            key="search_gain",
            reading="0 is local curvature alone, without a search. A mark is the mean over seeds, its bar reaches from "
            "the lowest to the highest, and one seed has none. Where bars overlap, or are missing, these seeds do not "
            "show that a longer search bought more."
            + ("" if shares else " The search tries to keep this cosine, on other images than these."),
            alt="; ".join(f"{p.evaluations} evaluations {p.kind}: {_told(p.mean, shares)}" for p in points),
            table=pd.DataFrame([vars(p) for p in points]),
            file=f"{results.summary.run}-search-gain",
        )
    with right:
        if courses:
            _show_courses(results, kinds, courses, {point.evaluations for point in points})
        elif results.search is not None:
            fitness_figure(results.summary.run, results.search)


def _line(kind: str, look: int, mean: Doubles, low: Doubles, high: Doubles, seeds: int) -> figures.Line:
    none: Floats = np.empty(0)
    return figures.Line(kind, look, none, none, mean, low, high, f"{seeds} seeds" if seeds > 1 else "")


def _show_courses(results: RunResults, kinds: list[str], courses: dict[str, FitnessCurve], lengths: set[int]) -> None:
    """What the searches lower, by the individuals they judged."""
    lines, told, tables = [], [], []
    first, *_, last = start_mean(results.facts.topology)
    for kind, course in courses.items():
        shares = course.shares
        columns = {"mean": shares.mean(axis=0), "low": shares.min(axis=0), "high": shares.max(axis=0)}
        lines.append(_line(kind, kinds.index(kind), *columns.values(), len(shares)))
        told.append(f"{percent(columns['mean'][-1], 0)} after {course.judged[-1]:,} {kind}")
        fitness = course.best.mean(axis=0)
        tables.append(pd.DataFrame({"kind": kind, "judged": course.judged, "fitness": fitness} | columns))
    show_figure(
        figures.search_fitness([course.judged.tolist() for course in courses.values()], lines, lengths),
        key="search_fitness",
        reading=f"What the search lowers, on its own images: to {'; '.join(told)}, of what local curvature alone has "
        f"on them. Above 100 % it is behind no search, as it begins around factors of {first:g} in the first block to "
        f"{last:g} in the last, not of 1. A line is the mean over seeds, its band reaches from the lowest to the "
        "highest. Whether a lower fitness buys anything on other images is in the figure before this one.",
        alt="; ".join(told),
        table=pd.concat(tables),
        file=f"{results.summary.run}-search-fitness",
    )


def _told(value: float, share: bool) -> str:
    return f"{100 * value:.1f} %" if share else f"{value:.3f}"


def _points(results: RunResults, found: Comparison, sparsity: float, measure: Measure) -> list[Point]:
    points = []
    for name in found.contenders:
        one = Contender.parse(name)
        if not one.searched and one != Contender("curvature"):
            continue
        curve = curve_of(found, name, results.correct, measure)
        at = [] if curve is None else np.flatnonzero(np.abs(curve.mlp - path_pair(sparsity)[0]) < 1e-6)
        if not len(at):
            continue
        config = one.request(results.request, 0).config.search
        population = config.population or default_population(results.facts.topology.structures)
        judged = config.generations * population if one.searched else 0
        i = int(at[0])
        numbers = float(curve.mean[i]), float(curve.low[i]), float(curve.high[i]), int(curve.seeds[i])
        points.append(Point(kind_of_search(results, one), judged, *numbers))
    return points
