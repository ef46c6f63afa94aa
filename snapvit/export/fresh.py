"""What a process of its own finds out about exported folders. It is run by path, with `python -I`, and never imported.

Standard input names the jobs as JSON, standard output ends with one line of JSON: an answer for each job.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

LEAST_ROUNDS, MOST_ROUNDS = 5, 41
VISIT_SECONDS = 0.05
RATE = 1e-3  # of the one step


def module_of(folder: Path, name: str) -> ModuleType:
    """The file NAME.py of the folder, run; it may import its neighbour load.py."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def loaded(job: dict[str, Any]) -> nn.Module:
    """The model of a job's folder, cut where that was asked."""
    folder = Path(job["folder"])
    plain = module_of(folder, "load")
    return module_of(folder, "cut").load(folder, *job["ratios"]) if job["elastic"] else plain.load(folder)


def error(found: Tensor, wanted: Tensor) -> float:
    """Largest difference as a share of the largest number; a head of zeros alone says zeros."""
    return float((found.cpu() - wanted).abs().max() / (wanted.abs().max() or 1))


@torch.no_grad()
def outputs(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Embedding and logits."""
    features = model.forward_features(images)
    return model.forward_head(features, pre_logits=True), model.forward_head(features)


def step(model: nn.Module, images: Tensor) -> bool:
    """One step of an optimiser on a made-up task: every number of the embedding towards its neighbour's."""
    before = outputs(model, images)[0]
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    embedding = model.forward_head(model.forward_features(images), pre_logits=True)
    (embedding - before.roll(1, dims=1)).square().mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    finite = bool(gradients) and all(bool(g.isfinite().all()) for g in gradients)
    optimiser.step()
    after = outputs(model.eval(), images)[0]
    return finite and bool(after.isfinite().all()) and bool((after != before).any())


def seconds_of(model: nn.Module, image: Tensor, passes: int) -> float:
    """The fastest of so many passes; one that is not counted comes first."""
    found = []
    for _ in range(1 + passes):
        start = time.perf_counter()
        model(image)
        if image.device.type in ("cuda", "mps"):
            getattr(torch, image.device.type).synchronize()
        found.append(time.perf_counter() - start)
    return min(found[1:])


@torch.inference_mode()
def latency(job: dict[str, Any], model: nn.Module, images: Tensor) -> dict[str, Any]:
    """One image on one thread, in turns with the whole model as timm builds it: medians, and the ratio's quartiles."""
    wanted = json.loads((Path(job["folder"]) / "config.json").read_text(encoding="utf-8"))["model"]
    full = timm.create_model(wanted["name"], **wanted["arguments"]).to(images.device).eval()
    for name, value in wanted["attributes"].items():
        setattr(full, name, value)
    threads, image = torch.get_num_threads(), images[:1]
    torch.set_num_threads(1)
    try:
        passes = min(4, max(1, int(VISIT_SECONDS / max(seconds_of(full, image, 1), 1e-9))))
        times, end = [], time.perf_counter() + job["seconds"]
        while len(times) < LEAST_ROUNDS or (len(times) < MOST_ROUNDS and time.perf_counter() < end):
            before, cut, after = (seconds_of(m, image, passes) for m in (full, model, full))
            times.append((cut, (before + after) / 2))
    finally:
        torch.set_num_threads(threads)
    low, ratio, high = statistics.quantiles((cut / whole for cut, whole in times), n=4)
    ms, full_ms = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    return {"ms": ms, "full_ms": full_ms, "ratio": ratio, "low": low, "high": high, "repeats": len(times)}


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """What is found out about one folder."""
    torch.set_num_threads(job["threads"])
    torch.backends.cudnn.allow_tf32 = False  # as in the process that made the samples
    samples, model = load_file(job["samples"]), loaded(job)
    model, images = model.to(job["device"]), samples["images"].to(job["device"])
    found = outputs(model, images)
    return {
        "errors": {name: error(out, samples[name]) for name, out in zip(("embedding", "logits"), found, strict=True)},
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "latency": latency(job, model, images) if job["seconds"] else None,
        "trains": step(model, images),
    }


def main() -> None:
    """Answer every job; one that fails says why and stops no other."""
    sys.modules["snapvit"] = None  # an export that asks for it is told that there is none, though it be installed
    answers = []
    for job in json.load(sys.stdin):
        try:
            answers.append(answer(job))
        except Exception as failure:
            answers.append({"failed": f"{type(failure).__name__}: {failure}"})
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
