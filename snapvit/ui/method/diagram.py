"""A method's steps in one picture: a card a step, each with a small drawing of the run's own numbers.

Drawings are SVG pictures in colours that stand on light and dark pages; the words beside them are the page's own text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import streamlit as st

from snapvit.figures.style import BLUE, GREEN, GREY, ORANGE
from snapvit.formats import ratio
from snapvit.pipeline.path import both_ways
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stages.interactions import GAUSS_NEWTON
from snapvit.tables import Measurement
from snapvit.ui.method.following import Verdict

WIDTH, HEIGHT = 220, 96  # of a drawing, in its own units


@dataclass(frozen=True)
class Step:
    """One card."""

    title: str
    text: str
    result: str
    drawing: str | None  # inside of an SVG; None while the run has not come that far
    alt: str


def method_flow(results: RunResults, v: Verdict | None) -> None:
    """Draw the cards."""
    cards = []
    for number, step in enumerate(steps(results, v), start=1):
        picture = "" if step.drawing is None else _picture(step.drawing, step.alt)
        cards.append(
            f'<div class="step"><b>{number} · {step.title}</b>{picture}'
            f"<span>{step.text}</span><em>{step.result}</em></div>"
        )
    arrow = '<span class="arrow" aria-hidden="true">→</span>'
    st.html(f'<style>{STYLE}</style><div class="flow">{arrow.join(cards)}</div>')


LATER = "comes later in this run"


def steps(results: RunResults, v: Verdict | None) -> tuple[Step, ...]:
    """The steps of the run's own method, with what it found in each."""
    return _searched(results, v) if results.searches else _scored(results, v)


def _scored(results: RunResults, v: Verdict | None) -> tuple[Step, ...]:
    """Without a search: scores, their order, and what correction gives back."""
    slopes = results.request.config.ranking.method == "gauss-newton"
    found = results.stored.load(GAUSS_NEWTON) if slopes else None
    both = both_ways(results)
    return (
        Step(
            "Slope" if slopes else "Score",
            "How fast does the embedding begin to move as a head or neuron fades out?"
            if slopes
            else f"How much does each count? By {results.method.what}.",
            results.method.label
            if found is None
            else f"from {found.images:,} images, {found.probes} directions of each",
            _cells(np.log10(np.maximum(results.final_scores.head, 1e-30)).T),
            "Score of every head, stronger blue is more, a column a block",
        ),
        _ranking(results, v, "Scores put all in one order, heads and neurons apart. Every cut is its beginning."),
        Step(
            "Correction",
            "What stays is solved again, in closed form, to say what went.",
            f"cosine {both[-1][0].cosine:.2f} becomes {both[-1][1].cosine:.2f} at {ratio(both[-1][0].cut.mlp)}"
            if both
            else LATER,
            _two_curves(both) if len(both) > 1 else None,
            "Cosine to the full model by sparsity, as cut in grey and corrected in blue",
        ),
    )


def _ranking(results: RunResults, v: Verdict | None, text: str) -> Step:
    return Step(
        "Ranking and cut",
        text,
        f"{v.removed} of {v.heads} heads go at {ratio(v.sparsity)}" if v else LATER,
        _bars(results, v) if v else None,
        "Heads by final score, those that the cut removes marked",
    )


def _searched(results: RunResults, v: Verdict | None) -> tuple[Step, ...]:
    """The paper's four steps."""
    topology, search = results.facts.topology, results.search
    searched = search is not None and search.generations > 0
    return (
        Step(
            "Local curvature",
            "How strongly is each head and neuron felt by a loss that needs no labels?",
            f"from {results.curvature.images:,} images",
            _cells(np.log10(np.maximum(results.curvature.head.astype(np.float64), 1e-30)).T),
            "Curvature of every head, stronger blue is more, a column a block",
        ),
        Step(
            "CKA map",
            "Which heads and MLPs say the same about images?",
            f"{topology.structures} × {topology.structures} pairs" if results.cka is not None else LATER,
            None
            if results.cka is None
            else _cells(results.cka.values[: topology.blocks, : topology.blocks], square=True),
            "Similarity of the MLPs of all blocks, stronger blue is more alike",
        ),
        Step(
            "Search",
            "Which factors on the curvature keep the cut models' embeddings in place?",
            f"{search.generations} generations of {search.individuals.shape[1]}" if searched else LATER,
            _falling(search.individual_fitness) if searched else None,
            "Best fitness so far by generation, falling",
        ),
        _ranking(results, v, "Curvature × factor puts all in one order. Every cut is its beginning."),
    )


def _picture(drawing: str, alt: str) -> str:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">{drawing}</svg>'
    text = quote(svg.replace('"', "'"), safe=" '=/:;,.-()")  # a quarter shorter than as base64
    return f'<img alt="{alt}" src="data:image/svg+xml,{text}">'


