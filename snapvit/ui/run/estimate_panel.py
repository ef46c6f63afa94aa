"""What a run would take, shown before it is started: sizes of the model, memory and time, timed on this machine."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from snapvit.formats import amount, size
from snapvit.jobs.estimate import find_estimate
from snapvit.jobs.manager import JobState
from snapvit.jobs.tasks import EstimateTask
from snapvit.pipeline.config import RunRequest, seeded
from snapvit.pipeline.effort import Estimate
from snapvit.pipeline.table import TABLE
from snapvit.ui.flow import flowing_columns
from snapvit.ui.job_panel import REFRESH_SECONDS, minutes, progress_text
from snapvit.ui.names import as_markdown
from snapvit.ui.resources import jobs


def estimate_of(request: RunRequest) -> Estimate | None:
    """What was found out about this request, whatever its seed."""
    return find_estimate(jobs(), _seedless(request))[1]


def _seedless(request: RunRequest) -> RunRequest:
    return replace(request, config=seeded(request.config, 0))  # no seed costs more


def estimate_panel(request: RunRequest, running: bool) -> None:
    """A button that times a few batches of the request, then what was found. Not offered while a run is `running`."""
    request = _seedless(request)
    job, _ = find_estimate(jobs(), request)
    active = job is not None and job.state.active
    # While a run is under way its own panel draws the page anew; a second timer would get in its way.
    st.fragment(_draw, run_every=REFRESH_SECONDS if active and not running else None)(request, active, running)


def _draw(request: RunRequest, was_active: bool, running: bool) -> None:
    job, estimate = find_estimate(jobs(), request)
    active = job is not None and job.state.active
    if was_active and not active:
        st.rerun(scope="app")
    if active:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(job.progress.share, text=progress_text(job))
            if st.button("Cancel", key=f"cancel_{job.id}", icon=":material/stop_circle:"):
                jobs().cancel(job.id)
        return
    if job is not None and job.state is JobState.FAILED:
        st.error(as_markdown(job.error))
    if estimate is not None:
        _show(estimate)
        return
    if st.button(
        "Estimate memory and time",
        icon=":material/timer:",
        disabled=running,
        key="estimate",
        help="Loads the model (from the hub where it is not on disk yet) and times a few batches, in seconds to a "
        "minute or so; nothing is stored.",
    ):
        jobs().submit(EstimateTask(request))
        st.rerun(scope="app")


def _show(estimate: Estimate) -> None:
    with st.container(border=True, key="estimate_result"):
        st.markdown("**What this run would take**, from a few of its batches timed on this machine")
        columns = flowing_columns(4, 160, key="estimate_numbers")
        columns[0].metric("Parameters", amount(estimate.parameters))
        columns[1].metric("Tokens an image", f"{estimate.tokens:,}")
        columns[2].metric("Memory, about", size(estimate.memory))
        columns[3].metric("Time, min:s", minutes(estimate.total))
        stages = [f"{TABLE[stage].title} {minutes(seconds)}" for stage, seconds in estimate.seconds.items()]
        st.caption(
            f"{'; '.join(stages)} (min:s). Stages that the cache already holds take no time. Another busy program "
            "makes all of it slower. Statistics that correct weights, and images decoded once for all, take "
            f"{size(estimate.disk)} of the cache."
        )
