"""Checkpoint files: read without running anything in them, peeled out of what training scripts wrap around the
weights, and fitted to a model with every misfit named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from snapvit.errors import InputError
from snapvit.models.catalogue import SUFFIXES
from snapvit.torch_files import read_torch_file

Weights = dict[str, Tensor]
Adapt = Callable[[Weights, nn.Module], Weights]  # timm's checkpoint filter of an architecture

# Where training scripts put the weights, the better ones first: averaged weights, DINO's teacher.
WRAPPERS = (
    "state_dict_ema",
    "model_ema",
    "teacher",
    "model",
    "state_dict",
    "module",
    "backbone",
    "encoder",
    "target_encoder",
    "student",
)
# What they put before the names: data parallel, compiled, a wrapping module.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "teacher.", "student.")
DEPTH = 3  # of wrappers, and of prefixes
NAMED = 3  # misfits of each kind that a message names


@dataclass(frozen=True)
class Candidate:
    """Tensors of one place in a file, adapted to the model's names, and how they fit."""

    place: str  # such as `teacher, backbone.`; empty at the top level
    weights: Weights
    left_out: tuple[str, ...]  # tensors beside the prefix
    fitting: int  # of the model's tensors, by name and shape
    known: int  # by name


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a `.safetensors`, or of a `.pth`, `.pt` or `.bin` file that holds nothing but tensors and plain
    values. Raises InputError for a missing, damaged, foreign or code-carrying file."""
    if not path.is_file():
        raise InputError(f"The checkpoint {path} does not exist.")
    if path.suffix not in SUFFIXES:
        raise InputError(f"The checkpoint {path.name} ends in none of {', '.join(SUFFIXES)}, which the explorer reads.")
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = read_torch_file(path, f"The checkpoint {path.name}")
    except (SafetensorError, OSError) as error:
        raise InputError(f"The checkpoint {path.name} cannot be read as safetensors ({error}).") from error
    if not isinstance(content, dict) or not any(_tensor_tables(content)):
        raise InputError(f"The checkpoint {path.name} holds no named tensors.")
    return content


def load_checkpoint(model: nn.Module, content: Mapping[str, Any], adapt: Adapt, file: str) -> tuple[str, ...]:
    """Put the weights of a checkpoint's content into `model` and return sentences worth telling.

    Of all places in the file, the one that fits best is taken. The classifier becomes the file's, or goes where it has
    none: embeddings are taken before it. Raises InputError naming what is missing, unexpected or wrongly shaped.
    """
    best = max(_candidates(model, content, adapt), key=lambda c: (c.fitting, c.known))
    notes = []
    if best.place:
        notes.append(f"{file}: the weights are those under '{best.place}'.")
    if best.left_out:
        notes.append(f"{file}: {_listed(best.left_out)} left out, being no part of the model.")
    weights, note = _with_its_classifier(model, best.weights)
    notes += [f"{file}: {note}"] if note else []
    _check_fit(model, weights, file)
    _check_finite(weights, file)
    model.load_state_dict(weights)
    return tuple(notes)


def _candidates(model: nn.Module, content: Mapping[str, Any], adapt: Adapt) -> Iterator[Candidate]:
    own = model.state_dict()
    for place, table in _tensor_tables(content):
        for prefix in _prefixes(table):
            inner = {name.removeprefix(prefix): tensor for name, tensor in table.items() if name.startswith(prefix)}
            left_out = tuple(name for name in table if not name.startswith(prefix))
            try:
                weights = adapt(dict(inner), model)
            except Exception:  # timm's converters assume the model they are made for; then the names stay as they are
                weights = inner
            known = own.keys() & weights.keys()
            fitting = sum(own[name].shape == weights[name].shape for name in known)
            place_name = ", ".join(part for part in (place, prefix) if part)
            yield Candidate(place_name, weights, left_out, fitting, len(known))


def _tensor_tables(content: Mapping[str, Any], depth: int = DEPTH) -> Iterator[tuple[str, Weights]]:
    """Every place in the file that holds named tensors: the top level and what lies under the known wrappers."""
    table = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if table:
        yield "", table
    for name in WRAPPERS if depth else ():
        if isinstance(content.get(name), Mapping):
            for place, inner in _tensor_tables(content[name], depth - 1):
                yield ", ".join(part for part in (name, place) if part), inner


def _prefixes(table: Weights) -> list[str]:
    """The empty prefix and every chain of known ones that names in the table begin with."""
    found = [""]
    for prefix in found:  # grows while it is walked
        if prefix.count(".") < DEPTH:
            longer = [prefix + word for word in PREFIXES]
            found += [p for p in longer if any(name.startswith(p) for name in table)]
    return found


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


def _check_fit(model: nn.Module, weights: Weights, file: str) -> None:
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
    if problems:
        raise InputError(f"{file} does not fit the model: {'; '.join(problems)}.")


def _check_finite(weights: Weights, file: str) -> None:
    broken = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if broken:
        raise InputError(f"{file} holds numbers that are not finite, in {_listed(broken)}; it cannot be used.")


def _listed(names: Sequence[str]) -> str:
    """`1 tensor (norm.bias)`, `12 tensors (a, b, c, ...)`."""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({_first(names)})"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
