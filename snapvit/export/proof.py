"""Proof of an export: reloaded by a process that cannot see this package, it does what the elastic model does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from snapvit.errors import InputError
from snapvit.export.formats import ONNX, PROGRAM, onnx_outputs, program_outputs
from snapvit.formats import percent
from snapvit.tables import Latency

SCRIPT = Path(__file__).with_name("fresh.py")
WEIGHTS = "model.safetensors"
TOLERANCE = 1e-5  # of the largest number of the embedding, and of the logits
OTHER_TOLERANCE = 1e-4  # of other runtimes, which add up in another order
SIZE_TOLERANCE = 0.03  # of the bytes that the parameters take
POLL_SECONDS = 0.1


class ProofFailed(InputError):
    """What was written does not do what the elastic model does; the message says what differs."""


@dataclass(frozen=True)
class Sample:
    """What the elastic model made of some images at one cut."""

    images: Tensor  # (N, 3, h, w) normalised, that nothing was calibrated on; float32
    embedding: Tensor  # (N, D)
    logits: Tensor  # (N, classes)
    params: int  # that are shown
    ratios: tuple[float, float]  # (mlp, heads) sparsities


@dataclass(frozen=True)
class Trial:
    """A written folder and what it must do."""

    folder: Path
    sample: Sample
    elastic: bool = False  # the folder holds the whole model, and is loaded at the sample's ratios
    seconds: float = 2.0  # for the latencies; 0: they are not measured


@dataclass(frozen=True)
class Proof:
    """What was found."""

    images: int
    error: float  # largest difference of embedding or logits, as a share of the largest number
    params: int
    file_bytes: int  # of model.safetensors
    latency: Latency | None  # of one image beside the whole model, in the same fresh process
    onnx_error: float | None = None
    program_error: float | None = None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found = dict(vars(self))
        return found | {"latency": None if self.latency is None else dict(vars(self.latency))}


def prove(
    trials: Sequence[Trial], scratch: Path, device: str = "cpu", check: Callable[[], None] = lambda: None
) -> list[Proof]:
    """Load every trial's folder in one fresh process and compare. Samples are written into `scratch`.

    `check` is called again and again and may raise to stop. Raises ProofFailed naming what differs first.
    """
    answers = _fresh_answers(trials, scratch, device, check)
    return [_judged(trial, answer) for trial, answer in zip(trials, answers, strict=True)]


def _fresh_answers(
    trials: Sequence[Trial], scratch: Path, device: str, check: Callable[[], None]
) -> list[dict[str, Any]]:
    jobs = []
    for number, trial in enumerate(trials):
        samples = scratch / f"samples_{number}.safetensors"
        sample = trial.sample
        tensors = {"images": sample.images, "embedding": sample.embedding, "logits": sample.logits}
        save_file({name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}, samples)
        job = {"folder": str(trial.folder), "samples": str(samples), "device": device, "seconds": trial.seconds}
        job |= {"ratios": sample.ratios, "elastic": trial.elastic}
        jobs.append(job | {"threads": torch.get_num_threads()})  # as in this process, so that sums are alike
    (scratch / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    said, complained = scratch / "said.txt", scratch / "complained.txt"
    with (scratch / "jobs.json").open() as asked, said.open("w") as out, complained.open("w") as err:
        # -I: neither the working directory nor PYTHONPATH, so that only installed packages are seen; -B: no compiled
        # code is left in the folder.
        process = subprocess.Popen([sys.executable, "-I", "-B", str(SCRIPT)], stdin=asked, stdout=out, stderr=err)
        try:
            while process.poll() is None:
                check()
                try:
                    process.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        reason = complained.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise ProofFailed(
            f"The export could not be proven, so nothing is handed over: the process that was to load it ended with "
            f"{process.returncode} ({reason[-1][:200] if reason else 'without a word'})."
        )
    return json.loads(said.read_text(encoding="utf-8").strip().splitlines()[-1])


def _judged(trial: Trial, answer: dict[str, Any]) -> Proof:
    params, weights = trial.sample.params, trial.folder / WEIGHTS

    if "failed" in answer:
        raise _refused(f"a process that knows only torch and timm cannot load it ({answer['failed'][:300]})")
    for name, error in answer["errors"].items():
        if not error <= TOLERANCE:  # NaN is no small error
            raise _refused(
                f"reloaded, it makes {name} of the held-out images that lie {error:.1e} of the largest number off the "
                f"elastic model's, where {TOLERANCE:g} is allowed"
            )
    if answer["params"] != params:
        raise _refused(f"it has {answer['params']:,} parameters, the elastic model {params:,}")
    if not trial.elastic and not (off := numbers_off(weights, params)) <= SIZE_TOLERANCE:
        raise _refused(f"the numbers in {WEIGHTS} take {percent(off)} more or less than {params:,} parameters would")
    if not answer["trains"]:
        raise _refused("one step of an optimiser gave gradients that are not finite, or changed nothing")
    found = answer["latency"]
    latency = None if found is None else Latency(*trial.sample.ratios, **found)
    return Proof(len(trial.sample.images), max(answer["errors"].values()), params, weights.stat().st_size, latency)


def _refused(what: str) -> ProofFailed:
    return ProofFailed(f"The export failed its proof, so nothing is handed over: {what}.")


def numbers_off(weights: Path, params: int) -> float:
    """How far the numbers in a safetensors file of float32 are from what so many parameters take, as a share.

    The file's own table of names is no number; it is larger than a toy model's weights.
    """
    with weights.open("rb") as file:
        table = 8 + int.from_bytes(file.read(8), "little")
    return abs(weights.stat().st_size - table - 4 * params) / (4 * params)


def other_error(file: Path, sample: Sample) -> float:
    """Largest difference of `model.onnx` or `model.pt2` from the sample, of all images and of one alone.

    Raises ProofFailed where it is too large.
    """
    run = {ONNX: onnx_outputs, PROGRAM: program_outputs}[file.name]
    wanted = [sample.embedding.numpy(), sample.logits.numpy()]
    errors = []
    for first in (None, 1):
        found = run(file, sample.images[:first])  # a model without a head has one output alone
        errors += [
            np.abs(out - w[:first]).max() / (np.abs(w).max() or 1) for out, w in zip(found, wanted, strict=False)
        ]
    worst = float(np.max(errors))  # NaN stays NaN
    if not worst <= OTHER_TOLERANCE:
        raise _refused(
            f"{file.name} differs from the elastic model by {worst:.1e} of the largest number, where "
            f"{OTHER_TOLERANCE:g} is allowed"
        )
    return worst
