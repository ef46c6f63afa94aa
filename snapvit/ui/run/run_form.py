"""The form that starts a run: model, preset or own settings, seed."""

from __future__ import annotations

import dataclasses
from typing import Any

import streamlit as st

from snapvit.data.sources import TORCHVISION
from snapvit.errors import InputError
from snapvit.jobs.tasks import RunTask
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.config import PRESETS, RunConfig, RunRequest
from snapvit.pipeline.methods import METHODS
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import FINISHED, list_runs
from snapvit.ui.flow import flowing_columns
from snapvit.ui.job_panel import announce, minutes, start
from snapvit.ui.names import as_markdown
from snapvit.ui.resources import jobs, store
from snapvit.ui.run.device_choice import ask_device, device_chosen
from snapvit.ui.run.estimate_panel import estimate_of, estimate_panel
from snapvit.ui.run.fields import choice, number, text
from snapvit.ui.run.image_picker import Images, pick_images
from snapvit.ui.run.model_picker import FIRST_NAME, NAMED, pick_model
from snapvit.ui.selection import change, put_setting, setting, setting_key

LONGEST = 60  # characters of a run's name
# setting, label, what it means, step
NUMBERS = (
    ("curvature.images", "Curvature images", "Calibration images whose gradients are averaged", 32),
    ("curvature.local_views", "Local views", "Small crops of each image, beside 2 large ones", 1),
    ("cka.images", "CKA images", "Images of the CKA map", 32),
    ("search.generations", "Generations", "Of the evolution strategy", 1),
    ("search.images", "Search images", "Images that each candidate is judged on", 16),
    ("interactions.images", "Gauss-Newton images", "Images of Gauss-Newton and of displacements", 32),
    ("interactions.probes", "Probes", "Random directions of Gauss-Newton, an image", 1),
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


USUAL = "direct"  # at first: as good as a search or better (docs/evidence.md), in minutes
CUSTOM, CUSTOM_FROM = "custom", "quick"
OWN = "preset"  # the method that the preset has
# One click's choice of the form: setting to value, as in an address
REAL = {
    "model_kind": NAMED,
    f"model_name_{FIRST_NAME}": FIRST_NAME,
    "image_kind": TORCHVISION,
    "image_set": "CIFAR10",
    "preset": "look",
}


def run_form() -> None:
    """Draw the form; its button submits the run to the worker."""
    running = any(isinstance(job.task, RunTask) for job in jobs().active())
    device = device_chosen()
    _real_model(running or device is None, device)
    spec = pick_model()
    images = pick_images(PRESETS[CUSTOM_FROM].evaluation.k)
    presets = [*PRESETS, CUSTOM]
    preset = setting("preset", presets, USUAL)
    st.segmented_control("Preset", presets, default=preset, key=setting_key("preset"), required=True)
    note = st.empty()
    own = PRESETS.get(preset, PRESETS[CUSTOM_FROM]).ranking.method
    left, right = flowing_columns(2, 200, key="method_and_seed")
    method = choice(
        left,
        "Ranked by",
        "method",
        [OWN, *METHODS],
        OWN,
        format_func=lambda name: "The preset's own" if name == OWN else METHODS[name].label,
        help="What decides which structures go first. SnapViT searches; all others take one pass, or look at the "
        "weights alone. Compare holds them against one another.",
    )
    draws = METHODS[own if method == OWN else method].seed
    seed = number(
        right,
        "Seed of the search" if draws == "search.seed" else "Seed",
        "seed",
        *(0, 1),
        min_value=0,
        max_value=2**31 - 1,
        disabled=draws is None,
        help="Same seed, same run",
    )
    if device is not None:
        ask_device()
    name = text(st, "Name (optional)", "name", max_chars=LONGEST, placeholder="what this run is to be called")
    settings = _custom() if preset == CUSTOM else []
    how = (None if method == OWN else method, settings, None if draws is None else seed)
    request = _request(spec, images, preset, *how, device) if spec and images and device else None
    note.caption(_preset_note(preset, request))
    if request is not None:
        estimate_panel(request, running)
    pressed = st.button(
        "Start", type="primary", icon=":material/play_arrow:", disabled=running or request is None, key="start"
    )
    if running:
        st.caption("A run is under way; the next can start when it is finished or cancelled.")
    elif pressed and request is not None:
        _start(request, name, device)
        st.rerun()


def _start(request: RunRequest, name: str, device: str) -> None:
    """Submit the run; one that is finished is shown instead."""
    known = next((summary for summary in list_runs(store()) if summary.run == request.run), None)
    if known is not None and known.state == FINISHED:
        if name:
            store().rename(request.run, name)
        announce(f"This run is finished already, after {minutes(known.seconds)} of work; it is shown now.")
        change(run=request.run)
    else:
        start(RunTask(request, name, device))


def _real_model(disabled: bool, device: str | None) -> None:
    st.button(
        "Try a real model on real photographs",
        icon=":material/photo_camera:",
        key="real_model",
        on_click=_start_real_model,
        args=(device,),
        disabled=disabled,
    )
    st.caption(
        f"{FIRST_NAME} (a ViT-S/16 by DINO) from the hub, 87 MB, on CIFAR-10's 10,000 test photographs, 170 MB; on two "
        "cores a few minutes with the preset *look*. The first time both are downloaded."
    )


def _start_real_model(device: str) -> None:
    """Fill the form in and start it, in a callback."""
    for name, value in REAL.items():
        put_setting(name, value)
    request = make_request(ModelSpec(FIRST_NAME), TORCHVISION + REAL["image_set"], preset=REAL["preset"], device=device)
    _start(request, "", device)


def _preset_note(preset: str, request: RunRequest | None) -> str:
    """What the settings are, and how long they take by the estimate for these very model and images."""
    config = PRESETS.get(preset, PRESETS[CUSTOM_FROM]) if request is None else request.config
    label = METHODS[config.ranking.method].label
    what = f"Ranked by {label}: {_how(config)}, {config.evaluation.points} cuts measured."
    if request is None:
        return what
    estimate = estimate_of(request)
    if estimate is None:
        return f"{what} How long that takes depends on model and images: *Estimate* times a few batches."
    return f"{what} By the estimate about **{in_words(estimate.total)}** on this machine."


def _how(config: RunConfig) -> str:
    """What the ranking is made of, with its counts."""
    views, method = config.curvature.global_views + config.curvature.local_views, config.ranking.method
    if method.startswith("gauss-newton"):
        return f"{config.interactions.images:,} images with {config.interactions.probes} probes each, no search"
    looked = f"{config.curvature.images:,} images"
    return {
        "snapvit": f"{looked} of {views} views, {config.search.generations} generations",
        "curvature": f"{looked} of {views} views, no search",
        "snip": f"{looked} of {views} views, no search",
        "variance": f"{looked}, no search",
        "cross-entropy": f"{looked} and their labels, no search",
    }.get(method, "no image is looked at, no search")


def in_words(seconds: float) -> str:
    """`37 minutes`."""
    count = max(1, round(seconds / 60))
    return "a minute" if count == 1 else f"{count} minutes" if count < 120 else f"{count / 60:.0f} hours"


def _request(
    spec: ModelSpec,
    images: Images,
    preset: str,
    method: str | None,
    settings: list[str],
    seed: int | None,
    device: str,
) -> RunRequest | None:
    try:
        known = preset if preset in PRESETS else CUSTOM_FROM
        return make_request(spec, *images, known, method, settings, seed, device=device)
    except InputError as error:
        st.error(as_markdown(str(error)))
        return None


def _custom() -> list[str]:
    base: RunConfig = PRESETS[CUSTOM_FROM]
    settings = []
    with st.container(border=True):
        columns = flowing_columns(3, 150, key="custom_numbers")
        for i, (name, label, what, step) in enumerate(NUMBERS):
            settings.append(f"{name}={number(columns[i % 3], label, name, _value(base, name), step, help=what)}")
        columns = flowing_columns(3, 150, key="custom_choices")
        for i, (name, label, options, what) in enumerate(CHOICES):
            settings.append(f"{name}={choice(columns[i % 3], label, name, options, _value(base, name), help=what)}")
        for column, (name, label, what) in zip(columns[1:], FLOORS, strict=True):
            settings.append(f"{name}={number(column, label, name, _value(base, name), 0.05, help=what)}")
    return settings


def _value(config: RunConfig, name: str) -> Any:
    section, key = name.split(".")
    return dataclasses.asdict(config)[section][key]
