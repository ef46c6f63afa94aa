"""Work that a page can ask for: a button, then its progress with a way to stop it, and why it failed."""

from __future__ import annotations

import streamlit as st

from snapvit.environment import only_shows
from snapvit.jobs.manager import JobSnapshot, JobState
from snapvit.jobs.tasks import Task
from snapvit.ui.job_panel import progress_text
from snapvit.ui.names import as_markdown
from snapvit.ui.resources import jobs

NOT_HERE = ":material/lock: This dashboard only shows what is there; computing it is switched off."


def offer(task: Task, prompt: str, button: str, icon: str = ":material/play_arrow:", key: str = "offer") -> None:
    """Offer `task`, or show how it stands. The page is to be drawn with its result once that is in the store.

    The sidebar's line draws the page anew when a job ends; a second timer here would get in its way, so the progress
    that moves is there. Where nothing is to be computed, say so.
    """
    if only_shows():
        st.markdown(prompt)
        st.caption(NOT_HERE)
        return
    job = next((job for job in jobs().snapshots() if job.task == task), None)
    if job is not None and job.state.active:
        st.markdown(prompt)
        st.markdown(f":material/progress_activity: {_standing(job)}")
        if st.button("Cancel", key=f"cancel_{job.id}", icon=":material/stop_circle:"):
            jobs().cancel(job.id)
            st.rerun()
        return
    if job is not None and job.state is JobState.FAILED:
        st.error(f"{job.task.label} did not work. {as_markdown(job.error)}")
    elif job is not None:
        for note in (event.text for event in job.events if event.kind == "note"):
            st.warning(as_markdown(note))
    st.markdown(prompt)
    if st.button(button, key=key, icon=icon):
        jobs().submit(task)
        st.rerun()


def _standing(job: JobSnapshot) -> str:
    if job.state is JobState.QUEUED:
        return f"{job.task.label}: waiting for the job before it"
    return f"{progress_text(job)}. The page follows by itself; progress is shown at the left."
