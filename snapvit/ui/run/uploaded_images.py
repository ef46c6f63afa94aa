"""The list of uploaded images in the cache: how large each set is, which runs use it, and a way to delete it."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from snapvit.data.kept_uploads import Upload, delete_upload, list_uploads
from snapvit.environment import only_shows
from snapvit.errors import InputError
from snapvit.formats import size
from snapvit.jobs.tasks import EstimateTask, RunTask
from snapvit.pipeline.uploads import runs_by_source
from snapvit.ui.image_names import images_in_short
from snapvit.ui.names import as_markdown, shortened
from snapvit.ui.resources import jobs, store
from snapvit.ui.run.image_picker import forget_images

NAMED = 4  # classes that tell one set from another
KEPT = " What its runs found stays, but nothing more can be computed for them until the same zip is uploaded again."


def uploaded_images() -> None:
    """A row an upload, newest first; nothing where there is none."""
    found = list_uploads(store().root)
    if not found:
        return
    st.header("Uploaded images")
    st.caption(
        f"Unpacked zips, {size(sum(upload.size for upload in found))} in all. Each goes with the last run that uses it."
    )
    users, at_work = runs_by_source(store()), sources_at_work()
    for upload in found:
        _row(upload, users[upload.name], upload.name in at_work)


def sources_at_work() -> set[str]:
    """Names of the sources that a job uses or waits for."""
    tasks = [job.task for job in jobs().snapshots() if job.state.active]
    asked = [task.request for task in tasks if isinstance(task, RunTask | EstimateTask)]
    names = {name for request in asked for name in (request.data, request.gallery, request.queries) if name is not None}
    runs = {getattr(task, "run", None) for task in tasks}
    return names | {name for name, users in runs_by_source(store()).items() if runs & set(users)}


def _row(upload: Upload, runs: list[str], at_work: bool) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"row_{_key(upload)}"):
        used = f"used by {', '.join(runs)}" if runs else "used by no run"
        st.markdown(
            f"**{_words(upload)}**  \n{size(upload.size)}, unpacked "
            f"{datetime.fromtimestamp(upload.unpacked):%d %b %Y %H:%M}, {used}  \n:gray[{upload.name}]",
            width="stretch",
        )
        if only_shows():
            return
        with st.popover("Delete", disabled=at_work, key=f"ask_{_key(upload)}"):
            st.markdown(f"Delete these {upload.images:,} images? This cannot be undone.{KEPT if runs else ''}")
            if st.button("Delete for good", key=f"delete_{_key(upload)}"):
                _delete(upload)


def _words(upload: Upload) -> str:
    """What people know it by."""
    names = ", ".join(as_markdown(shortened(name)) for name in upload.folders[:NAMED])
    more = ", …" if len(upload.folders) > NAMED else ""
    kinds = f": {names}{more}" if names else " without labels"
    return f"{images_in_short(upload.name)} · {upload.images:,} images{kinds}"


def _key(upload: Upload) -> str:
    return upload.name.replace(":", "_")


def _delete(upload: Upload) -> None:
    try:
        store().check_writable()
        delete_upload(upload.name, store().root)
    except InputError as error:
        st.error(as_markdown(str(error)))
    else:
        forget_images()
        st.rerun()
