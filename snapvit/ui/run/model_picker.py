"""Which model: the bundled one, a file of the person's own folder, or a timm name with an optional checkpoint."""

from __future__ import annotations

import re

import streamlit as st

from snapvit.errors import InputError
from snapvit.formats import size
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
from snapvit.ui.run.fields import choice, number_or_none, text
from snapvit.ui.selection import setting_key, text_setting

NAMED = "timm"  # the choice of a timm name
FIRST_NAME = "vit_small_patch16_224.dino"
SIZES = (14, 2048)  # pixels


def pick_model() -> ModelSpec | None:
    """Draw the picker. None while what is chosen cannot be used; why is then said in place."""
    files = {str(file.path): file for file in _own_files()}
    kind = choice(
        st,
        "Model",
        "model_kind",
        [BUNDLED, *files, NAMED],
        BUNDLED,
        format_func=lambda kind: _label(kind, files),
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


def _label(kind: str, files: dict[str, CheckpointFile]) -> str:
    if kind in files:
        file = files[kind]
        thought = {BUNDLED: "describes itself", None: "architecture to be named"}.get(file.model, file.model)
        return f"{file.path.name} ({thought}, {size(file.size)})"
    return "Bundled Fashion ViT" if kind == BUNDLED else "A timm model, by name"


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
    given = text(
        st,
        "Checkpoint file or folder (optional)",
        "checkpoint",
        help="A path on this computer: safetensors, what torch.save wrote, or a model hub's folder; without it, "
        "weights come from the hub.",
    )
    size = _image_size(name)
    return ModelSpec(name, _checkpoint(given), size, _pool())


def _name(preset: str) -> str:
    setting_name = f"model_name_{preset}"
    name = text_setting(setting_name, preset)
    names = list(dict.fromkeys([*timm_names(), preset, name]))
    st.selectbox(
        "Architecture (timm name)",
        names,
        index=names.index(name),
        format_func=_with_family,
        accept_new_options=True,
        key=setting_key(setting_name),
        help="Type to search, or enter any other timm name.",
    )
    if not name or not name.strip():
        raise InputError("No architecture is named; choose one from the list or enter a timm name.")
    return canonical_model(name)


def _with_family(name: str) -> str:
    family = timm_names().get(name)
    return f"{name} ({family})" if family else name


def _checkpoint(given: str) -> str | None:
    if not given.strip():
        return None
    path = absolute(given.strip())
    check_is_checkpoint(path)
    return str(path)


def _pool() -> Pool:
    """Which tokens make the embedding."""
    return choice(
        st,
        "Embedding",
        "pool",
        list(POOLS),
        "model",
        format_func=POOLS.__getitem__,
        help="Which tokens make an image's embedding, on which curvature, search and k-NN all rest. The authors of "
        "SnapViT take DINOv3's class token, where timm's model takes the mean of its patches.",
    )


def _image_size(name: str) -> int | None:
    size = number_or_none(
        st,
        "Image size (optional)",
        "image_size",
        *SIZES,
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
