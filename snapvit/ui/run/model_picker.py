"""Which model: the bundled one, a file of the person's own folder, or a timm name with an optional checkpoint."""

from __future__ import annotations

import re

import streamlit as st

from snapvit.errors import InputError
from snapvit.models.catalogue import (
    CheckpointFile,
    list_checkpoints,
    models_folder,
    timm_names,
)
from snapvit.models.checkpoint_kind import check_is_checkpoint
from snapvit.models.spec import BUNDLED, POOLS, ModelSpec, Pool, canonical_model
from snapvit.paths import absolute
from snapvit.ui.names import as_markdown

NAMED = "timm"  # the choice of a timm name
FIRST_NAME = "vit_small_patch16_224.dino"
SIZES = (14, 2048)  # pixels


def pick_model() -> ModelSpec | None:
    """Draw the picker. None while what is chosen cannot be used; why is then said in place."""
    files = {str(file.path): file for file in _own_files()}
    kind = st.selectbox(
        "Model",
        [BUNDLED, *files, NAMED],
        format_func=lambda choice: _label(choice, files),
        key="model_kind",
        help="The folder that SNAPVIT_MODELS names is listed here with its checkpoint files.",
    )
    if kind == BUNDLED:
        st.caption("12 blocks of 6 heads and 576 neurons, 3.0 M parameters, trained on Fashion-MNIST.")
        return ModelSpec()
    try:
        return _file_spec(files[kind]) if kind in files else _named_spec()
    except InputError as error:
        st.error(as_markdown(str(error)))
        return None


def _own_files() -> list[CheckpointFile]:
    folder = models_folder()
    try:
        return list_checkpoints(folder) if folder else []
    except InputError as error:
        st.warning(as_markdown(str(error)))
        return []


def _label(choice: str, files: dict[str, CheckpointFile]) -> str:
    if choice in files:
        file = files[choice]
        thought = {BUNDLED: "describes itself", None: "architecture to be named"}.get(file.model, file.model)
        return f"{file.path.name} ({thought}, {file.size / 1e6:.0f} MB)"
    return "Bundled Fashion ViT" if choice == BUNDLED else "A timm model, by name"


def _file_spec(file: CheckpointFile) -> ModelSpec:
    if file.model == BUNDLED:
        st.caption(
            f"{as_markdown(str(file.path))} holds its own description: architecture, mean and standard deviation."
        )
        return ModelSpec(BUNDLED, str(file.path))
    name = _name(file.model or FIRST_NAME)
    st.caption(
        f"{as_markdown(str(file.path))} is thought to be of this architecture; correct it where that is wrong."
        if file.model
        else f"Nothing in {as_markdown(str(file.path))} says of which architecture it is; name it."
    )
    return ModelSpec(name, str(file.path), _image_size(name), _pool())


def _named_spec() -> ModelSpec:
    name = _name(FIRST_NAME)
    text = st.text_input(
        "Checkpoint file or folder (optional)",
        "",
        key="checkpoint",
        help="A path on this computer: safetensors, what torch.save wrote, or a model hub's folder; without it, "
        "weights come from the hub.",
    )
    size = _image_size(name)
    return ModelSpec(name, _checkpoint(text), size, _pool())


def _name(preset: str) -> str:
    names = list(dict.fromkeys([*timm_names(), preset]))
    name = st.selectbox(
        "Architecture (timm name)",
        names,
        index=names.index(preset),
        format_func=_with_family,
        accept_new_options=True,
        key=f"model_name_{preset}",
        help="Type to search, or enter any other timm name.",
    )
    if not name or not name.strip():
        raise InputError("No architecture is named; choose one from the list or enter a timm name.")
    return canonical_model(name)


def _with_family(name: str) -> str:
    family = timm_names().get(name)
    return f"{name} ({family})" if family else name


def _checkpoint(text: str) -> str | None:
    text = text.strip()
    if not text:
        return None
    path = absolute(text)
    check_is_checkpoint(path)
    return str(path)


def _pool() -> Pool:
    """Which tokens make the embedding."""
    return st.selectbox(
        "Embedding",
        list(POOLS),
        format_func=POOLS.__getitem__,
        key="pool",
        help="Which tokens make an image's embedding, on which curvature, search and k-NN all rest. The authors of "
        "SnapViT take DINOv3's class token, where timm's model takes the mean of its patches.",
    )


def _image_size(name: str) -> int | None:
    size = st.number_input(
        "Image size (optional)",
        *SIZES,
        value=None,
        step=1,
        key="image_size",
        placeholder="what the model was made for",
        help="In pixels, a multiple of the patch. Position embeddings are resampled.",
    )
    patch = re.search(r"patch(\d+)", name)
    if size is not None and patch and size % int(patch[1]):
        lower = max(1, size // int(patch[1])) * int(patch[1])
        raise InputError(
            f"Image size {size} is no multiple of this model's patch of {patch[1]} pixels; {lower} or "
            f"{lower + int(patch[1])} would be."
        )
    return size
