"""The Correlation page's maps that are no search's, their agreement with others pair by pair, and how to get them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Ints
from snapvit.figures import PairCloud, StructureOrder
from snapvit.formats import decimal, duration, score
from snapvit.jobs.tasks import StageTask
from snapvit.method.agreement import known_pairs, percentiles, spearman
from snapvit.method.structure_maps import robust_range
from snapvit.pipeline.agreements import MAPS, Repeat, repeats, wants_of
from snapvit.pipeline.config import path_pair, path_points
from snapvit.pipeline.effort import PROBE_COST, pass_share, removal_passes, sample_passes
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.interactions import DISPLACEMENT, GAUSS_NEWTON
from snapvit.ui.components.matrix_stack import Numbers, Packed, matrix_stack
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.maps.correlation_maps import pair_table
from snapvit.ui.maps.interaction_choice import Compared, measured_of, the_map, verdict
from snapvit.ui.maps.structure_controls import chosen_pair, matrix_frame, select_pair
from snapvit.ui.offer import offer
from snapvit.ui.run_key import RunKey, run_key
from snapvit.ui.selection import Selection, Structure, change, setting, setting_key

TITLES = {
    "displacement": "Removals that act alike",
    "gauss-newton": "Slopes that point alike",
    "measured": "What two cost together",
    "cka": "How alike two are",
}
READINGS = {
    "displacement": "One forward pass a structure: how the images' embeddings move when it is taken out. Orange: two "
    "structures move them the same way, so taking out both costs more than the sum; blue: opposite ways.",
    "gauss-newton": "Backward passes alone: how the embeddings would begin to move as masks on structures leave 1. "
    "Orange: the same way, blue: opposite ways.",
    "measured": "Taking out both structures of a pair, less what each costs alone, in mean 1 − cosine to the full "
    "model. Orange: together they cost more than the sum, so one stands in for the other; blue: less.",
    "cka": "CKA between any two structures: whether they tell the same images apart. It is no estimate of what a cut "
    "costs, and stands here for comparison.",
}
AXES = {"ranks": "By rank", "values": "By value"}
PATIENCE = 600.0  # seconds; all pairs are suggested where they take no longer, else a sample
SUGGESTED_PAIRS = 1_000


def interaction_map(results: RunResults, selection: Selection, compared: Compared, order: StructureOrder) -> None:
    """The map shown, with the verdict on it; or the offer to compute it."""
    name, values = compared.name, the_map(results, compared, compared.name)
    if values is None:
        offer_map(results, name)
        return
    run, key, indices = results.summary.run, run_key(results), tuple(order.indices.tolist())
    bound, judged, label = robust_range(values), verdict(results, compared), compared.label(name)
    stack = f"{run}-{name}-{compared.scale}"
    matrix_stack(stack, _packed(key, stack, values))
    show_figure(
        kept_figure(
            *("interactions", key, compared, indices, order.by_depth, judged),
            make=lambda: figures.interaction_map(
                values, order, label, TITLES[name], bound, name != "cka", judged
            ).update_traces(z=None, selector={"type": "heatmap"}),
        ),
        key=f"map_{name}",
        reading=f"{READINGS[name]} Colours end at {score(bound)}, which 99 % of the pairs stay within. Click a cell to "
        "select its pair.",
        alt=f"{TITLES[name]}: map of {len(indices)} structures with each other. {judged}",
        table=lambda: matrix_frame(values, order),
        file=f"{run}-{name}",
        marks=figures.pair_marks(order, chosen_pair(results, selection)),
        numbers=Numbers(stack, indices, None),
        on_cell=lambda row, column: select_pair(int(order.indices[row]), int(order.indices[column]), results),
    )


@st.cache_resource(show_spinner=False, max_entries=24)
def _packed(key: RunKey, name: str, _values: np.ndarray) -> Packed:
    return Packed.of(_values[None].astype(np.float32))


def map_pairs(results: RunResults, compared: Compared, order: StructureOrder) -> None:
    """The strongest pairs of a map that is no search's."""
    values = the_map(results, compared, compared.name)
    if values is not None:
        label = "CKA" if compared.name == "cka" else MAPS[compared.name]
        pair_table(results, order, values, label, "Strongest pairs")


