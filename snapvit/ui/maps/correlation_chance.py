"""What the estimate's numbers can and cannot say, with the run's own evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Floats, NullSearch, SearchHistory
from snapvit.jobs.tasks import StageTask
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.search import NULL_SEARCH, REPLAYS
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.maps.correlation_maps import Shown
from snapvit.ui.offer import offer
from snapvit.ui.run_key import run_key


@dataclass(frozen=True)
class Verdict:
    """How the search's pairs compare with those of its replays under random ranks."""

    pairs: int
    above: int  # of the search's pairs, changed by more than the replays' 99th percentile
    above_low: float  # 2.5th percentile over the replays of the same count
    above_high: float  # 97.5th percentile
    strongest: float  # change of the search's strongest pair
    strongest_limit: float  # that 95 % of the replays' strongest pairs do not exceed

    @property
    def stands_out(self) -> bool:
        """Whether any of it is more than chance: too many strong pairs, or one that is too strong."""
        return self.above > self.above_high or self.strongest > self.strongest_limit


def verdict(history: SearchHistory, null: NullSearch, generation: int) -> Verdict:
    """Compare the changes of all pairs at `generation` with the null's."""
    changes = pair_changes(history, generation)
    low, high = np.quantile(null.above[:, generation], (0.025, 0.975))
    return Verdict(
        pairs=len(changes),
        above=int((changes > null.p99[generation]).sum()),
        above_low=float(low),
        above_high=float(high),
        strongest=float(changes.max()),
        strongest_limit=float(np.quantile(null.strongest[:, generation], 0.95)),
    )


def pair_changes(history: SearchHistory, generation: int) -> Floats:
    """(S (S - 1) / 2,) absolute change of each pair's correlation since the start."""
    change = history.correlation(generation) - history.correlation(0)
    return np.abs(change[np.triu_indices(len(change), 1)])


def chance(results: RunResults, shown: Shown) -> None:
    """The note, and the comparison with replays under random ranks."""
    history, g = results.search, shown.generation
    st.header("What these numbers can and cannot say")
    left, right = flowing_columns(2, 420, key="chance")
    with left:
        st.markdown(_limits(history))
        if shown.null is None:
            offer(
                StageTask(results.summary.run, (Want(NULL_SEARCH, (history.generations,)),)),
                f"How large would correlations be if the search had learned nothing? {REPLAYS} replays of it, with the "
                "same random draws but individuals ranked at random, tell. They need no images, but a minute or more.",
                "Replay by chance",
                icon=":material/casino:",
                key="null_search",
            )
        elif g == 0:
            st.markdown("At the start nothing has changed yet. Choose a later generation to compare it with chance.")
        else:
            st.markdown(_words(verdict(history, shown.null, g), len(shown.null.above), g))
    if shown.null is not None and g:
        with right:
            _curve(results, shown.null, g)


def _limits(history: SearchHistory) -> str:
    size = history.means.shape[1]
    generations, population = history.individuals.shape[:2]
    seen = f"{generations * population:,} evaluations ({generations} generations of {population})"
    return (
        f"The estimate has **{size * (size + 1) // 2:,} free numbers** (variances and correlations of {size} factors). "
        f"The search has made **{seen}**, and learns from each generation only in which order its {population} "
        "individuals came. So most single correlations cannot be determined. And what they describe is the search's "
        "distribution of factors: a correlation says that raising both factors together was favoured, on these images "
        "and at these sparsities. It is not the Hessian's own entry, and it says nothing of cause."
    )


def _words(v: Verdict, replays: int, generation: int) -> str:
    result = (
        "**So part of this estimate is more than chance.** Trust the pairs marked *beyond chance* in the table; among "
        "the others, real ones and lucky ones cannot be told apart."
        if v.stands_out
        else "**So nothing in this estimate stands out from chance: do not read single pairs as findings.** The "
        "factors that the search found are a different matter: the accuracy of the cuts judges them."
    )
    return (
        f"**The check.** {replays} replays of this search drew the very same random numbers, but their individuals "
        f"were ranked at random. At generation {generation} one pair in a hundred of theirs, that is about "
        f"{v.pairs / 100:.0f} of {v.pairs:,}, has changed by more than the dashed line in the figure. "
        f"In the search it is **{v.above}** pairs; in 95 % of the replays it is {v.above_low:.0f} to "
        f"{v.above_high:.0f}. The search's strongest pair changed by **{v.strongest:.4f}**; in 95 % of the replays the "
        f"strongest stays below {v.strongest_limit:.4f}. {result}"
    )


def _curve(results: RunResults, null: NullSearch, g: int) -> None:
    found = np.quantile(pair_changes(results.search, g), null.levels)
    band = null.low[g], null.high[g], float(null.p99[g])
    show_figure(
        kept_figure("chance", run_key(results), g, make=lambda: figures.chance_curve(null.levels, found, *band, g)),
        key="chance_curve",
        reading="Read to the right: how many pairs changed at least so much? Where the blue line runs inside the grey "
        "band, the search's correlations are as large as random ranks make them; a line to the right of the band would "
        "be more than chance.",
        alt="Share of pairs by the change of their correlation, in the search and in its replays under random ranks",
        table=pd.DataFrame(
            {"share below": null.levels, "search": found, "replays low": null.low[g], "replays high": null.high[g]}
        ),
        file=f"{results.summary.run}-chance",
    )
