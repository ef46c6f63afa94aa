"""Fitting a checkpoint to a model: the place that fits best is taken, what was adapted told, every misfit named."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snapvit.errors import InputError, harmless
from snapvit.models.likeness import architectures_like, describe_weights
from snapvit.models.tensor_search import Place, Weights, places

Adapt = Callable[[Weights, nn.Module], Weights]  # timm's checkpoint filter of an architecture

NAMED = 3  # misfits of each kind that a message names
# Parts of training that no embedding is made of, by the first word of their names.
TRAINING_ONLY = re.compile(r"(\w+_)?(head|decoder|projector|predictor|mask_token|pre_logits|pooler|queue)\w*")


@dataclass(frozen=True)
class Candidate:
    """A place's tensors, adapted to the model's names, and how they fit."""

    place: Place
    weights: Weights
    fitting: int  # of the model's tensors, by name and shape
    known: int  # by name

    @property
    def rank(self) -> tuple[int, int, bool, int]:
        """The better of two places has the higher one."""
        return self.fitting, self.known, self.place.averaged, len(self.place.prefix)


def load_checkpoint(model: nn.Module, content: Mapping[str, Any], adapt: Adapt, file: str) -> tuple[str, ...]:
    """Put the weights of a checkpoint's content into `model` and return sentences worth telling.

    Of all places in the file, the one that fits best is taken. The classifier becomes the file's, or goes where it has
    none: embeddings are taken before it. Positions of another image size are resampled, which is told. Raises
    InputError naming what is missing, unexpected, wrongly shaped, or no number that a weight can be.
    """
    own = model.state_dict()
    found = [_candidate(place, own, adapt, model) for place in places(content, own.keys(), file)]
    best = max(found, key=lambda candidate: candidate.rank)
    weights, beside = _without_training(best.weights, own.keys())
    notes = []
    if best.place.prefix:
        alike = [f"'{harmless(c.place.prefix)}'" for c in found if c.fitting == best.fitting and not _nested(c, best)]
        also = f", not those that fit as well under {', '.join(alike[:NAMED])}" if alike else ""
        notes.append(f"{file}: the weights are those under '{harmless(best.place.prefix)}'{also}.")
    left_out = [*best.place.beside, *beside]
    if left_out:
        notes.append(f"{file}: {_listed(left_out)} left out, being no part of the model.")
    weights, note = _with_its_classifier(model, weights)
    notes += [f"{file}: {note}"] if note else []
    _check_fit(model, best.place.weights, weights, file)
    _check_kind(weights, own, file)
    weights = {name: _single(name, tensor, file) for name, tensor in weights.items()}
    resampled = _resampled(best.place.weights, weights, model)
    notes += [f"{file}: {resampled}"] if resampled else []
    model.load_state_dict(weights)
    return tuple(notes)


def _candidate(place: Place, own: Mapping[str, Tensor], adapt: Adapt, model: nn.Module) -> Candidate:
    given = {name: _plain(tensor) for name, tensor in place.weights.items()}
    idle = _biases_without_a_place(given, own)
    try:
        weights = adapt({name: tensor for name, tensor in given.items() if name not in idle}, model)
        weights |= {name: given[name] for name in idle if given[name].count_nonzero()}
    except Exception:  # timm's converters assume the model they are made for; then the names stay as they are
        weights = given
    known = own.keys() & weights.keys()
    fitting = sum(own[name].shape == weights[name].shape for name in known)
    return Candidate(place, weights, fitting, len(known))


def _biases_without_a_place(weights: Weights, own: Mapping[str, Tensor]) -> list[str]:
    """DINOv3's biases of query, key and value where the architecture has none; timm drops them, whatever they are."""
    if "storage_tokens" not in weights or "blocks.0.attn.q_bias" in own:
        return []
    return [name for name in weights if name.endswith(".attn.qkv.bias")]


def _nested(one: Candidate, other: Candidate) -> bool:
    """Whether one holds the other: timm's converters find some prefixes themselves."""
    prefixes = (one.place.prefix, other.place.prefix)
    return prefixes[0].startswith(prefixes[1]) or prefixes[1].startswith(prefixes[0])


def _without_training(weights: Weights, own: Collection[str]) -> tuple[Weights, list[str]]:
    """The weights without what only training needs, and the names of that; classifiers are seen to elsewhere."""
    firsts = {name.partition(".")[0] for name in own}
    gone = [name for name in weights if (first := name.partition(".")[0]) not in firsts and _is_training(first)]
    return {name: tensor for name, tensor in weights.items() if name not in gone}, gone


def _is_training(first: str) -> bool:
    return first not in ("head", "head_dist") and TRAINING_ONLY.fullmatch(first) is not None


