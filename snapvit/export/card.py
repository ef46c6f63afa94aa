"""The model card: what the smaller model is, what was measured of it, and what the cut took from which block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from snapvit.artifacts import StructureDiff
from snapvit.evaluation.knn import wilson_interval
from snapvit.export.proof import Proof
from snapvit.formats import milliseconds, percent, ratio
from snapvit.tables import Measurement

BAR = 20  # characters of a block's bar
HEAD = """---
library_name: timm
tags:
- image-feature-extraction
- pruned
---
"""


@dataclass(frozen=True)
class Measured:
    """What k-NN said of the cut model and, where it was asked, of the whole one."""

    cut: Measurement
    full: Measurement | None = None


def cut_card(
    label: str, config: Mapping[str, Any], diff: StructureDiff, proof: Proof, machine: str, measured: Measured | None
) -> str:
    """README.md of one cut."""
    (full_params, params), (full_macs, macs) = diff.params, diff.macs
    rows = [
        ("parameters", f"{full_params:,}", f"{params:,}", percent(params / full_params)),
        ("multiply-accumulates an image", f"{full_macs:,}", f"{macs:,}", percent(macs / full_macs)),
        ("model.safetensors", "", f"{proof.file_bytes:,} bytes", ""),
        *_latency_rows(proof),
        *_measured_rows(measured),
    ]
    mlp, heads = config["provenance"]["mlp"], config["provenance"]["heads"]
    return "\n".join(
        [
            HEAD,
            f"# {label}, {percent(params / full_params, 0)} of its parameters",
            "",
            f"{label} without {ratio(mlp)} of its MLP neurons and {ratio(heads)} of its attention heads, chosen by "
            f"SnapViT ([arXiv 2510.17700](https://arxiv.org/abs/2510.17700)). {_corrected(config)}{_tuned(config)}The "
            f"weights derive from {label}, whose licence goes on to apply.",
            "",
            *_usage("from load import load\n\nmodel = load()", config),
            "## Measured",
            "",
            *_table(("", "whole model", "this model", "share"), rows),
            "",
            *_proof_lines([proof], machine),
            "## What the cut took",
            "",
            *_diff_lines(diff),
            *_provenance_lines(config),
        ]
    )


def elastic_card(
    label: str, config: Mapping[str, Any], proofs: Sequence[Proof], pairs: Sequence[tuple[float, float]], machine: str
) -> str:
    """README.md of an elastic export."""
    rows = []
    for (mlp, heads), proof in zip(pairs, proofs, strict=True):
        took = (
            ""
            if proof.latency is None
            else f"{milliseconds(proof.latency.ms)} ({percent(proof.latency.ratio, 0)} of the whole)"
        )
        rows.append((ratio(mlp), ratio(heads), f"{proof.params:,}", took))
    corrected = "corrected in closed form by the factors stored here" if config["elastic"]["corrected"] else "as cut"
    return "\n".join(
        [
            HEAD,
            f"# {label}, elastic",
            "",
            f"{label} with its MLP neurons and attention heads in order of importance, as SnapViT "
            "([arXiv 2510.17700](https://arxiv.org/abs/2510.17700)) ranks them: any share of either is left out when "
            f"it is loaded, {corrected}. The weights derive from {label}, whose licence goes on to apply.",
            "",
            *_usage("from cut import load\n\nmodel = load(mlp=0.5, heads=0.35)  # shares to leave out", config),
            "## Measured",
            "",
            *_table(("neurons left out", "heads left out", "parameters", "one image"), rows),
            "",
            *_proof_lines(proofs, machine),
            *_provenance_lines(config),
        ]
    )


def _corrected(config: Mapping[str, Any]) -> str:
    if "correction" not in config["provenance"]:
        return ""
    return (
        "The layers that read what is left were solved again on it, in closed form and without labels, to give the "
        "whole layers' output back as well as they can. "
    )


def _tuned(config: Mapping[str, Any]) -> str:
    tuned = config["provenance"].get("tuned")
    if not tuned:
        return ""
    return (
        f"It was then trained for {tuned['epochs']} epoch{'s' * (tuned['epochs'] != 1)} on {tuned['images']:,} images "
        f"of {tuned['data']}, without labels, towards the whole model's embeddings: on images held out, the cosine to "
        f"them went from {tuned['cosine_before']:.4f} to {tuned['cosine_after']:.4f}. "
    )


def _usage(code: str, config: Mapping[str, Any]) -> list[str]:
    data = config["data"]
    return [
        "## Use",
        "",
        "In this folder, with torch, timm and safetensors installed (tested with "
        f"torch {config['provenance']['torch']} and timm {config['provenance']['timm']}):",
        "",
        f"```python\n{code}\nlogits = model(images)\n"
        "embedding = model.forward_head(model.forward_features(images), pre_logits=True)\n```",
        "",
        f"Images are {' x '.join(map(str, data['input_size']))}, values in [0, 1] less {data['mean']}, divided by "
        f"{data['std']}; resized ({data['interpolation']}), and the centre ({percent(data['crop_pct'], 0)}) cut out. "
        "`timm.data.create_transform(**config)` makes this of `data` in config.json. The model can be trained on; "
        "nothing in this folder is a pickle.",
        "",
    ]


def _latency_rows(proof: Proof) -> list[tuple[str, ...]]:
    timed = proof.latency
    if timed is None:
        return []
    share = f"{percent(timed.ratio, 0)} ({percent(timed.low, 0)} to {percent(timed.high, 0)})"
    return [("one image, one thread", milliseconds(timed.full_ms), milliseconds(timed.ms), share)]


def _measured_rows(measured: Measured | None) -> list[tuple[str, ...]]:
    if measured is None:
        return []
    cut, full = measured.cut, measured.full
    rows = [("cosine to the whole model's embeddings", "1", f"{cut.cosine:.4f}", "")]
    if cut.hits is not None:
        name = f"k-NN top-1 ({cut.queries:,} queries, {cut.gallery:,} in the gallery, k = {cut.k})"
        rows.append((name, "" if full is None else _top1(full), _top1(cut), ""))
    return rows


def _top1(row: Measurement) -> str:
    low, high = wilson_interval(row.hits, row.queries)
    return f"{percent(row.top1)} ({percent(low)} to {percent(high)})"


def _proof_lines(proofs: Sequence[Proof], machine: str) -> list[str]:
    def worst(name: str) -> float | None:
        found = [value for proof in proofs if (value := getattr(proof, name)) is not None]
        return max(found, default=None)

    off = worst("error")
    agreement = f"lie at most {off:.1e} of their largest number off" if off else "are exactly"
    lines = [
        f"Proven before it was handed over, on {machine}: a fresh process with torch and timm alone loaded it; on "
        f"{proofs[0].images} images that it was not calibrated on, embeddings and logits {agreement} "
        "those of the cut model in the explorer; one step of an optimiser had finite gradients.",
        "",
    ]
    for name, title in (("onnx_error", "model.onnx, by onnxruntime,"), ("program_error", "model.pt2")):
        if (error := worst(name)) is not None:
            lines += [f"{title} differs by at most {error:.1e} and takes any number of images.", ""]
    return lines


def _diff_lines(diff: StructureDiff) -> list[str]:
    rows = []
    for number, (full, cut) in enumerate(zip(diff.full, diff.cut, strict=True), start=1):
        rows.append(
            (
                str(number),
                f"{full.heads} → {cut.heads}",
                f"{full.attention_width:,} → {cut.attention_width:,}",
                f"{full.neurons:,} → {cut.neurons:,}",
                f"{full.params:,} → {cut.params:,}",
                f"{full.macs:,} → {cut.macs:,}",
                _bar(cut.macs / full.macs),
            )
        )
    for name, params, macs in (("rest", diff.rest_params, diff.rest_macs), ("all", diff.params, diff.macs)):
        bar = _bar(macs[1] / macs[0])
        rows.append((name, "", "", "", "{:,} → {:,}".format(*params), "{:,} → {:,}".format(*macs), bar))
    return [
        *_table(("block", "heads", "attention width", "neurons", "parameters", "MACs", "MACs left"), rows),
        "",
        "Blocks count from the image. Parameters and multiply-accumulates of a block are those of its heads and "
        "neurons; all others are the rest.",
        "",
    ]


def _bar(share: float) -> str:
    full = round(BAR * share)
    return f"`{'█' * full}{'░' * (BAR - full)}` {percent(share, 0)}"


def _provenance_lines(config: Mapping[str, Any]) -> list[str]:
    rows = [(name, str(value)) for name, value in config["provenance"].items() if not isinstance(value, Mapping)]
    return ["## Provenance", "", *_table(("", ""), rows), ""]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
