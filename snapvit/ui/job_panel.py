"""The current job as every tab sees it: a line in the sidebar, and the whole of it on the Run page.

The worker thread is never touched from here but through snapshots and a request to cancel.
"""

from __future__ import annotations

import numpy as np
import streamlit as st

from snapvit.formats import percent
from snapvit.jobs.manager import JobSnapshot, JobState
from snapvit.jobs.tasks import RunTask
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.pipeline.stages.search import SEARCH
from snapvit.pipeline.table import TABLE, main_stages
from snapvit.ui.names import as_markdown
from snapvit.ui.resources import chosen_results, jobs, run_stamp
from snapvit.ui.selection import change

REFRESH_SECONDS = 1.0
CHIP_SECONDS = 0.5  # a preliminary answer waits for the next look
STARTED = "started_job"  # session key: the job that this tab began
WAVED_AWAY = "waved_away_job"  # session key: the ended job that this tab has seen enough of
TOLD = "told"  # session key: what a toast is to say when the page is drawn next


def minutes(seconds: float) -> str:
    """`1:05`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def progress_text(job: JobSnapshot) -> str:
    """`Search, 43 %, 0:40 gone, about 1:05 left`."""
    progress = job.progress
    if job.state is JobState.QUEUED:
        return "Waiting for the job before it"
    if not progress.overall_total:
        downloads = [event.text for event in job.events if event.kind == "download"]
        if downloads:
            return as_markdown(downloads[-1].capitalize())
        return "Loading model and images" if isinstance(job.task, RunTask) else job.task.label
    left = "estimating the time left" if progress.eta is None else f"about {minutes(progress.eta)} left"
    name = TABLE[progress.stage].title if isinstance(job.task, RunTask) else job.task.label
    return f"{name}, {percent(progress.share, 0)}, {minutes(progress.elapsed)} gone, {left}"


def failed_run() -> JobSnapshot | None:
    """The newest job that computes a run, where it failed and this tab did not wave that away."""
    job = jobs().last_run()
    failed = job is not None and job.state is JobState.FAILED and st.session_state.get(WAVED_AWAY) != job.id
    return job if failed else None


def wave_away(job: JobSnapshot) -> None:
    """Speak no more of how this job ended, to be called in a callback."""
    st.session_state[WAVED_AWAY] = job.id


def job_chip(shown: str | None) -> None:
    """The running job in one line, for the sidebar. With `shown`, the page follows what the job adds to that run."""
    job = jobs().current()
    stamp = run_stamp(shown) if shown else None
    every = CHIP_SECONDS if job is not None else None
    st.fragment(_draw_chip, run_every=every)(job is not None, shown, stamp, _early_answers(job))


def _early_answers(job: JobSnapshot | None) -> int:
    return 0 if job is None else sum(event.kind == "early" for event in job.events)


def _draw_chip(was_active: bool, shown: str | None, stamp: int | None, early: int) -> None:
    job = jobs().current()
    for one in jobs().active():
        if one.state is JobState.RUNNING or one.id == job.id:
            st.progress(one.progress.share, text=progress_text(one))
    news = shown is not None and (run_stamp(shown) != stamp or _early_answers(job) > early)
    if was_active and (job is None or news):
        st.rerun(scope="app")


def job_panel(shown: str | None) -> None:
    """The newest run job in full: stages, progress, what the search finds, cancel; or how it ended.

    The page below follows what the job adds to the run `shown`.
    """
    job = jobs().last_run()
    if job is not None and st.session_state.get(WAVED_AWAY) != job.id:
        active = job.state.active
        stamp = run_stamp(shown) if shown else None
        st.fragment(_draw_panel, run_every=REFRESH_SECONDS if active else None)(job.id, active, shown, stamp)


def _draw_panel(job_id: int, was_active: bool, shown: str | None, stamp: int | None) -> None:
    job = jobs().snapshot(job_id)
    if st.session_state.get(WAVED_AWAY) == job_id:
        st.rerun(scope="app")
    ended = was_active and not job.state.active
    if ended or (was_active and shown is not None and run_stamp(shown) != stamp):
        st.rerun(scope="app")
    with st.container(border=True, key="job_panel"):
        if job.state.active:
            _draw_active(job)
        else:
            _draw_ended(job)
        with st.expander("Log"):
            st.code("\n".join(event.text for event in job.events[-200:]) or "nothing yet", language=None)


def _draw_active(job: JobSnapshot) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader(f"Running: {as_markdown(job.task.name or job.task.run)}", width="content")
        if st.button("Cancel", key=f"cancel_{job.id}", icon=":material/stop_circle:"):
            jobs().cancel(job.id)
    st.progress(job.progress.share, text=progress_text(job))
    began = [event.text.removesuffix(" begins") for event in job.events if event.kind == "stage"]
    cached = {event.text.removesuffix(" is in the cache") for event in job.events if event.kind == "cached"}
    marks = []
    for stage in (*main_stages(job.task.request), LATENCY):
        running = bool(began) and began[-1] == stage.name
        mark = ":material/progress_activity:" if running else ":material/radio_button_unchecked:"
        if stage.name in cached or (stage.name in began and not running):
            mark = ":material/check_circle:"
        name = stage.title + (" (cached)" if stage.name in cached else "")
        marks.append(f"{mark}&nbsp;{name.replace(' ', '&nbsp;')}")  # a mark stays with its name
    st.markdown(" &ensp; ".join(marks))
    generations = fitness_so_far(job, chosen_results(job.task.run))
    if generations:
        st.markdown("**Fitness by generation**: mean distance of the cut models' embeddings to the full model's.")
        st.line_chart(
            {
                "generation": [int(v["generation"]) for v in generations],
                "best so far": [v["best"] for v in generations],
                "mean of the generation": [v["mean"] for v in generations],
            },
            x="generation",
            x_label="Generation",
            y_label="Fitness (lower is better)",
            height=240,
        )


def fitness_so_far(job: JobSnapshot, results: RunResults | None) -> list[dict[str, float]]:
    """Generation, best fitness so far and mean, from the first generation on: what an earlier job found comes first."""
    found = [event.values for event in job.events if event.kind == "generation"]
    history = None if results is None else results.search
    if not found or history is None:
        return found
    fitness = np.where(np.isfinite(history.individual_fitness), history.individual_fitness, np.nan)
    before = fitness[: int(found[0]["generation"]) - 1]
    if not len(before) or np.isnan(before).all(axis=1).any():
        return found
    best, mean = history.best_so_far, np.nanmean(before, axis=1)
    return [{"generation": i + 1, "best": float(best[i]), "mean": float(mean[i])} for i in range(len(before))] + found


def _draw_ended(job: JobSnapshot) -> None:
    st.button("Dismiss", type="tertiary", icon=":material/close:", key="dismiss", on_click=wave_away, args=(job,))
    if job.state is JobState.FINISHED:
        st.success(f"Run {job.task.run} is finished, after {minutes(job.progress.elapsed)}.")
        return
    if job.state is JobState.CANCELLED:
        st.warning(f"Run {job.task.run} was cancelled.")
    else:
        st.error(f"Run {job.task.run} failed. {as_markdown(job.error)}")
    kept = what_is_kept(chosen_results(job.task.run))
    st.markdown(f"Finished and kept: {kept}." if kept else "Nothing was finished yet, so nothing is kept.")
    if st.button(
        "Go on with this run" if kept else "Start it again", key=f"resume_{job.id}", icon=":material/play_arrow:"
    ):
        start(job.task)
        st.rerun(scope="app")


def what_is_kept(results: RunResults | None) -> str | None:
    """What of a run is in the cache: `Local curvature, CKA map, Search (5 of 12 generations)`; None for nothing."""
    if results is None:
        return None
    done, search, measured = results.summary.done, results.search, results.as_cut
    kept = [TABLE[stage].title for stage in done]
    if "search" not in done and search is not None and search.generations:
        kept.append(f"{SEARCH.title} ({search.generations} of {results.request.config.search.generations} generations)")
    if "evaluation" not in done and measured is not None and len(measured):
        kept.append(f"{EVALUATION.title} (cuts measured: {len(measured)})")
    return ", ".join(kept) or None


def start(task: RunTask) -> None:
    """Submit a run and remember that this tab began it."""
    st.session_state[STARTED] = jobs().submit(task)
    what = as_markdown(task.request.model.label)
    announce(f"Started: {what}. Its progress is beside the form and at the left of every page.")


def tell_finished(show: bool) -> None:
    """Announce, once, that the run which this tab started is finished; with `show`, select it.

    To be called before a page reads the selection: whatever draws a page after the job's end comes through here.
    """
    started = st.session_state.get(STARTED)
    job = None if started is None else jobs().snapshot(started)
    if job is None or job.state is not JobState.FINISHED:
        return
    del st.session_state[STARTED]
    if show:
        change(run=job.task.run)
    announce(f"Run {job.task.run} is finished" + (" and shown now." if show else "; choose it at the left."))


def announce(sentence: str) -> None:
    """Have a toast say this, in markdown, when the page is drawn next."""
    st.session_state[TOLD] = sentence


def announced() -> None:
    """Say what was announced, once."""
    told = st.session_state.pop(TOLD, None)
    if told is not None:
        st.toast(told, icon=":material/info:")
