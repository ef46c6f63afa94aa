"""The choice of images for a run: bundled, a folder, a public data set, or an upload; what is in it is seen at once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from snapvit.data.archive import LARGEST_UPLOAD, unpack_upload
from snapvit.data.fashion_mnist import BUNDLED
from snapvit.data.folder import forget_names
from snapvit.data.image_source import UNLABELLED, Skipped
from snapvit.data.sources import FOLDER, TORCHVISION, UPLOAD, ImageSource, canonical_name, open_images, open_source
from snapvit.data.splits import Split, split_counts, split_source
from snapvit.data.thumbnails import thumbnail
from snapvit.data.torchvision_sets import SETS, data_root, find_set
from snapvit.errors import InputError
from snapvit.evaluation.knn import KnnLimits, limits_sentence, reachable_top1, why_no_accuracy
from snapvit.ui.names import as_markdown
from snapvit.ui.resources import store
from snapvit.ui.run.fields import choice, text

KINDS = {
    BUNDLED: "Bundled Fashion-MNIST test images",
    FOLDER: "A folder on this computer",
    TORCHVISION: "A public data set",
    UPLOAD: "Upload a zip",
}
EXAMPLES = 10  # pictures shown of a source, of as many classes as can be
EXAMPLE_SIZE = 96  # pixels
SHOWN_LEFT_OUT = 500  # files that a page lists; there may be a million
FEW_CLASSES = 100  # whose split is sent along before anybody asked for it
PARTS = ("Calibration and search", "Gallery", "Queries")


class Images(NamedTuple):
    """Names of sources: the images, and where gallery and queries come from if they are no part of them."""

    data: str
    gallery: str | None
    queries: str | None


def pick_images(k: int) -> Images | None:
    """Draw the choice and what is known of the chosen images; their sources, or None while they cannot be used.

    k: neighbours that will vote, for a word on whether there can be an accuracy.
    """
    kind = choice(st, "Images", "image_kind", list(KINDS), BUNDLED, format_func=KINDS.__getitem__)
    data = _pick_data(kind, k)
    if data is None:
        return None
    try:
        gallery, queries = _pick_parts()
        if gallery is not None or queries is not None:
            _describe(_all_images(data, gallery, queries, str(store().root)), k)
        return Images(data, gallery, queries)
    except InputError as error:
        st.error(as_markdown(str(error)))
        return None


def _pick_parts() -> list[str | None]:
    """Sources of gallery and queries, where they are no part of the images chosen above."""
    with st.expander("Gallery and queries from other folders", key="image_parts"):
        st.caption(
            "The usual protocol: query images are named by their nearest neighbours in a gallery, often a data set's "
            "validation and training images. Leave empty to take parts of the images above."
        )
        folders = [
            text(st, f"Folder of {what}, a folder a class", f"image_{part}")
            for part, what in (("gallery", "gallery images"), ("queries", "query images"))
        ]
    return [canonical_name(FOLDER + folder) if folder.strip() else None for folder in folders]


@st.cache_resource(show_spinner="Reading the images…", max_entries=2)
def _all_images(data: str, gallery: str | None, queries: str | None, cache: str) -> ImageSource:
    return open_images(data, gallery, queries, Path(cache))


def _pick_data(kind: str, k: int) -> str | None:
    """The source of this kind, or None while it cannot be used."""
    try:
        if kind == FOLDER:
            name = _pick_folder()
        elif kind == TORCHVISION:
            return _pick_set(k)
        elif kind == UPLOAD:
            name = _pick_upload()
        else:
            st.caption("10,000 images of ten classes, which the bundled model was never trained on.")
            return _bundled()
        if name is not None:
            _describe(image_source(name), k)
        return name
    except InputError as error:
        st.error(as_markdown(str(error)))
        return None


def image_source(name: str) -> ImageSource:
    """The source of this name, opened once for all sessions. Raises InputError where its images cannot be had."""
    return _opened(name, str(store().root))


@st.cache_resource(show_spinner="Reading the images…", max_entries=4)
def _opened(name: str, cache: str) -> ImageSource:
    return open_source(name, Path(cache))


def forget_images() -> None:
    """To be called where images may be gone that a source opened before would still promise."""
    _opened.clear()
    _all_images.clear()
    for known in (_split, _limits, _examples):
        known.cache_clear()


@lru_cache(maxsize=4)
def _split(source: ImageSource) -> Split:
    return split_source(source, 0)


@lru_cache(maxsize=4)
def _limits(source: ImageSource, k: int) -> KnnLimits | None:
    split, labels = _split(source), source.labels
    return None if labels is None else reachable_top1(labels[split.gallery], labels[split.query], k)


def _bundled() -> str:
    # Splitting takes a second the first time, for a table that few need: it waits until it is asked for.
    with st.expander("How they are split, by class", key="bundled_split", on_change="rerun") as table:
        if table.open:
            _split_table(image_source(BUNDLED))
    return BUNDLED


def _pick_folder() -> str | None:
    path = text(
        st,
        "Folder",
        "image_folder",
        placeholder="/home/me/pictures",
        help="With a folder for each class in it the images are labelled; images alone are used without labels",
    ).strip()
    if not path:
        st.caption("Give the path of a folder with a folder of images for each class, or with images alone.")
        return None
    name = canonical_name(FOLDER + path)
    if st.button("Read it again", key="read_again", icon=":material/refresh:", help="After you changed the folder"):
        forget_names(Path(name.removeprefix(FOLDER)), store().root)
        _opened.clear(name, str(store().root))
    return name


def _pick_set(k: int) -> str:
    names = [known.name for known in SETS]
    known = find_set(choice(st, "Data set", "image_set", names, names[0], format_func=lambda n: find_set(n).label))
    st.caption(
        f"{known.images:,} images of {known.classes} classes ({known.part}). Where it is not in "
        f"{as_markdown(str(data_root()))} yet, the run downloads it from {known.host} first."
    )
    name = TORCHVISION + known.name
    looked = st.session_state.setdefault("looked_into_sets", set())
    if name not in looked and st.button("Look into it now", key="look_into", icon=":material/visibility:"):
        looked.add(name)
    if name in looked:
        try:
            _describe(image_source(name), k)
        except InputError:
            looked.discard(name)
            raise
    return name


def _pick_upload() -> str | None:
    file = st.file_uploader(
        "Zip of a folder of images",
        type="zip",
        key="image_zip",
        max_upload_size=LARGEST_UPLOAD // 2**20,
        help="With a folder for each class the images are labelled. It is unpacked into the cache on this computer",
    )
    if file is None:
        return None
    store().check_writable()
    return _unpacked(file.file_id, str(store().root), file)


@st.cache_resource(show_spinner="Unpacking…", max_entries=16)
def _unpacked(file_id: str, cache: str, _file: object) -> str:
    return unpack_upload(_file.getvalue(), Path(cache))


def _describe(source: ImageSource, k: int) -> None:
    """Counts, examples, what was left out, and the split. Raises InputError where too few images are left."""
    classes = len(source.class_names)
    kinds = "without labels" if not classes else f"of {classes} class{'es' if classes > 1 else ''}"
    st.markdown(
        f"**{len(source):,} images {kinds}**" + (f"; {len(source.skipped):,} left out" if source.skipped else "")
    )
    if source.skipped:
        _left_out(source.skipped)
    if not source.whole:
        st.caption(
            "So many files are not looked at one by one before they are used. One that a run would use and cannot is "
            "named in its log, with the reason, and the next image of its class takes its place."
        )
    split = _split(source)
    with st.container(horizontal=True, gap="small"):
        for i in _examples(source):
            named = classes and source.labels[i] != UNLABELLED
            caption = source.class_names[source.labels[i]] if named else f"image {i}"
            picture = thumbnail(source, i, EXAMPLE_SIZE)
            st.image(picture, caption=as_markdown(caption), width=picture.width, output_format="PNG")
    for note in source.notes:
        st.info(as_markdown(note), icon=":material/info:")
    limits = _limits(source, k)
    missing = why_no_accuracy(classes, len(split.gallery), k, 1.0 if limits is None else limits.top1)
    if missing is None and (thin := limits_sentence(limits, source.class_names)) is not None:
        st.warning(as_markdown(thin), icon=":material/warning:")
    if missing is not None:
        st.info(
            f"{missing}, so there will be no k-NN accuracy. Curvature, search and ranking need none; each cut's cosine "
            "to the full model is measured instead.",
            icon=":material/info:",
        )
    title = "How they are split" + (", by class" if classes else "")
    if classes <= FEW_CLASSES:
        with st.expander(title):
            _split_table(source)
    else:
        with st.expander(title, key="large_split", on_change="rerun") as table:
            if table.open:
                _split_table(source)


def _left_out(skipped: tuple[Skipped, ...]) -> None:
    with st.expander(f"What was left out, and why ({len(skipped):,})", icon=":material/warning:"):
        rows = [(s.file, s.reason) for s in skipped[:SHOWN_LEFT_OUT]]
        left_out = pd.DataFrame(rows, columns=["File", "Why"])
        st.dataframe(left_out, hide_index=True, alt="Files that are left out, and why")
        if len(skipped) > SHOWN_LEFT_OUT:
            st.caption(f"The first {SHOWN_LEFT_OUT:,} of {len(skipped):,}.")


@lru_cache(maxsize=4)
def _examples(source: ImageSource) -> list[int]:
    """Ids of some images, one of each of the first classes, or the first where nobody labelled them."""
    first = np.arange(len(source)) if source.labels is None else np.unique(source.labels, return_index=True)[1]
    ids = first[:EXAMPLES]
    return ids[source.usable(ids)].tolist()


def _split_table(source: ImageSource) -> None:
    counts = split_counts(source, _split(source))
    table = pd.DataFrame(counts, columns=list(PARTS))
    names = list(source.class_names) or ["all, without labels"]
    table.insert(0, "Class", [*names, "without labels"][: len(counts)])
    table["Together"] = counts.sum(axis=1)
    st.dataframe(table, hide_index=True, height="content" if len(table) <= 12 else 400, alt="Images of each class")
    sums = [f"{total:,} {part.lower()}" for part, total in zip(PARTS, counts.sum(axis=0), strict=True) if total]
    st.caption(
        f"In all: {', '.join(sums)}. No image is in two parts, and a run takes as many of each as its preset asks for."
    )
