"""What an export is made of: how timm builds the uncut model, and the numbers that an ElasticViT shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snapvit.artifacts import Preprocess
from snapvit.elastic.vit import StackByUnit
from snapvit.models.loading import LoadedModel

PLAIN = "vit_base_patch16_224"  # timm's name whose arguments' defaults are those of a plain VisionTransformer


@dataclass(frozen=True)
class Blueprint:
    """How timm builds a whole model: `create_model(name, **arguments)`, and then these `attributes` are set."""

    name: str
    arguments: Mapping[str, Any]  # plain values
    attributes: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        """For config.json."""
        return asdict(self)


def blueprint_of(loaded: LoadedModel) -> Blueprint:
    """Of a loaded model that is shown whole or cut."""
    model, name, given = loaded.model, loaded.architecture["name"], loaded.architecture["config"]
    arguments = {"img_size": list(model.patch_embed.img_size), "num_classes": model.num_classes}
    if given is not None:  # a checkpoint that describes itself, by the arguments of a VisionTransformer
        name, arguments = PLAIN, {**given, **arguments}
    return Blueprint(name, arguments, pooling_of(model))


def pooling_of(model: nn.Module) -> dict[str, Any]:
    """Attributes that say which tokens make the embedding; a head that pools by attention can have been removed."""
    found: dict[str, Any] = {"global_pool": model.global_pool}
    if hasattr(model, "pool_include_prefix"):
        found["pool_include_prefix"] = model.pool_include_prefix
    return found if model.attn_pool is not None else found | {"attn_pool": None}


@dataclass(frozen=True)
class Shown:
    """The model that an ElasticViT shows at one moment, as numbers of its own."""

    tensors: dict[str, Tensor]  # contiguous, on the CPU, under timm's names
    params: int
    kept_heads: tuple[int, ...]  # (L,)
    kept_neurons: tuple[int, ...]  # (L,)


def shown_tensors(model: nn.Module) -> Shown:
    """Copies of all that `model`, held by an ElasticViT, shows; of a block's part without units its last bias alone."""
    tensors = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in _views(model).items()}
    return Shown(tensors, shown_params(model), *_kept(model))


def shown_params(model: nn.Module) -> int:
    """Parameters of what `model` shows."""
    parameters = {name for name, _ in model.named_parameters()}
    return sum(tensor.numel() for name, tensor in _views(model).items() if name in parameters)


def _kept(model: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Heads and neurons of each block."""
    return tuple(b.attn.num_heads for b in model.blocks), tuple(b.mlp.fc2.in_features for b in model.blocks)


def _views(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor as timm lays it out: the rows of stacked layers are [part, unit, width] again."""
    # In timm the zeros that EvaAttention adds to its keys belong to no state, but they are as wide as the heads.
    found = model.state_dict() | {name: t for name, t in model.named_buffers() if name.endswith("attn.k_bias")}
    for path, layer in model.named_modules():
        if isinstance(layer, StackByUnit):
            for name, tensor in layer.named_parameters():
                found[f"{path}.{name}"] = tensor.data.transpose(0, 1).flatten(0, 2)
    for b, (heads, neurons) in enumerate(zip(*_kept(model), strict=True)):
        for part, last, kept in (("attn", "proj", heads), ("mlp", "fc2", neurons)):
            prefix, bias = f"blocks.{b}.{part}.", f"blocks.{b}.{part}.{last}.bias"
            if not kept:
                found = {n: t for n, t in found.items() if not n.startswith(prefix) or n == bias}
    return found


def data_config(preprocess: Preprocess) -> dict[str, Any]:
    """What the model wants of its images, in timm's words."""
    return {
        "input_size": [3, *preprocess.size],
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "interpolation": preprocess.interpolation,
        "crop_pct": preprocess.crop_share,
    }


def outputs(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Embedding (B, D) and what the head says of it (B, classes), which is the embedding where there is none; both on
    the CPU."""
    with torch.no_grad():
        features = model.forward_features(images.to(next(model.parameters()).device))
        return model.forward_head(features, pre_logits=True).cpu(), model.forward_head(features).cpu()
