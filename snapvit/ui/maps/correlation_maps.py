"""The correlation page's player, the strongest pairs of the generation it rests at, and the eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Doubles, Floats, NullSearch, SearchHistory
from snapvit.figures import StructureOrder
from snapvit.method.structure_maps import robust_range, strongest_pairs
from snapvit.pipeline.agreements import MAPS
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stages.search import NULL_SEARCH
from snapvit.ui.components.matrix_stack import Numbers, Packed, matrix_stack
from snapvit.ui.controlled import controlled
from snapvit.ui.figure import Drawn, kept_figure, show_figure
from snapvit.ui.maps.interaction_choice import Compared, rho_curve, verdict
from snapvit.ui.maps.structure_controls import chosen_pair, matrix_frame, select_pair
from snapvit.ui.run_key import RunKey, run_key
from snapvit.ui.selection import Selection, put_setting, setting, setting_key, visit

View = Literal["estimate", "change", "cka"]
VIEWS = {"estimate": "Estimate", "change": "Since the start", "cka": "Less CKA"}
TITLES = {
    "estimate": "Factors that move together",
    "change": "What the search added",
    "cka": "The estimate less the CKA map",
}
READINGS = {
    "estimate": "Correlation of any two structures' factors in the search distribution (of A A'). Orange: the search "
    "moves the two factors together, blue: against one another, near white: apart.",
    "change": "The correlation less that of the search's start. Orange: it rose, blue: it fell.",
    "cka": "The correlation less the CKA map's value. Where the search has seen nothing yet, this is the CKA map "
    "turned negative.",
}
LABELS = {"estimate": "correlation", "change": "change of correlation", "cka": "correlation − CKA"}
LAST = "last"
ROWS = 15
PLAYER = "correlation_player"


@dataclass(frozen=True)
class Shown:
    """What the page shows of a run's search."""

    view: View
    generation: int  # that the table and the curves below speak of
    order: StructureOrder
    null: NullSearch | None  # of as many generations as the search has


def search_controls(results: RunResults, order: StructureOrder) -> Shown:
    """What is shown of the search's estimate, which one may choose, and at which generation."""
    total = results.search.generations
    views = [name for name in VIEWS if name != "cka" or results.cka is not None]
    view = setting("view_g", views, "estimate")
    st.segmented_control("Show", views, default=view, format_func=VIEWS.get, key=setting_key("view_g"), required=True)
    return Shown(view, _generation(results), order, results.stored.load(NULL_SEARCH, total))


def _generation(results: RunResults) -> int:
    """The generation shown. Where the figure starts is chosen anew with each visit and each run."""
    total = results.search.generations
    chosen = setting("g", (LAST, *map(str, range(total))), LAST)
    here = visit(), results.summary.run
    if st.session_state.get("player_began") != here:
        st.session_state["player_start"], st.session_state["player_began"] = chosen, here
    return total if chosen == LAST else int(chosen)


def _name(generation: int, total: int) -> str:
    return LAST if generation == total else str(generation)


def _step(generation: int, total: int) -> None:
    """The box was used: the figure goes to that generation."""
    put_setting("g", _name(generation, total))
    st.session_state["player_jump"] = st.session_state.get("player_jump", 0) + 1


def player(results: RunResults, selection: Selection, shown: Shown, compared: Compared) -> None:
    """The matrix by generation with the verdict on it, above the fitness and the agreement by generation."""
    order, view, total = shown.order, shown.view, results.search.generations
    judged = verdict(results, compared)
    run, key = results.summary.run, run_key(results)
    estimate, less = f"{run}-estimate", {"estimate": None, "change": f"{run}-start", "cka": f"{run}-cka"}[view]
    stacks = _stacks(key, results)
    for name in (estimate, less):
        if name is not None:
            matrix_stack(name, stacks[name.removeprefix(f"{run}-")])
    generations = figures.frame_generations(total, results.facts.topology.structures)
    start = _nearest(st.session_state["player_start"], generations)
    indices = tuple(order.indices.tolist())
    drawn, bound = _player(key, view, indices, order.by_depth, start, compared, judged, results, order)
    if len(generations) <= total:
        st.caption(f"The figure holds {len(generations)} of the {total + 1} generations, evenly spaced, to stay quick.")

    def rested(name: str) -> None:
        if name.isdecimal() and int(name) <= total:
            put_setting("g", _name(int(name), total))

    show_figure(
        drawn,
        key=PLAYER,
        reading=f"{READINGS[view]} Colours end at ±{bound:.3f}, in all generations alike: 99 % of the pairs stay "
        f"within that at generation {generations[-1]}; the diagonal does not. Drag the scrubber or press Play; the "
        "grey line in the fitness below marks the generation, and the dot in the lowest panel shows how well that "
        f"generation's estimate agrees with {MAPS[compared.against]} (Spearman's rank correlation over pairs).",
        alt=f"{TITLES[view]}, by generation, with the fitness of every individual, the mean and the best so far",
        table=lambda: matrix_frame(_values(results, view, shown.generation), order),
        file=f"{run}-correlation-{view}",
        marks=figures.pair_marks(order, chosen_pair(results, selection)),
        numbers=Numbers(estimate, indices, less),
        jump=(str(_nearest(_name(shown.generation, total), generations)), st.session_state.get("player_jump", 0)),
        on_frame=rested,
    )


def _nearest(name: str, generations: list[int]) -> int:
    """Of the generations with a frame, the nearest to the named one."""
    asked = generations[-1] if name == LAST else int(name)
    return min(generations, key=lambda g: abs(g - asked))


