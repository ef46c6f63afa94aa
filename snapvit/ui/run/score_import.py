"""Published scores from a file become a run that the pages show."""

from __future__ import annotations

import streamlit as st

from snapvit.errors import InputError
from snapvit.paths import absolute
from snapvit.pipeline.published_runs import import_scores
from snapvit.published.scores import MOST_BYTES, PublishedScores, read_scores
from snapvit.ui.flow import flowing_columns
from snapvit.ui.names import as_markdown
from snapvit.ui.resources import store
from snapvit.ui.selection import change

IMPORTED_KEY = "imported_scores"  # session key: the run that was just made, to be named after the page is drawn anew


def score_import() -> None:
    """A folded section that takes a file's path or an upload, and makes a run of it."""
    made = st.session_state.pop(IMPORTED_KEY, None)
    with st.expander("Use published scores", icon=":material/file_open:", key="published", on_change="rerun") as fold:
        if not fold.open:
            return
        st.markdown(
            "The authors of SnapViT publish the scores of their models as files (`.pt`). One alone shows what every "
            "cut keeps and what it costs, without weights or images. Nothing in the file is run."
        )
        left, right = flowing_columns(2, 320, key="score_import")
        upload = left.file_uploader("Upload a file", ["pt", "pth"], max_upload_size=MOST_BYTES // 2**20)
        path = right.text_input("or its path on this computer", key="scores_path").strip()
        model = right.text_input(
            "timm model (optional)", key="scores_model", help="Only where the file names a model that is not known"
        ).strip()
        if st.button("Show these scores", key="import_scores", disabled=upload is None and not path):
            try:
                store().check_writable()
                with st.spinner("Reading the scores and counting the model's costs…"):
                    published = _read(upload, path)
                    run = import_scores(store(), published, model or None)
            except InputError as error:
                st.error(as_markdown(str(error)))
            else:
                st.session_state[IMPORTED_KEY] = run
                change(run=run)
                st.rerun()
        if made is not None:
            st.success(f"Run {made} is shown now: see the Heads and Sparsity pages.")


def _read(upload: object | None, path: str) -> PublishedScores:
    """The upload, or else the file at `path`."""
    if upload is not None:
        return read_scores(upload.getvalue(), upload.name)
    return read_scores(absolute(path))
