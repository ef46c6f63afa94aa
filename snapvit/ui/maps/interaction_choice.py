"""The Correlation page's choice: which map is shown, which other one its pairs are held against, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from snapvit.artifacts import MeasuredInteractions
from snapvit.formats import decimal, p_value
from snapvit.method.agreement import Agreement, agreement, known_pairs, spearman
from snapvit.pipeline.agreements import MAPS, Scale, map_of, most_measured
from snapvit.pipeline.results import RunResults
from snapvit.ui.run_key import RunKey, run_key
from snapvit.ui.selection import setting, setting_key

SCALES: dict[Scale, str] = {"loss": "Loss", "correlation": "Correlation"}
CHANCE = 0.05  # Mantel p above which an agreement is no more than chance


@dataclass(frozen=True)
class Compared:
    """Two maps between the structures of one run."""

    name: str  # of the map shown, one of MAPS
    against: str  # another of MAPS
    scale: Scale

    def label(self, name: str) -> str:
        """What a map's numbers are called."""
        correlation = self.scale == "correlation"
        return {
            "search": "correlation of factors",
            "displacement": "correlation of displacements" if correlation else "mean inner product of displacements",
            "gauss-newton": "correlation of slopes" if correlation else "mean product of slopes",
            "measured": "interaction as correlation" if correlation else "interaction (loss of both − of each)",
            "cka": "CKA",
        }[name]


def maps_of(results: RunResults) -> list[str]:
    """Names of the maps that this run has or can have."""
    return [name for name in MAPS if name != "search" or results.searches]


def choose_map(results: RunResults) -> str:
    """Draw the choice of the map shown."""
    known = maps_of(results)
    name = setting("map_g", known, known[0] if results.searches else "gauss-newton")
    st.segmented_control(
        "Map",
        known,
        default=name,
        format_func=MAPS.get,
        key=setting_key("map_g"),
        required=True,
        label_visibility="collapsed",
    )
    return name


def choose_against(results: RunResults, name: str) -> str:
    """Draw the choice of the map that it is held against."""
    others = [other for other in maps_of(results) if other != name]
    against = setting("against", tuple(others), "measured" if name != "measured" else "displacement")
    st.selectbox(
        "Held against",
        others,
        others.index(against),
        format_func=lambda o: f"Held against: {MAPS[o]}",
        key=setting_key("against"),
        label_visibility="collapsed",
    )
    return against


def choose_scale() -> Scale:
    """Draw the choice between losses and correlations."""
    scale = setting("scale_g", tuple(SCALES), "loss")
    st.segmented_control(
        "Scale",
        list(SCALES),
        default=scale,
        format_func=SCALES.get,
        key=setting_key("scale_g"),
        required=True,
        help="Loss: how much more two structures cost together than one by one, measured or estimated. Correlation: "
        "the same over what each of the two costs by itself. The search's estimate and CKA are correlations anyway.",
    )
    return scale


@st.cache_resource(show_spinner=False, max_entries=60)
def shown_map(key: RunKey, name: str, scale: Scale, generation: int | None, _results: RunResults) -> np.ndarray | None:
    """(S, S) of one map; None where the run does not hold it."""
    if name == "search" and generation is not None:
        return _results.search.correlation(generation)
    return map_of(_results.stored, name, generation, scale)


def the_map(results: RunResults, compared: Compared, name: str, generation: int | None = None) -> np.ndarray | None:
    """The same, of what is compared."""
    scale = compared.scale if name not in ("search", "cka") else "loss"
    return shown_map(run_key(results), name, scale, generation if name == "search" else None, results)


@st.cache_resource(show_spinner=False, max_entries=12)
def measured_of(key: RunKey, _results: RunResults) -> MeasuredInteractions | None:
    """What the run has measured most of."""
    return most_measured(_results.stored)


@st.cache_resource(show_spinner=False, max_entries=60)
def _agreement(key: RunKey, compared: Compared, _first: np.ndarray, _second: np.ndarray) -> Agreement:
    return agreement(_first, _second)


def verdict(results: RunResults, compared: Compared) -> str:
    """A sentence on how far the map shown, or what it is held against, can be trusted; of the search's last
    generation."""
    first, second = (the_map(results, compared, name) for name in (compared.name, compared.against))
    if first is None or second is None:
        missing = compared.against if second is None else compared.name
        return f"Not checked yet: {_name(missing)} is not computed." if first is not None else ""
    found = _agreement(run_key(results), compared, first, second)
    judged = compared.against if compared.name == "measured" else compared.name
    judge = compared.name if compared.name == "measured" else compared.against
    measured = measured_of(run_key(results), results) if judge == "measured" else None
    pairs = f"{found.pairs:,} " + (
        f"pairs measured on {measured.images:,} images" if measured else f"pairs by {_name(judge)}"
    )
    if not np.isfinite(found.rho):
        return f"{MAPS[judged]} says nothing of {pairs}: all are alike to it."
    return f"{_sentence(judged, found)}: rank correlation {decimal(found.rho, 2)} with {pairs}, Mantel {_p(found)}."


def _sentence(name: str, found: Agreement) -> str:
    if found.mantel_p > CHANCE:
        return f"{MAPS[name]} is no better than chance"
    how = "well" if found.rho >= 0.7 else "roughly" if found.rho >= 0.4 else "only weakly"
    return f"{MAPS[name]} orders pairs {how}"


def _name(name: str) -> str:
    return MAPS[name] if name in ("cka", "gauss-newton") else f"{MAPS[name][0].lower()}{MAPS[name][1:]}"


def _p(found: Agreement) -> str:
    least = 1 / 1000
    return f"p ≤ {least:g}" if found.mantel_p <= least else p_value(found.mantel_p)


@st.cache_resource(show_spinner=False, max_entries=12)
def rho_curve(
    key: RunKey, compared: Compared, generations: tuple[int, ...], _results: RunResults
) -> tuple[np.ndarray, dict[str, float]] | None:
    """(frames,) rank correlation of the search's estimate with the map it is held against, and of the estimates that
    the run holds beside it; None where there is nothing to hold it against."""
    second = the_map(_results, compared, compared.against)
    if second is None:
        return None

    def rho(first: np.ndarray) -> float:
        pairs = known_pairs(first, second)
        return spearman(first[pairs], second[pairs])

    curve = np.array([rho(found) for found in _results.search.correlations(generations)])
    others = {name: the_map(_results, compared, name) for name in MAPS if name not in ("search", compared.against)}
    return curve, {MAPS[name]: rho(values) for name, values in others.items() if values is not None}
