"""Step 4 of the method: from curvature and factor to a place in the ranking, and why a head was cut."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.elastic.ranking import removal_sparsity
from snapvit.formats import decimal, percent, ratio, score
from snapvit.pipeline.config import HEAD_LAG, PATH_END
from snapvit.pipeline.results import RunResults
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.glossary import prose, term
from snapvit.ui.method.following import Lesson, Verdict
from snapvit.ui.run_key import run_key
from snapvit.ui.words import head_name


def why(v: Verdict) -> str:
    """The worked line, in markdown: from the numbers to cut or kept."""
    made = f"score {score(v.score)}"
    if v.product is not None:
        made = f"curvature {score(v.product[0])} × factor {decimal(v.product[1], 3)} = {made}"
    asked = (
        f"At a sparsity of {ratio(v.sparsity)} the cut removes {ratio(v.ratio)} of the heads: "
        f"⌊{v.ratio:.3g} × {v.heads}⌋ = {v.asked}"
    )
    if v.removed < v.asked:
        asked += f", but only the {v.removed} unprotected ones can go"
    if v.is_protected:
        end = (
            f"It stands among the {v.protected} that the floor protects at the end of the order, so it is **kept** at "
            "any sparsity."
        )
    elif v.is_cut:
        end = f"Number {v.place} is among the first {v.removed}, so it is **cut**."
    else:
        end = f"Number {v.place} is not among the first {v.removed}, so it is **kept**."
    return (
        f"**{head_name(v.head).capitalize()}**: {made}, which makes it **number {v.place} of {v.heads}** to leave. "
        f"{asked}. {end}"
    )


def ranking_lesson(lesson: Lesson) -> None:
    """The score as a product, and the floor; the scores of all heads on a map."""
    results = lesson.results
    floors, topology, ranking = results.request.config.floors, results.facts.topology, results.ranking
    each = ranking.head_protected // topology.blocks
    words, figure = lesson.halves("ranking", 4, 5)
    with words:
        _scores(results)
        prose(
            f"A {term('floor')} guards every block: its best {ratio(floors.heads)} of heads, here ⌊{floors.heads:g} × "
            f"{topology.heads}⌋ = {each}, and its best {ratio(floors.neurons)} of neurons stand at the end of the "
            f"order and never leave. A {term('cut')} at {term('sparsity')} $s$ removes the first $\\lfloor s\\cdot"
            "\\text{neurons}\\rfloor$ neurons and, as heads lag "
            f"{100 * HEAD_LAG:.0f} points behind, the first $\\lfloor (s-{HEAD_LAG:g})\\cdot\\text{{heads}}\\rfloor$ "
            "heads. Nothing else changes: no weight is retrained."
        )
    scores, kept = results.final_scores.head, _kept(lesson.found, results)
    with figure:
        show_figure(
            kept_figure(
                *("lesson scores", run_key(results), kept.tobytes()),
                make=lambda: figures.head_map(scores, kept, "score"),
            ),
            key="lesson_scores",
            reading=f"The score of every head. Crosses mark those that the cut at {ratio(lesson.found.sparsity)} "
            "removes, wherever in the model they are.",
            alt="Map of the final scores of all heads",
            table=lambda: _score_table(results),
            file=f"{results.summary.run}-scores",
        )


def _scores(results: RunResults) -> None:
    """What a score is."""
    order = f"All heads stand in one order over all blocks, all neurons in another: the {term('ranking')}."
    if not results.searches:
        method = results.method
        prose(
            f"A head's {term('final score')} is what {method.label} gives it: {method.what}; a {term('neuron')} has "
            f"its own. {order}"
        )
        return
    prose(
        f"The {term('final score')} of a head is its {term('local curvature')} times the {term('factor')} that the "
        f"search found for it; a {term('neuron')} takes the factor of its block's {term('MLP')}. {order}"
    )
    st.latex(r"\operatorname{score}(b,h)=\operatorname{curvature}(b,h)\times c_{b,h}")


def cut_lesson(lesson: Lesson) -> None:
    """Where the cut falls in the order, and what that means for the head that is followed."""
    results, v = lesson.results, lesson.found
    words, figure = lesson.halves("cut", 4, 5)
    with words, st.container(border=True, key="why_cut"):
        st.markdown("**Why was this head cut?**" if v.is_cut else "**Why was this head kept?**")
        st.markdown(why(v))
        st.markdown(_when(results, v))
    order = _score_table(results)
    with figure:
        show_figure(
            kept_figure(
                *("ordered scores", run_key(results), v),
                make=lambda: figures.ordered_scores(
                    order["score"].to_numpy(), v.removed, v.protected, v.place - 1, order["head"].tolist()
                ),
            ),
            key="ordered_scores",
            reading="Every mark is a head, in the order in which they leave. The dashed line is the cut: what stands "
            "left of it is gone. Protected heads stand at the right whatever their score.",
            alt=f"Final scores of all heads in ranking order; {v.removed} of {v.heads} are removed",
            table=order,
            file=f"{results.summary.run}-ranking",
        )


def _kept(v: Verdict, results: RunResults) -> np.ndarray:
    """(L, H) whether the cut keeps each head."""
    kept = np.ones(v.heads, dtype=bool)
    kept[results.ranking.head[: v.removed]] = False
    return kept.reshape(results.final_scores.head.shape)


def _score_table(results: RunResults) -> pd.DataFrame:
    """A row for each head, in the order in which they leave."""
    topology, order = results.facts.topology, results.ranking.head
    return pd.DataFrame(
        {
            "place": np.arange(1, len(order) + 1),
            "head": [topology.structure_name(topology.blocks + int(i)) for i in order],
            "score": results.final_scores.head.ravel()[order],
        }
    )


def _when(results: RunResults, v: Verdict) -> str:
    if v.is_protected:
        return ""
    ranking = results.ranking
    share = float(removal_sparsity(ranking.head, ranking.head_protected, ranking.blocks)[v.head])
    if share + HEAD_LAG > PATH_END:
        return "The slider's path ends before it would go."
    return f"On the slider's path it goes at a sparsity of {percent(share + HEAD_LAG)}."
