"""The list of runs in the cache: open one; go on with one, name one, delete one."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from snapvit.data.kept_uploads import Upload
from snapvit.environment import only_shows
from snapvit.errors import InputError
from snapvit.formats import size
from snapvit.jobs.tasks import RunTask
from snapvit.pipeline.results import (
    FINISHED,
    FORMER,
    IMPORTED,
    UNFINISHED,
    RunSummary,
    former_request,
    list_runs,
    load_results,
)
from snapvit.pipeline.table import TABLE
from snapvit.pipeline.uploads import delete_run, going_with
from snapvit.ui.job_panel import announce, minutes, start
from snapvit.ui.names import as_markdown
from snapvit.ui.resources import jobs, store
from snapvit.ui.run.image_picker import forget_images
from snapvit.ui.run.run_form import LONGEST
from snapvit.ui.run.uploaded_images import sources_at_work
from snapvit.ui.run_titles import run_title
from snapvit.ui.selection import SESSION_KEY, change


def past_runs(selected: str | None) -> None:
    """A row a run, newest first."""
    summaries = list_runs(store())
    if not summaries:
        st.info("Nothing here yet.")
        return
    going = going_with(store(), sources_at_work())
    for summary in summaries:
        _row(summary, summary.run == selected, going[summary.run])


def _row(summary: RunSummary, is_selected: bool, going: list[Upload]) -> None:
    at_work = [job.task for job in jobs().snapshots() if job.state.active]
    active = {task.run for task in at_work}
    computing = {task.run for task in at_work if isinstance(task, RunTask)}  # others only add to a run
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"run_{summary.run}"):
        st.markdown(
            f"**{as_markdown(run_title(summary))}**  \n{_state(summary, summary.run in computing)}, begun "
            f"{datetime.fromtimestamp(summary.created):%d %b %Y %H:%M}  \n:gray[{summary.run}]",
            width="stretch",
        )
        st.button(
            "Shown" if is_selected else "Show",
            key=f"show_{summary.run}",
            disabled=is_selected or summary.state == FORMER,
            on_click=change,
            kwargs={"run": summary.run},
        )
        if only_shows():
            return
        if summary.state == FORMER and st.button("Compute again", key=f"again_{summary.run}", disabled=bool(active)):
            start(RunTask(former_request(store(), summary.run)))
            st.rerun()
        if summary.state == UNFINISHED and st.button("Go on", key=f"go_on_{summary.run}", disabled=bool(active)):
            start(RunTask(load_results(store(), summary.run).request))
            st.rerun()
        if summary.state != FORMER:
            with st.popover("Name"):
                key = f"name_{summary.run}"
                st.text_input("What people call it", summary.name, key=key, max_chars=LONGEST, placeholder="no name")
                st.button("Keep", key=f"keep_{summary.run}", on_click=_rename, args=(summary.run, key))
        with st.popover("Delete", disabled=summary.run in active):
            also = "".join(
                f" The {upload.images:,} uploaded images ({size(upload.size)}), which no other run uses, go with it."
                for upload in going
            )
            st.markdown(f"Delete **{summary.run}** and its files? This cannot be undone.{also}")
            if st.button("Delete for good", key=f"delete_{summary.run}"):
                _delete(summary.run)


def _state(summary: RunSummary, under_way: bool) -> str:
    if under_way:
        return ":material/progress_activity: under way"
    if summary.state == FORMER:
        return ":material/history: computed by an earlier version, whose results this one does not read"
    if summary.state == FINISHED:
        return f":material/check_circle: finished, {minutes(summary.seconds)} of work"
    if summary.state == IMPORTED:
        return ":material/description: imported scores, nothing measured"
    done = ", ".join(TABLE[stage].title for stage in summary.done)
    return f":material/pending: unfinished ({f'done: {done}' if done else 'no stage done yet'})"


def _rename(run: str, key: str) -> None:
    try:
        store().rename(run, st.session_state[key])
    except InputError as error:
        announce(as_markdown(str(error)))


def _delete(run: str) -> None:
    try:
        delete_run(store(), run, sources_at_work())
        forget_images()
        if st.session_state[SESSION_KEY].run == run:
            change(run=None)
    except InputError as error:
        st.error(as_markdown(str(error)))
    else:
        st.rerun()