@st.cache_resource(show_spinner=False, max_entries=4)
def _stacks(key: RunKey, _results: RunResults) -> dict[str, Packed]:
    """The matrices that the views are differences of."""
    history = _results.search
    generations = figures.frame_generations(history.generations, _results.facts.topology.structures)
    estimate = np.stack(list(history.correlations(generations)))
    stacks = {"estimate": Packed.of(estimate), "start": Packed.of(estimate[:1])}
    return stacks if _results.cka is None else stacks | {"cka": Packed.of(_results.cka.values[None])}


@st.cache_resource(show_spinner=False, max_entries=24)
def _player(
    key: RunKey,
    view: View,
    indices: tuple[int, ...],
    by_depth: bool,
    start: int,
    compared: Compared,
    judged: str,
    _results: RunResults,
    _order: StructureOrder,
) -> tuple[Drawn, float]:
    """The figure without its numbers, and where its colours end."""
    history = _results.search
    generations = figures.frame_generations(history.generations, _results.facts.topology.structures)
    maps = np.stack([_order.take(_values(_results, view, g)) for g in generations])
    bound = robust_range(maps[-1])
    found = rho_curve(key, compared, tuple(generations), _results)
    curve = None if found is None else figures.AgreementCurve(MAPS[compared.against], *found)
    words = LABELS[view], TITLES[view]
    figure = figures.correlation_player(maps, generations, start, history, _order, *words, bound, judged, curve)
    for holder in (figure, *figure.frames):
        holder.data[0].z = None
    return Drawn.of(figure), bound


def _values(results: RunResults, view: View, generation: int) -> Floats:
    """(S, S) of what is shown, at one generation."""
    history = results.search
    now = history.correlation(generation)
    if view == "estimate":
        return now
    return now - (history.correlation(0) if view == "change" else results.cka.values)


def search_pairs(results: RunResults, shown: Shown) -> None:
    """The strongest pairs of the generation shown, and how unusual they would be by chance."""
    history, label = results.search, LABELS[shown.view].capitalize()
    st.number_input(
        "Generation",
        0,
        history.generations,
        step=1,
        help="0 is the start. Step with − and +, or scrub and play in the figure",
        **controlled("generation_box", shown.generation, lambda chosen: _step(chosen, history.generations)),
    )
    values = _values(results, shown.view, shown.generation)
    change = np.abs(history.correlation(shown.generation) - history.correlation(0))
    extra, words = None, ""
    if shown.null is not None and shown.generation:
        p99, limit = shown.null.p99[shown.generation], np.quantile(shown.null.strongest[:, shown.generation], 0.95)
        extra = np.select([change > limit, change > p99], ["beyond", "top 1 %"], "usual")
        words = (
            f"*Chance*: how unusual the pair's change since the start would be if individuals were ranked at random. "
            f"*Top 1 %*: above {p99:.4f}, as one pair in a hundred is then. *Beyond*: above {limit:.4f}, which in 95 % "
            "of random replays not even the strongest pair reaches."
        )
    pair_table(results, shown.order, values, label, f"Strongest pairs at generation {shown.generation}", extra, words)


def pair_table(
    results: RunResults,
    order: StructureOrder,
    values: np.ndarray,
    label: str,
    heading: str,
    chance: np.ndarray | None = None,
    words: str = "",
) -> None:
    """The strongest pairs of a map (S, S); one that is chosen becomes the selection. chance: (S, S) words for each."""
    topology = results.facts.topology
    pairs = strongest_pairs(values, order.indices, ROWS)
    at = pairs[:, 0], pairs[:, 1]
    st.header(heading)
    rows = {
        "Structure": [topology.structure_name(int(i)) for i in pairs[:, 0]],
        "With": [topology.structure_name(int(j)) for j in pairs[:, 1]],
        label: values[at],
    }
    if results.cka is not None and label != "CKA":
        rows["CKA"] = results.cka.values[at]
    if chance is not None:
        rows["Chance"] = chance[at]
    numbers = {name: st.column_config.NumberColumn(format="%.3f", width=78) for name in (label, "CKA")}
    names = {name: st.column_config.TextColumn(width=112) for name in ("Structure", "With")}

    def row_chosen() -> None:
        for row in st.session_state["pair_table"]["selection"]["rows"]:
            select_pair(*map(int, pairs[row]), results)

    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        key="pair_table",
        on_select=row_chosen,
        selection_mode="single-row",
        alt=heading,
        column_config=numbers | names | {"Chance": st.column_config.TextColumn(width=64)},
    )
    st.caption(f"Choose a row to frame the pair in the map and to take it to the CKA page. {words}")


@st.cache_resource(show_spinner=False, max_entries=300)
def _spectrum(key: RunKey, generation: int, _history: SearchHistory) -> Doubles:
    """(S,) eigenvalues of the correlation, largest first."""
    return np.linalg.eigvalsh(_history.correlation(generation).astype(np.float64))[::-1]


def eigenvalues(results: RunResults, shown: Shown) -> None:
    """The correlation's eigenvalues at the start and at the generation shown."""
    history, g, null = results.search, shown.generation, shown.null
    start, now = (_spectrum(run_key(results), i, history) for i in (0, g))
    band = (None, None) if null is None else (null.eigen_low[g], null.eigen_high[g])
    show_figure(
        kept_figure("spectrum", run_key(results), g, null is None, make=lambda: figures.spectrum(start, now, g, *band)),
        key="spectrum",
        reading="Eigenvalues of the correlation matrix of all structures: how much of the search's variety lies in "
        "each of its directions. A few large ones would mean that structures depend on one another in a few patterns."
        + ("" if null is None else " Inside the grey band it looks as it does when individuals are ranked at random."),
        alt=f"Eigenvalues of the correlation at the start and at generation {g}",
        table=pd.DataFrame({"number": np.arange(1, len(now) + 1), "start": start, f"generation {g}": now}),
        file=f"{results.summary.run}-eigenvalues",
    )
