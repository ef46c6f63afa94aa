"""Step 4 of the Method page: from curvature and factor to a place in the ranking, and why a head was cut."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.elastic.ranking import ROUNDING, cut_at, removal_sparsity
from snapvit.pipeline.config import HEAD_LAG, PATH_END, path_pair
from snapvit.pipeline.results import RunResults
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.glossary import prose, term
from snapvit.ui.run_key import run_key
from snapvit.ui.selection import Structure
from snapvit.ui.words import head_name, scientific


@dataclass(frozen=True)
class Verdict:
    """One head in the ranking and in the cut at one sparsity."""

    head: tuple[int, int]  # block, head, counted from 0
    curvature: float
    factor: float
    score: float
    place: int  # in which it leaves, counted from 1
    heads: int  # in the whole model
    protected: int  # of them by the floor
    asked: int  # how many heads the sparsity asks to remove
    removed: int  # how many go
    sparsity: float
    ratio: float  # share of heads to remove

    @property
    def is_protected(self) -> bool:
        """Whether the floor keeps it at any sparsity."""
        return self.place > self.heads - self.protected

    @property
    def is_cut(self) -> bool:
        """Whether this cut removes it."""
        return self.place <= self.removed


def verdict(results: RunResults, head: tuple[int, int], sparsity: float) -> Verdict:
    """Everything that decides whether `head` stays at this slider position; the run must have a ranking."""
    topology, ranking = results.facts.topology, results.ranking
    mlp, ratio = path_pair(sparsity)
    kept = sum(cut_at(ranking, mlp, ratio).kept_heads)
    return Verdict(
        head=head,
        curvature=float(results.curvature.head[head]),
        factor=float(results.search.factors[Structure(*head).index(topology)]),
        score=float(results.final_scores.head[head]),
        place=int(np.flatnonzero(ranking.head == head[0] * topology.heads + head[1])[0]) + 1,
        heads=len(ranking.head),
        protected=ranking.head_protected,
        asked=math.floor(ratio * len(ranking.head) + ROUNDING),
        removed=len(ranking.head) - kept,
        sparsity=sparsity,
        ratio=ratio,
    )


def telling_head(results: RunResults, sparsity: float) -> tuple[int, int]:
    """A head to follow where none is selected: the last that the cut removes, or the first to leave."""
    topology = results.facts.topology
    if results.ranking is None:
        return 0, 0
    removed = len(results.ranking.head) - sum(cut_at(results.ranking, *path_pair(sparsity)).kept_heads)
    return divmod(int(results.ranking.head[max(0, removed - 1)]), topology.heads)


def why(v: Verdict) -> str:
    """The worked line, in markdown: from the numbers to cut or kept."""
    score = f"curvature {scientific(v.curvature)} × factor {v.factor:.3f} = score {scientific(v.score)}"
    asked = (
        f"At a sparsity of {v.sparsity:.1%} the cut removes {v.ratio:.1%} of the heads: "
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
        f"**{head_name(v.head).capitalize()}**: {score}, which makes it **number {v.place} of {v.heads}** to leave. "
        f"{asked}. {end}"
    )


def ranking_lesson(results: RunResults, v: Verdict) -> None:
    """The score as a product, the floor, and where the cut falls."""
    floors, topology, ranking = results.request.config.floors, results.facts.topology, results.ranking
    each = v.protected // topology.blocks
    prose(
        f"The {term('final score')} of a head is its {term('local curvature')} times the {term('factor')} that the "
        f"search found for it; a {term('neuron')} takes the factor of its block's {term('MLP')}. All heads stand in "
        f"one order over all blocks, all neurons in another: the {term('ranking')}."
    )
    st.latex(r"\operatorname{score}(b,h)=\operatorname{curvature}(b,h)\times c_{b,h}")
    prose(
        f"A {term('floor')} guards every block: its best {floors.heads:.0%} of heads, here ⌊{floors.heads:g} × "
        f"{topology.heads}⌋ = {each}, and its best {floors.neurons:.0%} of neurons stand at the end of the order and "
        f"never leave. A {term('cut')} at {term('sparsity')} $s$ removes the first $\\lfloor s\\cdot\\text{{neurons}}"
        f"\\rfloor$ neurons and, as heads lag {100 * HEAD_LAG:.0f} points behind, the first $\\lfloor (s-{HEAD_LAG:g})"
        "\\cdot\\text{heads}\\rfloor$ heads. Nothing else changes: no weight is retrained."
    )
    with st.container(border=True, key="why_cut"):
        st.markdown("**Why was this head cut?**" if v.is_cut else "**Why was this head kept?**")
        st.markdown(why(v))
        st.markdown(_when(results, v))
    scores = results.final_scores.head.ravel()[ranking.head]
    names = [topology.structure_name(topology.blocks + int(i)) for i in ranking.head]
    show_figure(
        kept_figure(
            *("ordered scores", run_key(results), v),
            make=lambda: figures.ordered_scores(scores, v.removed, v.protected, v.place - 1, names),
        ),
        key="ordered_scores",
        reading="Every mark is a head, in the order in which they leave. The dashed line is the cut: what stands left "
        "of it is gone. Protected heads stand at the right whatever their score.",
        alt=f"Final scores of all heads in ranking order; {v.removed} of {v.heads} are removed",
        table=pd.DataFrame({"place": np.arange(1, len(names) + 1), "head": names, "score": scores}),
        file=f"{results.summary.run}-ranking",
    )


def _when(results: RunResults, v: Verdict) -> str:
    if v.is_protected:
        return ""
    ranking = results.ranking
    share = float(removal_sparsity(ranking.head, ranking.head_protected, ranking.blocks)[v.head])
    if share + HEAD_LAG > PATH_END:
        return "The slider's path ends before it would go."
    return f"On the slider's path it goes at a sparsity of {share + HEAD_LAG:.1%}."
