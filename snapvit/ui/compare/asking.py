"""The Compare page's offer: which rankings are to be measured beside the run's own, for how many seeds."""

from __future__ import annotations

import streamlit as st

from snapvit.environment import only_shows
from snapvit.formats import duration
from snapvit.jobs.tasks import CompareTask
from snapvit.pipeline.contenders import POINTS, Contender, all_methods, entries, pairs
from snapvit.pipeline.effort import pass_share
from snapvit.pipeline.methods import METHODS
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.table import of_cut
from snapvit.ui.flow import flowing_columns
from snapvit.ui.offer import NOT_HERE, offer

STARTS = tuple(Contender("snapvit", (f"search.start={start}",)) for start in ("cka", "displacement"))
# What the search buys: shorter searches, which are beginnings of one another
LENGTHS = tuple(Contender("snapvit", (f"search.generations={count}",)) for count in (1, 3, 12))


def ask_for_more(results: RunResults) -> None:
    """A choice of contenders and seeds, how long that takes, and a button; no choice where nothing is computed."""
    if only_shows():
        st.caption(NOT_HERE)
        return
    options = {one.name: one for one in (*map(Contender, METHODS), *STARTS, *LENGTHS)}
    usual = [one.name for one in all_methods()]
    columns = flowing_columns([4, 1], 150, key="compare_more", align="bottom")
    names = columns[0].multiselect(
        "Rankings", list(options), usual, format_func=lambda name: options[name].label, key="contenders"
    )
    seeds = columns[1].number_input("Seeds", 1, 20, 3, key="seeds", help="Other calibration images, crops and draws")
    if not names:
        st.caption("Choose at least one ranking.")
        return
    chosen = [options[name] for name in names]
    searches = sum(one.method == "snapvit" for _, one in entries(chosen, seeds))
    seconds = _seconds(results, len(entries(chosen, seeds)))
    about = "" if seconds is None else f" Measuring them takes about {duration(seconds)}"
    if about:
        about += f", and {searches} searches come on top of that." if searches > 1 else "."
    offer(
        CompareTask(results.summary.run, tuple(names), int(seeds)),
        f"{len(entries(chosen, seeds))} rankings, {2 * len(POINTS)} cuts of each, on this run's gallery and queries."
        f"{about} What is measured already is not measured again; a stop loses nothing.",
        "Compare these",
        icon=":material/compare_arrows:",
        key="compare",
    )


def _seconds(results: RunResults, rankings: int) -> float | None:
    """Of the cuts, at the pace of the run's own; without making the rankings."""
    total = 0.0
    for correct, table in ((False, results.as_cut), (True, results.corrected)):
        spent = results.stored.seconds(of_cut(EVALUATION, correct))
        if table is None or not len(table) or not spent:
            return None
        done = sum(pass_share(mlp, heads) for mlp, heads in zip(table.mlp, table.heads, strict=True))
        total += spent / done * sum(pass_share(*pair) for pair in pairs())
    return total * rankings
