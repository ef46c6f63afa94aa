"""What makes an answer come soon: the model loaded before it is asked for, and a first answer from fewer images."""

from __future__ import annotations

import streamlit as st

from snapvit.environment import only_shows
from snapvit.evaluation.knn import wilson_interval
from snapvit.formats import percent
from snapvit.jobs.manager import JobState
from snapvit.jobs.tasks import LoadTask, MeasureTask
from snapvit.ui.resources import jobs


def warm_up(run: str) -> None:
    """Have the idle worker load this run's model, unless that is what it worked with last or it cannot be loaded."""
    snapshots = jobs().snapshots()
    if only_shows() or any(job.state.active for job in snapshots):
        return
    if any(job.task == LoadTask(run) and job.state is JobState.FAILED for job in snapshots):
        return
    last = next((job for job in snapshots if job.state is JobState.FINISHED), None)
    if last is None or last.task.run != run:
        jobs().submit(LoadTask(run))


def early_answer(task: MeasureTask) -> None:
    """While `task` runs, the accuracy among the first images, as soon as it is there."""
    job = next((job for job in jobs().snapshots() if job.task == task and job.state.active), None)
    found = next((e.values for e in job.events if e.kind == "early"), None) if job else None
    if found is None:
        return
    hits, queries = int(found["hits"]), int(found["queries"])
    low, high = wilson_interval(hits, queries)
    st.info(
        f"Preliminary: of the first {queries:,} queries, k-NN (k = {int(found['k'])}) among the first "
        f"{int(found['gallery']):,} gallery images names **{percent(hits / queries)}** right, 95 % interval "
        f"{percent(low)} to {percent(high)}. A smaller gallery usually gives a lower accuracy; the final "
        "number, of all images, follows.",
        icon=":material/hourglass_top:",
    )