def _with_its_classifier(model: nn.Module, weights: Weights) -> tuple[Weights, str]:
    """Give the model the file's classifier; the weights that remain, and a sentence if that changed anything."""
    named = getattr(model, "pretrained_cfg", {}).get("classifier") or "head"
    heads = (named,) if isinstance(named, str) else tuple(named)
    under = tuple(f"{head}." for head in heads)
    tables = [weights.get(f"{head}.weight") for head in heads]
    linear = all(t is not None and t.ndim == 2 and t.shape[1] == model.num_features for t in tables)
    classes = len(tables[0]) if linear and all(f"{head}.bias" in weights for head in heads) else 0
    before = model.num_classes
    if classes != before:
        model.reset_classifier(classes)
    wanted = {f"{head}.{part}" for head in heads for part in ("weight", "bias")} if classes else set()
    kept = {name: t for name, t in weights.items() if not name.startswith(under) or name in wanted}
    if classes == before:
        return kept, ""
    has = f"has a classifier of {classes:,} classes" if classes else "has no classifier"
    made = f"{before:,}" if before else "none"
    return kept, f"it {has} where the architecture's own has {made}; embeddings are taken before it."


def _check_fit(model: nn.Module, given: Weights, weights: Weights, file: str) -> None:
    """given: before timm's converters, which resample patch weights without a word; that would be another model."""
    own = model.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    misshapen = [
        f"{name} is {tuple(weights[name].shape)} where {tuple(tensor.shape)} fits"
        for name, tensor in sorted(own.items())
        if name in weights and tensor.shape != weights[name].shape
    ]
    kinds = ((missing, "missing"), (unexpected, "unexpected"), (misshapen, "of another shape"))
    problems = [f"{len(names)} {what} ({_first(names)})" for names, what in kinds if names]
    patches, fits = given.get("patch_embed.proj.weight"), own["patch_embed.proj.weight"]
    if patches is not None and patches.ndim == 4 and patches.shape[2:] != fits.shape[2:]:
        problems.insert(0, f"its patches are of {patches.shape[-1]} pixels, the model's of {fits.shape[-1]}")
    if not problems:
        return
    if any(".lora_" in name for name in given):
        problems.append("it holds LoRA adapters apart from the weights: merge them first (merge_and_unload in peft)")
    raise InputError(f"{file} does not fit the model: {'; '.join(problems)}.{_advice(given)}")


def suggested_names(content: Mapping[str, Any], file: str) -> list[str]:
    """timm names of the architectures that a checkpoint of unknown architecture may be of, as far as they are known."""
    return next((names for place in places(content, (), file) if (names := architectures_like(place.weights))), [])


def _advice(given: Weights) -> str:
    described, names = describe_weights(given), architectures_like(given)
    if names:
        return f" It holds {described}, as {' or '.join(names)} would have."
    return f" It holds {described}." if described else ""


def _check_kind(weights: Weights, own: Mapping[str, Tensor], file: str) -> None:
    """Refuse tensors whose numbers are none that a weight can be."""
    bad: dict[str, list[str]] = {}
    for name, tensor in weights.items():
        what = _unusable(tensor, name in own and not own[name].is_floating_point())
        if what:
            bad.setdefault(what, []).append(name)
    if bad:
        reasons = "; ".join(f"{_listed(names)} {what}" for what, names in bad.items())
        raise InputError(f"{file} cannot be used: it holds {reasons}.")


def _unusable(tensor: Tensor, whole_numbers: bool) -> str:
    """Why a tensor can be no weight; empty where it can."""
    if tensor.is_meta:
        return "without numbers (meta)"
    if tensor.is_complex():
        return "of complex numbers"
    if tensor.is_floating_point() or whole_numbers:
        return ""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return f"of whole numbers ({dtype}), which are no weights without the scale that they were divided by"


def _plain(tensor: Tensor) -> Tensor:
    """Quantised, sparse and 8-bit numbers, all of which float32 holds exactly, as timm's converters can take them."""
    if tensor.is_meta:
        return tensor
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor


def _single(name: str, tensor: Tensor, file: str) -> Tensor:
    """The tensor in float32, where all its numbers are finite."""
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    if not tensor.isfinite().all():
        raise InputError(
            f"{file} holds numbers that are not finite in float32, in {harmless(name)}; it cannot be used."
        )
    return tensor


def _resampled(given: Weights, weights: Weights, model: nn.Module) -> str:
    before, after = given.get("pos_embed"), weights.get("pos_embed")
    if before is None or after is None or before.ndim != 3:
        return ""
    patches = model.patch_embed.num_patches
    prefix = after.shape[1] - patches + ("register_tokens" in given)  # DINOv2 has a position for the class token more
    if before.shape[1] - prefix == patches:
        return ""
    return (
        f"its positions of {before.shape[1] - prefix} patches were resampled to the {patches} of this image size, as "
        "timm does."
    )


def _listed(names: Sequence[str]) -> str:
    """`1 tensor (norm.bias)`, `12 tensors (a, b, c, ...)`."""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({_first(names)})"


def _first(names: Sequence[str]) -> str:
    return ", ".join(map(harmless, names[:NAMED])) + (", ..." if len(names) > NAMED else "")
