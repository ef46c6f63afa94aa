"""What is to be exported, copied out of the models that show it, and what it must do once it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from snapvit import __version__
from snapvit.artifacts import CostModel, Cut, Pairs, Preprocess, Ranking, StructureDiff, Topology
from snapvit.devices import kind_of, timing_machine
from snapvit.elastic.correction import packed
from snapvit.elastic.cost import cost_model
from snapvit.elastic.ranking import cut_at
from snapvit.elastic.structure import structure_diff
from snapvit.elastic.vit import ElasticViT
from snapvit.export.card import Measured, cut_card, elastic_card
from snapvit.export.cut import CORRECTION
from snapvit.export.load import build
from snapvit.export.proof import Proof, Sample
from snapvit.export.shown import Blueprint, Shown, blueprint_of, data_config, outputs, shown_params, shown_tensors
from snapvit.models.loading import LoadedModel

FORMAT, VERSION = "snapvit-export", 1
ELASTIC_PAIRS: Pairs = ((0.15, 0.0), (0.5, 0.35), (0.8, 0.65))  # at which an elastic export is proven


@dataclass(frozen=True)
class Origin:
    """The whole model that an export comes from."""

    label: str
    blueprint: Blueprint
    preprocess: Preprocess
    topology: Topology
    costs: CostModel
    provenance: Mapping[str, Any]  # plain values: the weights' digest, the run, whatever else a reader may ask

    @classmethod
    def of(cls, loaded: LoadedModel, provenance: Mapping[str, Any] | None = None) -> Origin:
        """Of a model that no ElasticViT holds yet."""
        costs = cost_model(loaded.model, loaded.anatomy)
        known = {"model": loaded.label, "weights": loaded.digest, **(provenance or {})}
        return cls(loaded.label, blueprint_of(loaded), loaded.preprocess, loaded.anatomy.topology, costs, known)


@dataclass(frozen=True)
class Draft:
    """An export before it is written. Its numbers are copies, so the model that showed them is free again."""

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    samples: tuple[Sample, ...]  # what it must do; of an elastic export at several sparsities
    card: Callable[[Sequence[Proof]], str]
    scripts: tuple[str, ...] = ("load.py",)
    diff: StructureDiff | None = None  # of one cut
    ranking: Mapping[str, Tensor] = field(default_factory=dict)
    device: str = "cpu"  # where the samples were made, and are to be made again


def draft_cut(elastic: ElasticViT, cut: Cut, origin: Origin, images: Tensor, measured: Measured | None = None) -> Draft:
    """What `elastic` shows after `keep(cut)`.

    images: (N, 3, h, w) normalised, that nothing was calibrated on. measured: for the card.
    """
    elastic.keep(cut)
    shown = shown_tensors(elastic.model)
    config = _config(origin, shown, {"mlp": cut.mlp, "heads": cut.heads})
    return _draft_shown(elastic.model, shown, config, cut, origin, images, measured)


def small_model(elastic: ElasticViT, cut: Cut, loaded: LoadedModel) -> nn.Module:
    """What `elastic` shows after `keep(cut)` as a module of its own, as the export of that cut is built."""
    elastic.keep(cut)
    shown = shown_tensors(elastic.model)
    kept = {"kept_heads": shown.kept_heads, "kept_neurons": shown.kept_neurons}
    return build({"model": blueprint_of(loaded).plain(), **kept}, shown.tensors)


def draft_tuned(
    model: nn.Module,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    origin: Origin,
    images: Tensor,
    tuned: Mapping[str, Any],
) -> Draft:
    """A `model` that was built of an export's `config` and `tensors` and trained since; `tuned` says how."""
    found = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in model.state_dict().items()}
    params = sum(parameter.numel() for parameter in model.parameters())
    heads, neurons = tuple(config["kept_heads"]), tuple(config["kept_neurons"])
    provenance = config["provenance"] | {"tuned": dict(tuned)}
    cut = Cut(provenance["mlp"], provenance["heads"], neurons, heads)
    shown = Shown({**tensors, **found}, params, heads, neurons)
    return _draft_shown(model, shown, {**config, "provenance": provenance}, cut, origin, images, None)


def draft_elastic(elastic: ElasticViT, ranking: Ranking, origin: Origin, images: Tensor) -> Draft:
    """The whole model in order of importance, its ranking and, where `elastic` corrects its cuts, what `cut.py` needs
    to do the same; it takes any cut."""
    samples = []
    for pair in ELASTIC_PAIRS:
        elastic.keep(cut_at(ranking, *pair))
        samples.append(Sample(images, *outputs(elastic.model, images), shown_params(elastic.model), pair))
    factors: dict[str, Tensor] = {}
    for b, solved in enumerate(elastic.factors()):
        for layer, factor in zip((f"blocks.{b}.mlp.fc2", f"blocks.{b}.attn.proj"), solved, strict=True):
            numbers = (packed(factor.inverse), factor.product, factor.mean)
            found = {f"{layer}.{name}": number for name, number in zip(CORRECTION, numbers, strict=True)}
            factors |= {name: number.detach().cpu().contiguous() for name, number in found.items()}
    elastic.show_all()
    shown = shown_tensors(elastic.model)
    config = _config(origin, shown, {})
    config["elastic"] = {
        "mlp_protected": ranking.mlp_protected,
        "heads_protected": ranking.head_protected,
        "corrected": bool(factors),
    }
    order = {"mlp": torch.from_numpy(ranking.mlp.copy()), "heads": torch.from_numpy(ranking.head.copy())}
    device = _place(elastic.model)

    def card(proofs: Sequence[Proof]) -> str:
        return elastic_card(origin.label, config, proofs, ELASTIC_PAIRS, timing_machine(kind_of(device)).label)

    return Draft(config, shown.tensors, tuple(samples), card, ("load.py", "cut.py"), None, order | factors, device)


def _draft_shown(
    model: nn.Module,
    shown: Shown,
    config: Mapping[str, Any],
    cut: Cut,
    origin: Origin,
    images: Tensor,
    measured: Measured | None,
) -> Draft:
    diff, device = structure_diff(origin.topology, origin.costs, cut, shown.params), _place(model)
    sample = Sample(images, *outputs(model, images), shown.params, (cut.mlp, cut.heads))

    def card(proofs: Sequence[Proof]) -> str:
        return cut_card(origin.label, config, diff, proofs[0], timing_machine(kind_of(device)).label, measured)

    return Draft(config, shown.tensors, (sample,), card, diff=diff, device=device)


def _place(model: nn.Module) -> str:
    return str(next(model.parameters()).device)


def _config(origin: Origin, shown: Shown, cut: Mapping[str, Any]) -> dict[str, Any]:
    """config.json: all that `load.py` needs beside the numbers, and where they come from."""
    versions = {"snapvit": __version__, "torch": version("torch"), "timm": version("timm")}
    made = {"made": datetime.now(UTC).isoformat(timespec="seconds")}
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": origin.blueprint.plain(),
        "kept_heads": list(shown.kept_heads),
        "kept_neurons": list(shown.kept_neurons),
        "params": shown.params,
        "dtype": "float32",
        "data": data_config(origin.preprocess),
        "provenance": {**origin.provenance, **cut, **versions, **made},
    }
