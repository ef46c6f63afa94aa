"""Loading a model: the bundled one, a checkpoint on disk, or pretrained weights through timm.

Every way ends in the same `LoadedModel`: float32, evaluation mode, frozen, with its anatomy and a digest of its
weights. Files are read as safetensors or with `weights_only=True`; nothing is ever unpickled.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import constants
from timm.data import resolve_model_data_config
from timm.models import vision_transformer
from torch import nn

from snapvit.artifacts import Preprocess
from snapvit.errors import Cancelled, InputError
from snapvit.models.anatomy import Anatomy, describe
from snapvit.models.catalogue import settled
from snapvit.models.checkpoint_files import read_checkpoint
from snapvit.models.checkpoints import Adapt, load_checkpoint, suggested_names
from snapvit.models.hub import Fetched, fetch_weights, hub_or_its_cache
from snapvit.models.hub_config import stated_arguments
from snapvit.models.identity import architecture_of
from snapvit.models.pooling import set_pool
from snapvit.models.self_described import KEYS, build_described
from snapvit.models.spec import BUNDLED, ModelSpec

BUNDLED_CHECKPOINT = Path(__file__).parents[1] / "assets" / "fashion_vit.safetensors"
LARGEST_IMAGE = 2048  # pixels; attention over more patches than this fits no memory here


@dataclass(frozen=True)
class LoadedModel:
    """A frozen float32 model in evaluation mode and what one needs to know to feed and cut it."""

    model: nn.Module
    anatomy: Anatomy
    preprocess: Preprocess
    digest: str  # of the weights, sha256
    label: str
    notes: tuple[str, ...] = ()  # sentences on what loading had to adapt
    architecture: Mapping[str, Any] = field(default_factory=dict)  # everything that changes the function, plain values


def load_model(spec: ModelSpec, device: torch.device | str = "cpu", fetched: Fetched | None = None) -> LoadedModel:
    """Load what `spec` names; `fetched` hears of each piece that comes from the hub and may raise to stop.

    Raises InputError: unknown name, no network, unreadable or ill-fitting checkpoint, an image size that cannot be.
    """
    notes: tuple[str, ...] = ()
    config: dict[str, Any] | None = None
    spec = settled(spec)
    if spec.name == BUNDLED:
        model, preprocess, notes, config = _self_describing(Path(spec.checkpoint or BUNDLED_CHECKPOINT))
        if spec.image_size not in (None, preprocess.size[0]):
            raise InputError(
                f"The {spec.label} model was made for {preprocess.size[0]} pixels; image size {spec.image_size} was "
                "asked for."
            )
    else:
        _check_plan(spec)
        if spec.checkpoint is not None:
            path = Path(spec.checkpoint)
            found = read_checkpoint(path)
            model = _create(spec, **stated_arguments(path, spec.name))
            notes = found.notes + load_checkpoint(model, found.content, _timm_filter(spec.name), path.name)
        else:
            model = _pretrained(spec, fetched)
            notes = _resampled(model, spec)
        preprocess = _preprocess_of(model, spec.image_size)
    set_pool(model, spec.pool, spec.name)
    anatomy = describe(model)
    model = model.float().eval().requires_grad_(False).to(device)
    architecture = architecture_of(model, anatomy, spec, config)
    return LoadedModel(model, anatomy, preprocess, weights_digest(model), spec.label, notes, architecture)


def build_without_weights(spec: ModelSpec) -> tuple[nn.Module, Anatomy]:
    """The architecture that `spec` names, on the meta device: its counts and costs for no memory and no download.

    Raises InputError for an unknown name, or an architecture that the explorer cannot cut.
    """
    spec = settled(spec)
    if spec.name == BUNDLED:
        model, *_ = _self_describing(Path(spec.checkpoint or BUNDLED_CHECKPOINT))
    else:
        with torch.device("meta"):
            model = _create(spec, pretrained=False)
    set_pool(model, spec.pool, spec.name)
    return model, describe(model)


def weights_digest(model: nn.Module) -> str:
    """sha256 over the names, shapes and float32 values of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


def _self_describing(path: Path) -> tuple[nn.Module, Preprocess, tuple[str, ...], dict[str, Any]]:
    """A plain VisionTransformer whose safetensors metadata holds its `config`, `mean` and `std`; and its config."""
    found = read_checkpoint(path)
    missing = [key for key in KEYS if key not in found.metadata]
    if missing:
        names = suggested_names(found.content, path.name)
        such_as = f", such as {' or '.join(names)}" if names else ""
        raise InputError(
            f"{path.name} does not say what model it holds (no {', '.join(missing)} in its metadata); name a timm "
            f"model together with the checkpoint{such_as}."
        )
    held = sum(tensor.numel() for tensor in found.content.values() if isinstance(tensor, torch.Tensor))
    model, preprocess, config = build_described(found.metadata, held, path.name)
    notes = found.notes + load_checkpoint(model, found.content, vision_transformer.checkpoint_filter_fn, path.name)
    return model, preprocess, notes, config