@dataclass(frozen=True)
class _Held:
    """The pairs that two maps both know."""

    names: tuple[str, str]  # of the maps; first that which was measured, where it is one of them
    first: Ints  # (P,)
    second: Ints  # (P,)
    values: tuple[np.ndarray, np.ndarray]  # (P,) of the one map and of the other
    rho: float

    def cloud(self, by_rank: bool) -> PairCloud:
        """As the scatter shows them."""
        return PairCloud(self.first, self.second, *(percentiles(v) if by_rank else v for v in self.values))


@st.cache_resource(show_spinner=False, max_entries=60)
def _held(key: RunKey, compared: Compared, generation: int | None, _results: RunResults) -> _Held | None:
    names = tuple(sorted((compared.name, compared.against), key=lambda name: name != "measured"))
    maps = [the_map(_results, compared, name, generation) for name in names]
    if any(values is None for values in maps):
        return None
    pairs = known_pairs(*maps)
    values = tuple(m[pairs] for m in maps)
    return _Held(names, *pairs, values, spearman(*values))


def evidence(results: RunResults, compared: Compared, generation: int) -> None:
    """Every pair by both maps, and how well the estimate is found again; or the offer of the map that is missing."""
    if the_map(results, compared, compared.against, generation) is None:
        offer_map(results, compared.against)
    of_search = "search" in (compared.name, compared.against)
    held = _held(run_key(results), compared, generation if of_search else None, results)
    if held is None:
        return
    axes = setting("axes_g", tuple(AXES), "ranks")
    by_rank = axes == "ranks"
    at = f" at generation {generation}" if of_search else ""
    count, labels, topology = len(held.first), tuple(MAPS[name] for name in held.names), results.facts.topology
    said = "undefined" if np.isnan(held.rho) else decimal(held.rho, 2)
    title = f"Pair by pair{at}: {said}"
    show_figure(
        kept_figure(
            *("agreement", run_key(results), compared, at, by_rank),
            make=lambda: figures.agreement_scatter(held.cloud(by_rank), topology, labels, by_rank, title),
        ),
        key="agreement",
        reading=f"Each dot is a pair of structures ({min(count, figures.SHOWN_PAIRS):,} of {count:,}). "
        + ("Its place is the share of pairs that lie below it. " if by_rank else "")
        + "A rising line would mean that both order the pairs alike. The number is Spearman's rank correlation over "
        f"all {count:,}. Click a dot to select its pair.",
        alt=f"Scatter of pairs of structures by {labels[0]} and {labels[1]}, rank correlation {said}",
        table=lambda: _frame(results, held, labels),
        file=f"{results.summary.run}-agreement",
        on_point=_select,
    )
    st.segmented_control(
        "Axes",
        list(AXES),
        default=axes,
        format_func=AXES.get,
        key=setting_key("axes_g"),
        required=True,
        label_visibility="collapsed",
    )
    _repeatability(results, compared.against if compared.name == "measured" else compared.name)
    if "measured" in held.names:
        _more_pairs(results)


def _select(place: list[int]) -> None:
    """Select the pair of a dot: block and head of both structures, as people count them, 0 for an MLP."""
    one, other = (Structure(block - 1, None if head == 0 else head - 1) for block, head in (place[:2], place[2:]))
    change(structure=one, other=other)


def _frame(results: RunResults, held: _Held, labels: tuple[str, ...]) -> pd.DataFrame:
    name = results.facts.topology.structure_name
    members = {"Structure": [name(int(i)) for i in held.first], "With": [name(int(j)) for j in held.second]}
    return pd.DataFrame(members | dict(zip(labels, held.values, strict=True)))


@st.cache_resource(show_spinner=False, max_entries=24)
def _found_again(key: RunKey, others: tuple[str, ...], name: str, _results: RunResults) -> list[Repeat]:
    return list(repeats(_results.stored, name))


