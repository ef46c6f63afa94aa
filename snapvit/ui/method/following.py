"""What the Method page follows through its steps: one head, one cut, one image, with all that the run says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from snapvit.elastic.ranking import ROUNDING, cut_at
from snapvit.image_artifacts import HeadGradients
from snapvit.jobs.tasks import Task
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.lessons import HEAD_GRADIENTS, lesson_images
from snapvit.ui.flow import flowing_columns
from snapvit.ui.offer import offer
from snapvit.ui.selection import Selection, Structure


@dataclass(frozen=True)
class Verdict:
    """One head in the ranking and in the cut at one sparsity."""

    head: tuple[int, int]  # block, head, counted from 0
    product: tuple[float, float] | None  # curvature and factor, where these make the score
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


@dataclass
class Lesson:
    """What the steps are drawn from: a run's results, and what is selected in it."""

    results: RunResults
    selection: Selection
    whole: bool  # whether all steps are on one page
    offered: set[str] = field(default_factory=set)  # keys of the offers made so far

    @cached_property
    def head(self) -> tuple[int, int]:
        """The head that is followed: the selected one, else one that tells something at this cut."""
        structure, topology = self.selection.structure, self.results.facts.topology
        if structure is not None and structure.head is not None and structure.fits(topology):
            return structure.block, structure.head
        return telling_head(self.results, self.selection.sparsity)

    @cached_property
    def found(self) -> Verdict | None:
        """What becomes of that head; None while there is no ranking."""
        return verdict(self.results, self.head, self.selection.sparsity) if self.results.ranked else None

    @cached_property
    def gradients(self) -> HeadGradients | None:
        """Of single images, where they are computed."""
        return self.results.stored.load(HEAD_GRADIENTS, gradient_count(self.results))

    @property
    def image(self) -> int | None:
        """The image that is followed: the selected one, else the first whose gradients are known."""
        if self.selection.image is None and self.gradients is not None:
            return int(self.gradients.ids[0])
        return self.selection.image

    def offer(self, task: Task, prompt: str, button: str, key: str) -> None:
        """Offer what several steps need, see `ui.offer`; where they are on one page, only the first does."""
        if key in self.offered:
            st.caption("This needs what is offered above.")
        else:
            self.offered.add(key)
            offer(task, prompt, button, key=key)

    def halves(self, key: str, words: float = 1.0, figure: float = 1.0) -> Sequence[DeltaGenerator]:
        """Places for a step's words and its figure: side by side, or one below the other on paper."""
        if self.whole:
            return st.container(), st.container()
        return flowing_columns([words, figure], 300, key=f"halves_{key}")


def gradient_count(results: RunResults) -> int:
    """Of how many images the gradients are looked at one by one."""
    return lesson_images(results.curvature.images, results.stored.seconds(CURVATURE))


def verdict(results: RunResults, head: tuple[int, int], sparsity: float) -> Verdict:
    """Everything that decides whether `head` stays at this slider position; the run must have a ranking."""
    topology, ranking = results.facts.topology, results.ranking
    mlp, ratio = path_pair(sparsity)
    kept = sum(cut_at(ranking, mlp, ratio).kept_heads)
    return Verdict(
        head=head,
        product=_product(results, head),
        score=float(results.final_scores.head[head]),
        place=int(np.flatnonzero(ranking.head == head[0] * topology.heads + head[1])[0]) + 1,
        heads=len(ranking.head),
        protected=ranking.head_protected,
        asked=math.floor(ratio * len(ranking.head) + ROUNDING),
        removed=len(ranking.head) - kept,
        sparsity=sparsity,
        ratio=ratio,
    )


def _product(results: RunResults, head: tuple[int, int]) -> tuple[float, float] | None:
    if not results.searches:
        return None
    factor = results.search.factors[Structure(*head).index(results.facts.topology)]
    return float(results.curvature.head[head]), float(factor)


def telling_head(results: RunResults, sparsity: float) -> tuple[int, int]:
    """A head to follow where none is selected: the last that the cut removes, or the first to leave."""
    topology = results.facts.topology
    if results.ranking is None:
        return 0, 0
    removed = len(results.ranking.head) - sum(cut_at(results.ranking, *path_pair(sparsity)).kept_heads)
    return divmod(int(results.ranking.head[max(0, removed - 1)]), topology.heads)