def _check_plan(spec: ModelSpec) -> None:
    """Refuse what cannot work before anything large is read or fetched: name, architecture, pool, size."""
    with torch.device("meta"):  # shapes alone
        model = _create(ModelSpec(spec.name))
    describe(model)
    set_pool(model, spec.pool, spec.name)
    if spec.image_size is not None:
        _check_size(spec.image_size, max(model.patch_embed.patch_size), spec.name)


def _check_name(name: str) -> None:
    names = {BUNDLED, *timm.list_models(), *timm.list_pretrained()}
    if name in names or (timm.is_model(name) and "." not in name):
        return
    near = ", ".join(difflib.get_close_matches(name, names, n=3, cutoff=0.7))
    hint = f" Did you mean {near}?" if near else " Try for example vit_small_patch16_224 or bundled."
    raise InputError(f"timm has no model named {name[:100]!r}.{hint}")


def _check_size(size: int, patch: int, name: str) -> None:
    if patch <= size <= LARGEST_IMAGE and size % patch == 0:
        return
    lower = min(max(size // patch, 1), LARGEST_IMAGE // patch) * patch
    fitting = sorted({lower, min(lower + patch, LARGEST_IMAGE // patch * patch)})
    raise InputError(
        f"Image size {size} was asked for; {name} cuts images into patches of {patch} pixels, so the size must be a "
        f"multiple of {patch} up to {LARGEST_IMAGE}, such as {' or '.join(map(str, fitting))}."
    )


def _create(spec: ModelSpec, pretrained: bool = False, **settings: Any) -> nn.Module:
    """The architecture; `settings` are those that its checkpoint states. The name must be one that timm knows: others
    would have timm ask a hub or read a folder."""
    _check_name(spec.name)
    if spec.image_size is not None:
        settings["img_size"] = spec.image_size
    try:
        return timm.create_model(spec.name, pretrained=pretrained, **settings)
    except (AssertionError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:140]
        raise InputError(f"timm cannot build {spec.name} with these settings ({reason}).") from error


def _pretrained(spec: ModelSpec, fetched: Fetched | None) -> nn.Module:
    config = timm.get_pretrained_cfg(spec.name)
    if config is None or not config.has_weights:
        raise InputError(f"timm has no pretrained weights of {spec.name}; give a checkpoint file of it.")
    with hub_or_its_cache() as answers:
        try:
            if config.hf_hub_id and fetched is not None:
                fetch_weights(config.hf_hub_id, fetched)
            return _create(spec, pretrained=True)
        except (Cancelled, InputError):
            raise
        except Exception as error:  # the hub's client and what lies under it raise many types
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:140]
            if not answers:
                reason = f"{constants.ENDPOINT} does not answer and this computer has no copy of them"
            raise InputError(
                f"Pretrained weights of {spec.name} could not be fetched ({reason}); check the network, or give a "
                "checkpoint file of it."
            ) from error


def _resampled(model: nn.Module, spec: ModelSpec) -> tuple[str, ...]:
    """A sentence where timm fitted the positions of pretrained weights to another image size."""
    trained = timm.get_pretrained_cfg(spec.name).input_size[-1]
    if spec.image_size in (None, trained) or getattr(model, "pos_embed", None) is None:
        return ()
    return (f"The positions of {spec.name} are of {trained} pixels and were resampled to {spec.image_size}.",)


def _timm_filter(name: str) -> Adapt:
    """What timm itself does to a checkpoint of this architecture: converts original names, resamples positions."""
    module = sys.modules[timm.model_entrypoint(name).__module__]
    adapt = getattr(module, "checkpoint_filter_fn", None)
    if adapt is None:
        return _unchanged
    if adapt is vision_transformer.checkpoint_filter_fn:
        return partial(adapt, adapt_layer_scale=True)  # DeiT-III's own names of its layer scales
    return adapt


def _unchanged(weights: dict[str, Any], _: nn.Module) -> dict[str, Any]:
    return weights


def _preprocess_of(model: nn.Module, image_size: int | None) -> Preprocess:
    config = resolve_model_data_config(model)
    size = (image_size, image_size) if image_size else tuple(config["input_size"][1:])
    return Preprocess(size, tuple(config["mean"]), tuple(config["std"]), config["interpolation"], config["crop_pct"])
