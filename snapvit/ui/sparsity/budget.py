"""The Sparsity page asked the other way round: how much may the model cost, and what is the best cut for that?"""

from __future__ import annotations

import numpy as np
import streamlit as st

from snapvit.evaluation.budget import Answer, Budget, Choice, PathCosts, meet
from snapvit.pipeline.results import RunResults
from snapvit.ui.flow import flowing_columns
from snapvit.ui.path import measured_on_path, measured_rows
from snapvit.ui.resources import chosen_live_data
from snapvit.ui.selection import Selection, put_setting
from snapvit.ui.sparsity.cut_tiles import amount, cut_tiles
from snapvit.ui.sparsity.timing import timing_offer

LIMITS = ("max_params", "max_macs", "max_ms")  # keys of the boxes and names in the address


def budget_mode(results: RunResults, selection: Selection) -> None:
    """Three boxes and the answer."""
    steps = chosen_live_data(results).steps
    unit = 1e9 if steps[0].macs >= 1e9 else 1e6
    st.markdown("Say how much the model may cost at most; leave empty what does not matter.")
    budget = _boxes(steps[0].params, steps[0].macs, unit)
    if budget == Budget():
        st.info("Set at least one limit above, for example two thirds of the full model's multiply-accumulates.")
        return
    path = PathCosts(*(np.array([getattr(s, name) for s in steps]) for name in ("sparsity", "heads", "params", "macs")))
    on_path = measured_on_path(results)
    beside = [m for m in measured_rows(results) if m not in on_path]
    timed = results.latencies if results.timed_here else None
    if budget.latency_ms is not None:
        timing_offer(results)
    answer = meet(budget, path, on_path, beside, timed)
    if answer.on_path is None:
        _cannot(answer, budget)
    else:
        _show(results, answer.on_path, selection)
    if answer.better is not None:
        _better(results, answer.better)


def _boxes(params: int, macs: int, unit: float) -> Budget:
    word = "billions" if unit == 1e9 else "millions"
    labels = (
        (f"Parameters, at most (millions; full model {params / 1e6:.2f})", 1e6),
        (f"MACs per image, at most ({word}; full model {macs / unit:.2f})", unit),
        ("Latency per image, at most (ms, one thread)", 1.0),
    )
    values: list[float | None] = []
    for column, key, (label, scale) in zip(flowing_columns(3, 270, key="limits"), LIMITS, labels, strict=True):
        if key not in st.session_state:
            st.session_state[key] = _positive(st.query_params.get(key))
        value = column.number_input(label, min_value=0.0, step=None, format="%.4g", key=key, placeholder="no limit")
        if value is None:
            st.query_params.pop(key, None)
        elif st.query_params.get(key) != f"{value:.6g}":
            st.query_params[key] = f"{value:.6g}"
        values.append(None if value is None else value * scale)
    return Budget(*values)


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _show(results: RunResults, choice: Choice, selection: Selection) -> None:
    st.subheader(f"Cut to {choice.mlp:.1%} sparsity")
    st.markdown(f"It is the least cut on the slider's path that meets the budget; {choice.heads:.1%} of heads go too.")
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


def _cannot(answer: Answer, budget: Budget) -> None:
    least = answer.least
    parts = [f"{amount(least.params)} parameters", f"{amount(least.macs)} MACs an image"]
    if answer.least_latency_ms is not None:
        parts.append(f"{answer.least_latency_ms:.1f} ms (the fastest that is measured)")
    elif budget.latency_ms is not None:
        parts.append("no latency yet, because none is measured on this computer")
    st.warning(
        f"No cut on the slider's path meets this budget. The least that it has is {', '.join(parts)}.",
        icon=":material/block:",
    )


def _better(results: RunResults, choice: Choice) -> None:
    quality = choice.quality
    kept = f"a cosine of {quality.cosine:.3f}" if quality.top1 is None else f"{quality.top1:.1%} top-1"
    st.subheader("A measured cut beside the path does better")
    st.markdown(
        f"With {choice.mlp:.1%} of neurons and {choice.heads:.1%} of heads removed it meets the same budget with "
        f"{kept}. It is the best of the cuts that were measured with both ratios set apart; picked as the best of "
        "many, its number is a little flattering."
    )
    cut_tiles(results, choice.params, choice.macs, quality, key="better_tiles")
