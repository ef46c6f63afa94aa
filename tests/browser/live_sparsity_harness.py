"""A page around the live slider with made-up, smooth numbers, for test_live_sparsity.py.

Points come as the query parameter says: `?points=0`, `1`, `6` or `39` (the default); `?s=0.4` is a deep link;
`?unlabelled=1` has no accuracy; `?gain=0.01` puts every cut that far above the full model; `?elsewhere=1` was timed on
another computer, `?untimed=1` on none; `?ticking=1` finds one more point each half second.
"""

import math
import time

import streamlit as st

from snapvit.browser.live_sparsity import LivePoint, LiveSparsity, LiveStep
from snapvit.ui.components.live_sparsity import live_sparsity

BLOCKS = int(st.query_params.get("blocks", 12))
HEADS = int(st.query_params.get("heads", 6))
HIDDEN = 576
MISSING = "The images have no labels" if "unlabelled" in st.query_params else None


def step(s: float) -> LiveStep:
    heads = max(0.0, s - 0.15)
    keep = [1 - s * (0.75 + 0.5 * math.sin(1.3 * block) ** 2) for block in range(BLOCKS)]
    neurons = tuple(max(29, min(HIDDEN, round(HIDDEN * share))) for share in keep)
    spread = [HEADS * (1 - heads * (0.7 + 0.6 * math.cos(block) ** 2)) for block in range(BLOCKS)]
    kept_heads = tuple(max(2, min(HEADS, round(share))) for share in spread)
    left = 450_000 + 289 * sum(neurons) + 13_800 * sum(kept_heads)
    return LiveStep(s, s, heads, left, 33 * left, neurons, kept_heads)


def point(s: float) -> LivePoint:
    top1 = 0.1 + 0.793 / (1 + math.exp(14 * (s - 0.72)))
    half = 1.96 * math.sqrt(top1 * (1 - top1) / 2000)
    accuracy = (None, None, None) if MISSING else (top1, top1 - half, top1 + half)
    more = float(st.query_params.get("gain", top1 - 0.1 - 0.793 / (1 + math.exp(-14 * 0.72))))
    gain = (None, None, None) if MISSING else (more, more - 0.01, more + 0.01)
    latency = 0.4 + 4.2 * (1 - 0.8 * s)
    timed = (None, None) if "untimed" in st.query_params else (latency, latency / 4.6)
    return LivePoint(s, *accuracy, 1 - 0.85 * s**3, *gain, *timed)


def grid(count: int) -> tuple[LivePoint, ...]:
    if count == 6:
        return tuple(point(s) for s in (0.0, 0.2, 0.4, 0.5, 0.6, 0.8))
    return tuple(point(round(0.025 * index, 3)) for index in range(count))


st.set_page_config(layout="wide")
count = st.session_state.setdefault("count", int(st.query_params.get("points", 39)))
selected = st.session_state.setdefault("selected", float(st.query_params.get("s", 0.0)))
steps = tuple(step(round(0.005 * index, 3)) for index in range(191))


def select(sparsity: float) -> None:
    st.session_state.selected = sparsity


def more() -> None:
    st.session_state.count = 39


@st.fragment(run_every=0.5)
def ticker() -> None:
    """A job that finds one more point at each tick, upon which the page is drawn anew as by the sidebar's timer."""
    if st.session_state.pop("drawn", False):
        return
    st.session_state.count = min(39, st.session_state.count + 1)
    st.session_state.drawn = True
    st.rerun(scope="app")


if "ticking" in st.query_params:
    ticker()
chance = None if MISSING else 0.1
points = grid(st.session_state.count)
here = "elsewhere" not in st.query_params
data = LiveSparsity(steps, points, HIDDEN, HEADS, chance, 20, 2000, accuracy_missing=MISSING, timed_here=here)
live_sparsity(data, st.session_state.selected, key="live", on_release=select)
st.write(f"Python has {st.session_state.selected} at {time.monotonic_ns()}")
st.button("More points", on_click=more)
st.button("Go to 35 %", on_click=select, args=(0.35,))
