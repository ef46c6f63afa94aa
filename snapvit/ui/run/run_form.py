"""The form that starts a run: model, preset or own settings, seed."""

from __future__ import annotations

import dataclasses

import streamlit as st

from snapvit.errors import InputError
from snapvit.jobs.tasks import RunTask
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.config import PRESETS, RunConfig, RunRequest
from snapvit.pipeline.request import make_request
from snapvit.ui.flow import flowing_columns
from snapvit.ui.job_panel import start
from snapvit.ui.names import as_markdown
from snapvit.ui.resources import jobs
from snapvit.ui.run.estimate_panel import estimate_panel
from snapvit.ui.run.image_picker import Images, pick_images
from snapvit.ui.run.model_picker import pick_model

PRESET_NOTES = {
    "quick": "Quick: fewer images and 12 generations; about two minutes for the bundled model on two cores.",
    "paper": "Paper: 1,000 images, 2 + 10 views, 30 generations; tens of minutes for the bundled model on two cores.",
    "custom": "Custom: start from the quick preset and change what you like.",
}
# setting, label, what it means, step
NUMBERS = (
    ("curvature.images", "Curvature images", "Calibration images whose gradients are averaged", 32),
    ("curvature.local_views", "Local views", "Small crops of each image, beside 2 large ones", 1),
    ("cka.images", "CKA images", "Images of the CKA map", 32),
    ("search.generations", "Generations", "Of the evolution strategy", 1),
    ("search.images", "Search images", "Images that each candidate is judged on", 16),
    ("correction.images", "Correction images", "Images of the statistics that correct a cut's weights", 64),
    ("evaluation.gallery", "Gallery", "Labelled images that queries are compared with", 100),
    ("evaluation.queries", "Queries", "Images whose class k-NN has to name", 100),
    ("evaluation.points", "Points", "Cuts measured along the slider's path, evenly spaced", 2),
    ("evaluation.k", "k", "Neighbours that vote", 1),
)
CHOICES = (
    ("curvature.criterion", "Curvature", ("fisher", "accumulated"), "Squares of per-image gradients, or of their sum"),
    (
        "search.start",
        "Start of the search",
        ("identity", "cka", "displacement"),
        "Covariance before the first generation",
    ),
    (
        "correction.form",
        "Correction",
        ("elastic", "sequential"),
        "One set of statistics for every cut, or anew for each cut, block after block",
    ),
    (
        "correction.damping",
        "Damping",
        ("mean", "p95", "max"),
        "Of the covariance, a share of which is added to it",
    ),
)
FLOORS = (
    ("floors.neurons", "Floor: neurons", "Share of its best neurons that every block keeps"),
    ("floors.heads", "Floor: heads", "Share of its best heads that every block keeps"),
)


def run_form() -> None:
    """Draw the form; its button submits the run to the worker."""
    left, right = flowing_columns(2, 320, key="run_form")
    with left:
        spec = pick_model()
        images = pick_images(PRESETS["quick"].evaluation.k)
    with right:
        preset = st.segmented_control("Preset", [*PRESETS, "custom"], default="quick", key="preset", required=True)
        st.caption(PRESET_NOTES[preset])
        seed = st.number_input("Seed of the search", 0, 2**31 - 1, 0, key="seed", help="Same seed, same numbers")
    settings = [f"search.seed={seed}"] + (_custom() if preset == "custom" else [])
    request = _request(spec, images, preset, settings) if spec and images else None
    current = jobs().current()
    running = current is not None and isinstance(current.task, RunTask)
    if request is not None:
        estimate_panel(request, running)
    pressed = st.button(
        "Start", type="primary", icon=":material/play_arrow:", disabled=running or request is None, key="start"
    )
    if running:
        st.caption("A run is under way, at the top of this page; the next can start when it is finished or cancelled.")
    elif pressed and request is not None:
        start(RunTask(request))
        st.rerun()


def _request(spec: ModelSpec, images: Images, preset: str, settings: list[str]) -> RunRequest | None:
    try:
        return make_request(spec, *images, preset=preset if preset in PRESETS else "quick", settings=settings)
    except InputError as error:
        st.error(as_markdown(str(error)))
        return None


def _custom() -> list[str]:
    base: RunConfig = PRESETS["quick"]
    settings = []
    with st.container(border=True):
        columns = flowing_columns(3, 150, key="custom_numbers")
        for i, (name, label, text, step) in enumerate(NUMBERS):
            value = columns[i % 3].number_input(label, value=_value(base, name), step=step, help=text, key=name)
            settings.append(f"{name}={value}")
        columns = flowing_columns(3, 150, key="custom_choices")
        for i, (name, label, options, text) in enumerate(CHOICES):
            settings.append(f"{name}={columns[i % 3].selectbox(label, options, help=text, key=name)}")
        for column, (name, label, text) in zip(columns[1:], FLOORS, strict=True):
            value = column.number_input(label, value=_value(base, name), step=0.05, help=text, key=name)
            settings.append(f"{name}={value}")
    return settings


def _value(config: RunConfig, name: str) -> int | float:
    section, key = name.split(".")
    return dataclasses.asdict(config)[section][key]
