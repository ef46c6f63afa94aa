"""Fine-tuning an exported model on unlabelled images, to see what training would add to a cut."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from snapvit.artifacts import Ints
from snapvit.data.image_source import Check, ImageSource, go_on
from snapvit.data.pixels import PixelTable
from snapvit.data.sources import open_source
from snapvit.devices import CPU, device_label
from snapvit.environment import exact_products
from snapvit.errors import InputError
from snapvit.export.distil import Distillation
from snapvit.export.drafts import Origin, draft_tuned
from snapvit.export.hand_over import Exported, hand_over
from snapvit.export.load import build
from snapvit.export.reading import read_config, read_tensors
from snapvit.export.target import check_target, naming_failures
from snapvit.models.embedding import normalise_pixels
from snapvit.models.loading import LoadedModel, load_model
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.workspace import download_notes
from snapvit.store.files import write_whole
from snapvit.store.store import Store

HELD_SHARE, HELD_MOST = 0.1, 256  # of the images, that are never trained on
PROVEN = 32  # of them, that the proof compares
LEAST_IMAGES = 10
SAVE_SECONDS = 60.0  # of work that a kill can cost
TOLD = 10  # times an epoch, the loss


@dataclass(frozen=True)
class Tuning:
    """How to train."""

    epochs: int = 1
    rate: float = 1e-4  # at first; it falls to 0
    batch: int = 64
    seed: int = 0  # of the images' order

    def __post_init__(self) -> None:
        for name, value in (("number of epochs", self.epochs), ("batch", self.batch)):
            if value < 1:
                raise InputError(f"The {name} is {value}; it must be at least 1.")
        if not 0 < self.rate < 1:
            raise InputError(f"The learning rate is {self.rate:g}; it must lie between 0 and 1.")


@dataclass(frozen=True)
class _Images:
    """Where they come from, and what is done with which."""

    source: ImageSource
    train: Ints
    held: Ints

    @classmethod
    def open(cls, source: ImageSource, seed: int, check: Check = go_on) -> _Images:
        order = np.random.default_rng(seed).permutation(len(source))
        order = order[source.usable(order, check)]
        if len(order) < LEAST_IMAGES:
            raise InputError(f"{source.name} has {len(order)} images; fine-tuning needs at least {LEAST_IMAGES}.")
        held = min(HELD_MOST, math.ceil(HELD_SHARE * len(order)))
        return cls(source, order[held:], order[:held])


def finetune(
    store: Store, export: Path, data: str, target: Path, tuning: Tuning, reporter: Reporter, device: str = CPU
) -> tuple[dict[str, Any], Exported]:
    """Train the cut in `export` on `device` towards the embeddings of its run's whole model on the images of `data`.

    Hands the trained model over as a new export in the folder `target`; and what the training came to. Beside the
    target lies a checkpoint from which the same call goes on after a stop, to the same result; it goes at the end.
    Raises InputError where the export, its run, the images or the target cannot be used, Cancelled between two steps.
    """
    check_target(target)
    config, tensors = read_config(export), read_tensors(export)
    if "elastic" in config:
        raise InputError(f"{export} is elastic, so it has no one shape to train; export a cut and train that.")
    images = _Images.open(open_source(data, store.root, reporter.check), tuning.seed, reporter.check)
    reporter.event("device", f"computing on {device_label(device)} in float32")
    exact_products()
    place = torch.device(device)
    loaded = _whole_model(store, config["provenance"], place, reporter)
    origin = Origin.of(loaded)
    steps = tuning.epochs * math.ceil(len(images.train) / tuning.batch)
    work = Distillation(build(config, tensors).to(place), loaded.model, tuning.rate, steps)
    checkpoint = target.with_name(f"{target.name}.tuning.safetensors")
    identity = _identity(tensors, images, tuning)

    def held() -> Iterator[Tensor]:
        return _batches(images.source, images.held, loaded, tuning.batch, place)

    before = work.cosine(reporter.heeding(held()))
    _resume(work, checkpoint, identity, reporter)
    reporter.plan(len(images.train) * tuning.epochs)
    reporter.begin("fine-tuning", len(images.train) * tuning.epochs)
    _train(work, images, loaded, tuning, place, reporter, lambda: _save(work, checkpoint, identity))
    after = work.cosine(reporter.heeding(held()))
    tuned = {
        **asdict(tuning),
        "data": data.split("/")[-1],
        "images": len(images.train),
        "held_out": len(images.held),
        "cosine_before": before,
        "cosine_after": after,
    }
    sample = next(_batches(images.source, images.held[:PROVEN], loaded, PROVEN, torch.device("cpu")))
    draft = draft_tuned(work.student, config, tensors, origin, sample, tuned)
    exported = hand_over(draft, target, check=reporter.check, tell=partial(reporter.event, "note"))
    checkpoint.unlink(missing_ok=True)
    return tuned, exported


def _whole_model(store: Store, provenance: Mapping[str, Any], device: torch.device, reporter: Reporter) -> LoadedModel:
    """The model that the export was cut from, found by its run."""
    request = StoredRun.open(store, provenance["run"]).request
    loaded = load_model(request.model, device, download_notes(reporter))
    if loaded.digest != provenance["weights"]:
        raise InputError(
            f"The weights of {loaded.label} changed since run {provenance['run']} was exported; fine-tuning needs "
            "those that the export was cut from."
        )
    return loaded


def _batches(source: ImageSource, ids: Ints, loaded: LoadedModel, size: int, device: torch.device) -> Iterator[Tensor]:
    """Normalised batches (B, 3, h, w), decoded as they are needed."""
    for pixels in PixelTable(source, ids, loaded.preprocess, None).batches(size):
        yield normalise_pixels(pixels.to(device), loaded.preprocess)


def _train(
    work: Distillation,
    images: _Images,
    loaded: LoadedModel,
    tuning: Tuning,
    device: torch.device,
    reporter: Reporter,
    save: Callable[[], None],
) -> None:
    per_epoch = math.ceil(len(images.train) / tuning.batch)
    saved = time.monotonic()
    try:
        while work.done < tuning.epochs * per_epoch:
            epoch, first = divmod(work.done, per_epoch)
            order = np.random.default_rng((tuning.seed, epoch)).permutation(images.train)
            losses = []
            for batch in _batches(images.source, order[first * tuning.batch :], loaded, tuning.batch, device):
                losses.append(work.step(batch))
                reporter.advance(len(batch))
                if time.monotonic() - saved > SAVE_SECONDS:
                    save()
                    saved = time.monotonic()
                if TOLD * work.done // per_epoch > TOLD * (work.done - 1) // per_epoch:
                    loss, losses = float(np.mean(losses)), []
                    share = work.done / per_epoch
                    reporter.event("loss", f"{share:.1f} of {tuning.epochs} epochs: loss {loss:.4f}", loss=loss)
    except BaseException:
        if work.whole and work.done:  # whatever ends it, the steps so far are kept
            save()
        raise


def _identity(tensors: Mapping[str, Tensor], images: _Images, tuning: Tuning) -> str:
    """What a checkpoint belongs to."""
    digest = hashlib.sha256(json.dumps(asdict(tuning), sort_keys=True).encode())
    digest.update(f"{len(images.train)} {images.source.digest_of(images.held)}".encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _save(work: Distillation, checkpoint: Path, identity: str) -> None:
    with naming_failures(checkpoint):
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        about = {"identity": identity, "done": str(work.done)}
        write_whole(checkpoint, safetensors.torch.save(work.state(), metadata=about))


def _resume(work: Distillation, checkpoint: Path, identity: str, reporter: Reporter) -> None:
    if not checkpoint.exists():
        return
    try:
        with safe_open(checkpoint, framework="pt") as file:
            about = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reporter.event("note", f"{checkpoint.name} cannot be read ({error}), so training begins anew")
        return
    if about.get("identity") != identity:
        reporter.event("note", f"{checkpoint.name} is of another training, so this one begins anew")
        return
    work.restore(state, int(about["done"]))
    reporter.event("note", f"going on after step {work.done}")
