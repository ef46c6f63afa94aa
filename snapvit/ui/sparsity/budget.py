"""The Sparsity page asked the other way round: how much may the model cost, and what is the best cut for that?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from snapvit.evaluation.budget import Answer, Best, Budget, PathCosts, meet, within
from snapvit.formats import amount, milliseconds, ratio
from snapvit.pipeline.config import PATH_END, path_pair
from snapvit.pipeline.path import measured_on_path, measured_rows
from snapvit.pipeline.results import RunResults
from snapvit.ui.flow import flowing_columns
from snapvit.ui.page import onward
from snapvit.ui.resources import chosen_live_data
from snapvit.ui.selection import Selection, limit_setting, put_setting, setting_key
from snapvit.ui.sparsity.cut_tiles import cut_tiles
from snapvit.ui.sparsity.timing import timing_offer
from snapvit.ui.sparsity.two_ratios import HEADS

LIMITS = ("max_params", "max_macs", "max_ms")  # keys of the boxes and names in the address


def budget_mode(results: RunResults, selection: Selection) -> None:
    """Three boxes and the answer."""
    steps = chosen_live_data(results).steps
    unit = 1e9 if steps[0].macs >= 1e9 else 1e6
    budget = _boxes(steps[0].params, steps[0].macs, unit)
    if budget == Budget():
        st.info(
            "Say how much the model may cost at most, for example two thirds of the full model's multiply-accumulates; "
            "leave empty what does not matter."
        )
        return
    path = PathCosts(*(np.array([getattr(s, name) for s in steps]) for name in ("sparsity", "heads", "params", "macs")))
    timed = results.latencies if results.timed_here else None
    if budget.latency_ms is not None:
        timing_offer(results)
    answer = meet(budget, path, measured_on_path(results), measured_rows(results), timed)
    if answer.best is None and answer.on_path is None:
        _cannot(results, answer, budget)
    if answer.best is not None:
        _best(results, answer.best, budget, selection)
    if answer.on_path is not None:
        _on_path(results, answer, selection)


def _boxes(params: int, macs: int, unit: float) -> Budget:
    word = "billions" if unit == 1e9 else "millions"
    labels = (
        (f"Parameters, at most (millions, of {params / 1e6:.3g})", 1e6),
        (f"MACs per image, at most ({word}, of {macs / unit:.3g})", unit),
        ("Latency per image, at most (ms, one thread)", 1.0),
    )
    values: list[float | None] = []
    for column, key, (label, scale) in zip(flowing_columns(3, 270, key="limits"), LIMITS, labels, strict=True):
        value = limit_setting(key)
        column.number_input(
            label, min_value=0.0, value=value, step=None, format="%.4g", key=setting_key(key), placeholder="no limit"
        )
        values.append(None if value is None else value * scale)
    return Budget(*values)


def _best(results: RunResults, best: Best, budget: Budget, selection: Selection) -> None:
    """The best measured cut, how far below the limits it lies, and whether it is told apart from the next one."""
    mlp, heads = best.choice.mlp, best.choice.heads
    st.header(f"The best measured cut: {ratio(mlp)} of neurons, {ratio(heads)} of heads removed")
    st.markdown(within(best, budget))
    cut_tiles(results, best.choice.params, best.choice.macs, best.choice.quality, key="best_tiles")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Take this cut", icon=":material/check:", key="take_best", type="primary", on_click=_take, args=(mlp, heads)
        )
        taken = replace(selection, sparsity=round(mlp, 4), untouched=False)
        onward("pages/export.py", "Export this cut", taken, mode="ratios", heads=f"{100 * heads:g}")
    shown = "It becomes the cut that all pages show."
    if not _on_path_pair(mlp, heads):
        shown = "It is shown with both ratios apart; pages other than this and Export go on along the path."
    st.caption(f"{shown} Picked as the best of many, its number flatters a little.")


def _take(mlp: float, heads: float) -> None:
    """Select a cut; one beside the path is shown where both ratios are set apart."""
    if _on_path_pair(mlp, heads):
        put_setting("mode", "path", sparsity=round(mlp, 4))
    else:
        put_setting(HEADS, round(100 * heads, 2))
        put_setting("mode", "ratios", sparsity=round(mlp, 4))


def _on_path_pair(mlp: float, heads: float) -> bool:
    return path_pair(mlp)[1] == heads and mlp <= PATH_END


def _on_path(results: RunResults, answer: Answer, selection: Selection) -> None:
    choice = answer.on_path
    st.header(f"The least cut on the path: {ratio(choice.mlp)}")
    st.markdown(
        f"The slider's path meets the budget from {ratio(choice.mlp)} of neurons on; {ratio(choice.heads)} of heads "
        "go too."
    )
    cut_tiles(results, choice.params, choice.macs, choice.quality, key="budget_tiles")
    st.caption(
        "Parameters and multiply-accumulates are exact. Between two measured cuts, accuracy, cosine and latency are "
        "joined by a straight line and said to be interpolated. A limit in ms counts times of this computer alone."
    )
    st.button(
        "Show it on the slider",
        icon=":material/tune:",
        key="budget_to_path",
        on_click=_to_slider,
        args=(choice.mlp,),
        disabled=selection.run is None,
    )


def _to_slider(sparsity: float) -> None:
    put_setting("mode", "path", sparsity=round(sparsity, 4))


def _cannot(results: RunResults, answer: Answer, budget: Budget) -> None:
    least = answer.least
    parts = [f"{amount(least.params)} parameters", f"{amount(least.macs)} MACs an image"]
    if answer.least_latency_ms is not None:
        parts.append(f"{milliseconds(answer.least_latency_ms)} (the fastest that is measured)")
    elif budget.latency_ms is not None:
        parts.append("no latency yet, because none is measured on this computer")
    st.warning(
        f"No cut on the slider's path meets this budget. The least that it has is {', '.join(parts)}.",
        icon=":material/block:",
    )
    st.header(f"The smallest model: {ratio(least.mlp)} of neurons, {ratio(least.heads)} of heads removed")
    cut_tiles(results, least.params, least.macs, least.quality, key="least_tiles")
    st.button("Take this cut", icon=":material/check:", key="take_least", on_click=_take, args=(least.mlp, least.heads))
