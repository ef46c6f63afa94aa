"""Where the smaller model is written, in which formats, and the proof that it is the same model."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import streamlit as st

from snapvit.environment import only_shows
from snapvit.errors import InputError
from snapvit.export.extras import onnx_lacks
from snapvit.export.target import check_target
from snapvit.formats import ratio
from snapvit.jobs.tasks import ExportTask
from snapvit.paths import absolute
from snapvit.pipeline.results import RunResults
from snapvit.ui.flow import flowing_columns
from snapvit.ui.names import as_markdown
from snapvit.ui.offer import NOT_HERE, offer
from snapvit.ui.resources import jobs

FOLDER = "exports"  # beside where the server was started
CARD, CONFIG = "README.md", "config.json"  # of what an export wrote
ONE_CUT, ELASTIC = "This cut", "Elastic, any cut"


def hand_over(results: RunResults, pair: tuple[float, float]) -> None:
    """The form, the job, and what was handed over."""
    st.header("Hand it over")
    if only_shows():
        st.markdown("`snapvit export` writes this cut as a model of its own, where the run is.")
        st.caption(NOT_HERE)
        return
    columns = flowing_columns(3, 240, key="export_form", align="bottom")
    what = columns[0].segmented_control("What", [ONE_CUT, ELASTIC], default=ONE_CUT, key="export_what", required=True)
    formats, lacks = ["safetensors"], onnx_lacks()
    one = what == ONE_CUT
    if columns[1].checkbox("ONNX", key="export_onnx", disabled=not one or lacks is not None, help=lacks) and one:
        formats.append("onnx")
    if columns[2].checkbox("torch.export program", key="export_program", disabled=not one) and one:
        formats.append("program")
    if lacks is not None and one:
        st.caption(lacks)
    written = st.text_input("Folder, new or empty", _default_folder(results, pair if one else None))
    target = absolute(written)
    task = ExportTask(results.summary.run, pair if one else None, str(target), tuple(formats), results.correct)
    done = next((job for job in jobs().snapshots() if job.task == task and not job.state.active), None)
    if (target / CONFIG).is_file() and (target / CARD).is_file():
        said = next((event.text for event in done.events if event.kind == "exported"), None) if done else None
        _handed_over(target, said)
        return
    try:
        check_target(target)
    except InputError as error:
        st.error(as_markdown(str(error)))
        return
    offer(
        task,
        f"{_what(results, pair if one else None)} It is written beside the folder first; a fresh process that has "
        "torch and timm alone then loads it, makes its outputs of images that nothing was calibrated on, times it "
        "beside the full model and takes one step of training. Only what passes gets the folder's name.",
        "Export and prove",
        icon=":material/output:",
        key="export",
    )


def _what(results: RunResults, pair: tuple[float, float] | None) -> str:
    corrected = ", its weights corrected" if results.correct else ", as it is cut"
    if pair is None:
        return f"The whole model with its ranking{', and what corrects any cut of it' if results.correct else ''}."
    return f"The cut at {ratio(pair[0])} of neurons and {ratio(pair[1])} of heads{corrected}."


def _default_folder(results: RunResults, pair: tuple[float, float] | None) -> str:
    cut = "elastic" if pair is None else f"{pair[0]:g}-{pair[1]:g}"
    return f"{FOLDER}/{results.summary.run}-{cut}{'-corrected' if results.correct else ''}"


def _handed_over(target: Path, said: str | None) -> None:
    """The proof, as the model card has it, and the folder as one file."""
    st.success(as_markdown(said or f"{target} holds this model."), icon=":material/verified:")
    name = target.name
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Download as zip",
            lambda: _zipped(target),
            f"{name}.zip",
            "application/zip",
            icon=":material/download:",
            on_click="ignore",
            key="export_zip",
        )
        st.caption("To export it again, name another folder or delete this one.")
    st.code(f"import sys; sys.path.insert(0, {str(target)!r})\nfrom load import load\nmodel = load({str(target)!r})")
    with st.expander("Model card, with the proof", expanded=True):
        st.markdown(_card(target))


def _card(target: Path) -> str:
    """The card without its front matter and with smaller headings."""
    text = (target / CARD).read_text(encoding="utf-8").split("---\n", 2)[-1]
    return "\n".join(f"##{line}" if line.startswith("#") else line for line in text.splitlines())


def _zipped(target: Path) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(target.iterdir()):
            archive.write(file, f"{target.name}/{file.name}")
    return held.getvalue()