def _repeatability(results: RunResults, name: str) -> None:
    """How well runs of other seeds or images find the same estimate."""
    if name == "measured":
        return
    store = results.stored.store
    others = tuple(entry.sha256 for manifest in store.manifests() for entry in manifest.entries.values())
    found = [repeat for repeat in _found_again(run_key(results), others, name, results) if np.isfinite(repeat.rho)]
    if not found:
        st.caption(
            f"Repeatability: no other run of this model holds {MAPS[name]} of its own. A run with another seed of the "
            "search would show how much of the estimate comes back."
        )
        return
    rhos = sorted(repeat.rho for repeat in found)
    spread = decimal(rhos[0], 2) + (f" to {decimal(rhos[-1], 2)}" if len(rhos) > 1 else "")
    seeds = ", ".join(str(repeat.seed) for repeat in found if repeat.seed is not None)
    st.caption(
        f"Repeatability: rank correlation of {MAPS[name]} with that of {len(found)} other run(s) of this model "
        f"(seeds {seeds}): **{spread}**. 1 would be the same order of pairs again, 0 "
        "another one each time."
    )


def _more_pairs(results: RunResults) -> None:
    measured, size = measured_of(run_key(results), results), results.facts.topology.structures
    known, every = int(np.isfinite(measured.interactions).sum()) // 2, size * (size - 1) // 2
    if known < every:
        with st.expander(f"{known:,} of {every:,} pairs are measured"):
            offer_map(results, "measured")


def offer_map(results: RunResults, name: str) -> None:
    """Offer to compute one of the maps, saying what that takes."""
    run, topology, config = results.summary.run, results.facts.topology, results.request.config.interactions
    if name == "measured":
        _offer_measured(results)
    elif name == "displacement":
        passes = config.images * (1 + removal_passes(topology))
        offer(
            StageTask(run, (Want(DISPLACEMENT),)),
            f"**Displacement** takes every one of the {topology.structures} structures out once and looks where the "
            f"embeddings of {config.images:,} images go{_takes(results, passes)}.",
            "Compute displacement",
            icon=":material/open_with:",
            key="offer_displacement",
        )
    elif name == "gauss-newton":
        passes = config.images * (1 + PROBE_COST * config.probes)
        offer(
            StageTask(run, (Want(GAUSS_NEWTON),)),
            f"**Gauss-Newton** needs {config.probes} backward passes over {config.images:,} images"
            f"{_takes(results, passes)}.",
            "Compute Gauss-Newton",
            icon=":material/south_east:",
            key="offer_gauss_newton",
        )
    else:
        st.markdown("This run has no CKA map yet. It comes with the run; go on with it on the Run page.")


def _offer_measured(results: RunResults) -> None:
    run, topology = results.summary.run, results.facts.topology
    every, images = topology.structures * (topology.structures - 1) // 2, results.request.config.interactions.images
    pace = _pace(results)
    quick = pace is None or pace * images * sample_passes(topology, every) <= PATIENCE
    st.markdown(
        "**Measured**: take out both structures of a pair, and each alone, and see what that costs. It is the truth "
        "that estimates are held against."
    )
    with st.container(horizontal=True, gap="small"):
        pairs = st.number_input(
            "Pairs",
            min(50, every),
            every,
            every if quick else min(every, SUGGESTED_PAIRS),
            key="measure_pairs",
            width=130,
            help=f"All {every:,}, or a sample",
        )
        images = st.number_input("Images", 2, None, images, key="measure_images", width=130)
    (*_, want) = wants_of(results.stored, int(pairs), int(images))
    passes = want.args[0] * sample_passes(topology, want.args[1])
    offer(
        StageTask(run, (want,)),
        f"{want.args[1]:,} pairs on {want.args[0]:,} images{_takes(results, passes)}. What is measured is kept when "
        "you cancel.",
        "Measure pairs",
        icon=":material/straighten:",
        key="offer_measured",
    )


def _takes(results: RunResults, passes: float) -> str:
    """`, about 3 minutes on ...`; nothing where there is no pace to go by."""
    pace = _pace(results)
    if pace is None:
        return ""
    return f", about {duration(pace * passes)} on a computer like that which measured this run's accuracy"


def _pace(results: RunResults) -> float | None:
    """Seconds of an image's pass, as the cuts along the path took them."""
    table, config = results.measurements, results.request.config.evaluation
    pairs = [path_pair(sparsity) for sparsity in path_points(config.points)]
    if table is None or not (measured := [pair for pair in pairs if table.find(*pair) is not None]):
        return None
    passes = (table.queries + table.gallery) * sum(pass_share(*pair) for pair in measured)
    return results.stored.seconds(EVALUATION) / passes
