"""Loading a model: the bundled one, a checkpoint on disk, or pretrained weights through timm.

Every way ends in the same `LoadedModel`: float32, evaluation mode, frozen, with its anatomy and a digest of its
weights. Files are read as safetensors or with `weights_only=True`; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from timm.data import resolve_model_data_config
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from snapvit.artifacts import Preprocess
from snapvit.errors import InputError
from snapvit.models.anatomy import Anatomy, describe
from snapvit.models.spec import BUNDLED, ModelSpec

BUNDLED_CHECKPOINT = Path(__file__).parents[1] / "assets" / "fashion_vit.safetensors"


@dataclass(frozen=True)
class LoadedModel:
    """A frozen float32 model in evaluation mode and what one needs to know to feed and cut it."""

    model: nn.Module
    anatomy: Anatomy
    preprocess: Preprocess
    digest: str  # of the weights, sha256
    label: str


def load_model(spec: ModelSpec, device: torch.device | str = "cpu") -> LoadedModel:
    """Load what `spec` names. Raises InputError: unknown name, no network, unreadable or ill-fitting checkpoint."""
    if spec.name == BUNDLED:
        model, preprocess = _self_describing(Path(spec.checkpoint or BUNDLED_CHECKPOINT))
        if spec.image_size not in (None, preprocess.size[0]):
            raise InputError(
                f"The {spec.label} model was made for {preprocess.size[0]} pixels; image size {spec.image_size} was "
                "asked for."
            )
    elif spec.checkpoint is not None:
        model = _create(spec, pretrained=False)
        _load_weights(model, read_weights(Path(spec.checkpoint)), spec.checkpoint)
        preprocess = _preprocess_of(model, spec.image_size)
    else:
        model = _create(spec, pretrained=True)
        preprocess = _preprocess_of(model, spec.image_size)
    anatomy = describe(model)
    model = model.float().eval().requires_grad_(False).to(device)
    return LoadedModel(model, anatomy, preprocess, weights_digest(model), spec.label)


def build_without_weights(spec: ModelSpec) -> tuple[nn.Module, Anatomy]:
    """The architecture that `spec` names, on the meta device: its counts and costs for no memory and no download.

    Raises InputError for an unknown name, or an architecture that the explorer cannot cut.
    """
    if spec.name == BUNDLED:
        model, _ = _self_describing(Path(spec.checkpoint or BUNDLED_CHECKPOINT))
    else:
        with torch.device("meta"):
            model = _create(spec, pretrained=False)
    return model, describe(model)


def weights_digest(model: nn.Module) -> str:
    """sha256 over the names, shapes and float32 values of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors`, or of a `.pth`, `.pt` or `.bin` file that holds nothing but tensors."""
    if not path.is_file():
        raise InputError(f"The checkpoint {path} does not exist.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise InputError(f"The checkpoint {path.name} cannot be read as safetensors ({error}).") from error
    except Exception as error:  # torch raises many types for a damaged or a code-carrying file
        reason = (str(error) or type(error).__name__).splitlines()[0][:160]
        raise InputError(
            f"The checkpoint {path.name} is damaged or holds more than tensors, so it is refused ({reason})."
        ) from error
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise InputError(f"The checkpoint {path.name} holds no named tensors at its top level.")
    return tensors


def _self_describing(path: Path) -> tuple[nn.Module, Preprocess]:
    """A plain VisionTransformer whose safetensors metadata holds its `config`, `mean` and `std`."""
    weights = read_weights(path)
    metadata: dict[str, str] = {}
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    missing = [key for key in ("config", "mean", "std") if key not in metadata]
    if missing:
        raise InputError(
            f"{path.name} does not say what model it holds (no {', '.join(missing)} in its metadata); name a timm "
            "model together with the checkpoint."
        )
    try:
        model = VisionTransformer(**json.loads(metadata["config"]))
        mean, std = float(metadata["mean"]), float(metadata["std"])
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"The metadata of {path.name} describe no model that can be built ({error}).") from error
    _load_weights(model, weights, str(path))
    return model, Preprocess(tuple(model.patch_embed.img_size), (mean,) * 3, (std,) * 3)


def _create(spec: ModelSpec, pretrained: bool) -> nn.Module:
    if not timm.is_model(spec.name):
        near = ", ".join(timm.list_models(f"*{spec.name.split('.')[0][:12]}*")[:3])
        hint = f" Did you mean {near}?" if near else " Try for example vit_small_patch16_224 or bundled."
        raise InputError(f"timm has no model named {spec.name!r}.{hint}")
    size = {} if spec.image_size is None else {"img_size": spec.image_size}
    try:
        with _hub_or_its_cache() if pretrained else nullcontext():
            return timm.create_model(spec.name, pretrained=pretrained, **size)
    except (AssertionError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise _not_built(spec, error, pretrained) from error


@contextmanager
def _hub_or_its_cache() -> Iterator[None]:
    """Without a network the hub's client would retry for a minute; then only what it has on disk is asked for."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _hub_answers()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _hub_answers(seconds: float = 3.0) -> bool:
    if getproxies():  # then nothing is reached directly, and the client knows better
        return True
    hub = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((hub.hostname, hub.port or 443), seconds).close()
    except OSError:
        return False
    return True


def _not_built(spec: ModelSpec, error: Exception, pretrained: bool) -> InputError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:140]
    if not pretrained:
        return InputError(f"timm cannot build {spec.name} with these settings ({reason}).")
    return InputError(
        f"Pretrained weights of {spec.name} could not be fetched ({reason}); check the network, or give a local "
        "file with --checkpoint."
    )


def _load_weights(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    own = model.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    shapes = sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    problems = []
    if missing:
        problems.append(f"{len(missing)} missing ({', '.join(missing[:3])})")
    if unexpected:
        problems.append(f"{len(unexpected)} unexpected ({', '.join(unexpected[:3])})")
    for key in shapes[:3]:
        problems.append(f"{key} is {tuple(weights[key].shape)} where {tuple(own[key].shape)} fits")
    if problems:
        raise InputError(f"{Path(source).name} does not fit the model: {'; '.join(problems)}.")
    model.load_state_dict(weights)


def _preprocess_of(model: nn.Module, image_size: int | None) -> Preprocess:
    config = resolve_model_data_config(model)
    size = (image_size, image_size) if image_size else tuple(config["input_size"][1:])
    return Preprocess(size, tuple(config["mean"]), tuple(config["std"]), config["interpolation"], config["crop_pct"])