def _cells(table: np.ndarray, square: bool = False) -> str:
    """Cells of (rows, columns), more opaque where the value is larger."""
    rows, columns = table.shape
    low, high = float(table.min()), float(table.max())
    shade = np.round(0.08 + 0.92 * (table - low) / (high - low if high > low else 1.0), 2)
    width, height = (HEIGHT if square else WIDTH) / columns, HEIGHT / rows
    start = (WIDTH - width * columns) / 2
    cell = f"h{0.9 * width:.1f}v{0.9 * height:.1f}h-{0.9 * width:.1f}z"
    paths = (
        (value, "".join(f"M{start + c * width:.1f} {r * height:.1f}{cell}" for r, c in np.argwhere(shade == value)))
        for value in np.unique(shade)
    )
    return f'<g fill="{BLUE}">{"".join(f"""<path fill-opacity="{v:.2f}" d="{d}"/>""" for v, d in paths)}</g>'


def _falling(fitness: np.ndarray) -> str:
    """Every individual as a dot, and the best so far as a line."""
    finite = np.where(np.isfinite(fitness), fitness, np.nan)
    if np.isnan(finite).all():
        return ""
    best = np.fmin.accumulate(np.nanmin(np.where(np.isnan(finite), np.inf, finite), axis=1))
    low, high = float(np.nanmin(finite)), float(np.nanquantile(finite, 0.95))
    span = high - low if high > low else 1.0

    def y(value: float) -> float:
        return float(np.clip(HEIGHT - 8 - (HEIGHT - 16) * (value - low) / span, 4, HEIGHT - 4))

    def x(generation: int) -> float:
        return 8 + (WIDTH - 16) * generation / max(1, len(fitness) - 1)

    # Each generation's dots are one path: far shorter than a circle each.
    dots = "".join(
        f'<path d="{"".join(f"M{x(g):.1f} {y(value):.1f}h0" for value in row[~np.isnan(row)])}"/>'
        for g, row in enumerate(finite)
    )
    look = f'stroke="{GREY}" stroke-opacity="0.6" stroke-width="3.6" stroke-linecap="round"'
    line = " ".join(f"{x(g):.1f},{y(value):.1f}" for g, value in enumerate(best) if np.isfinite(value))
    return f'<g {look}>{dots}</g><polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="3"/>'


def _two_curves(both: Sequence[tuple[Measurement, Measurement]]) -> str:
    """Cosines over the path, as cut and corrected."""
    most = both[-1][0].cut.mlp

    def line(rows: Sequence[Measurement], colour: str, dash: str = "") -> str:
        points = " ".join(
            f"{8 + (WIDTH - 16) * m.cut.mlp / most:.1f},{HEIGHT - 6 - (HEIGHT - 12) * min(1, max(0, m.cosine)):.1f}"
            for m in rows
        )
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="3"{dash}/>'

    as_cut, corrected = zip(*both, strict=True)
    return line(as_cut, GREY, ' stroke-dasharray="6 4"') + line(corrected, BLUE)


def _bars(results: RunResults, v: Verdict) -> str:
    """A bar a head in ranking order: removed, kept, protected; the head that the page follows outlined."""
    scores = results.final_scores.head.ravel()[results.ranking.head]
    heights = _heights(scores)
    width = WIDTH / len(scores)
    bars = {ORANGE: "", GREEN: "", BLUE: ""}
    for i, height in enumerate(heights):
        colour = ORANGE if i < v.removed else GREEN if i >= v.heads - v.protected else BLUE
        bars[colour] += f"M{i * width:.2f} {HEIGHT}v-{height:.1f}h{0.8 * width:.2f}v{height:.1f}z"
    cut = v.removed * width - 0.1 * width
    ends = f'x1="{cut:.1f}" x2="{cut:.1f}" y1="0" y2="{HEIGHT}"'
    return (
        "".join(f'<path fill="{colour}" d="{path}"/>' for colour, path in bars.items())
        + f'<line {ends} stroke="{GREY}" stroke-width="2" stroke-dasharray="5 4"/>'
    )


def _heights(scores: Sequence[float]) -> np.ndarray:
    """Heights of bars on a logarithmic scale, the lowest still to be seen."""
    log = np.log10(np.maximum(scores, 1e-30))
    low, high = float(log.min()), float(log.max())
    return 8 + (HEIGHT - 12) * (log - low) / (high - low if high > low else 1.0)


STYLE = """
.flow { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: stretch; margin: 0.25rem 0 0.5rem; }
.flow .arrow { align-self: center; font-size: 1.5rem; opacity: 0.6; }
.flow .step {
  flex: 1 1 170px; display: flex; flex-direction: column; gap: 0.5rem; padding: 0.75rem 0.9rem; 
  border: 1px solid rgba(128, 128, 128, 0.4); border-radius: 0.6rem;
}
.flow img { width: 100%; height: 84px; object-fit: contain; }
.flow span { font-size: 0.95rem; line-height: 1.4; }
.flow em { margin-top: auto; font-style: normal; font-size: 0.85rem; opacity: 0.8; }
@media (max-width: 1000px) { .flow .arrow { display: none; } .flow .step { flex-basis: 220px; } }
"""
