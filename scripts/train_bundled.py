"""Train the bundled model, `snapvit/assets/fashion_vit.safetensors`, from scratch.

A small timm `VisionTransformer` learns Fashion-MNIST from the labels of the 60,000 training images,
on the CPU: 22 epochs in about an hour and a half on two cores, about 90 % top-1. The test split
("t10k") is never trained on, because the product calibrates, searches and queries with it; here it
only gives the printed accuracy, on its first 2,000 images.

IDX_FOLDER holds the four files of Debian's package dataset-fashion-mnist. The product ships the two
t10k files of the four (`snapvit/assets/fashion_mnist`); the training split comes with the package.

usage: python -m scripts.train_bundled IDX_FOLDER OUT.safetensors [--epochs 22] [--steps N] [--seed 0]

`--steps 300` shows within a few minutes that the model learns; its learning rates are those of the
first 300 steps of the whole recipe, so it does not stand in for it.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import torch
import torch.nn.functional as F
from safetensors.torch import save
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.func import functional_call

from snapvit.data.idx import read_idx
from snapvit.errors import InputError

MEAN, STD = 0.2860, 0.3530  # of the training pixels, in [0, 1]
CLASSES = 10
SIDE = 28  # pixels, both ways
PROBE_IMAGES = 2000  # of t10k, for the printed accuracy
REPORT_STEPS = 100  # between two printed lines of a --steps run; a full run prints one an epoch


def bundled_config() -> dict[str, int]:
    """Keyword arguments of the bundled `VisionTransformer`: 16 patches + CLS, 12 blocks of 6 heads."""
    return {
        "img_size": SIDE,
        "patch_size": 7,
        "in_chans": 3,  # grey images are fed as three equal channels
        "num_classes": CLASSES,
        "embed_dim": 144,
        "depth": 12,
        "num_heads": 6,
    }


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the images. The defaults made the bundled file."""

    config: dict[str, int] = field(default_factory=bundled_config)
    epochs: int = 22
    batch: int = 128  # an epoch's last, incomplete batch is left out
    seed: int = 0
    learning_rate: float = 1.2e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    warmup: int = 400  # steps
    floor: float = 1e-3  # added to the schedule's factor, so the last steps still move
    drop_path: float = 0.05  # of the last block, rising linearly from the first
    label_smoothing: float = 0.05
    clip_norm: float = 1.0
    average_decay: float = 0.999  # of the weights' moving average, which is what is saved


class Split(NamedTuple):
    """Images and their classes."""

    images: Tensor  # (N, 28, 28) uint8
    labels: Tensor  # (N,) int64, 0 to 9


@dataclass(frozen=True)
class Step:
    """What is known after one optimiser step."""

    number: int  # from 1
    epochs: int  # whole passes over the training split so far
    loss: float
    average: dict[str, Tensor]  # averaged weights, updated in place by the next step


# --- images ---------------------------------------------------------------------------------------


def load_split(folder: Path, split: str) -> Split:
    """The "train" or "t10k" split. InputError unless it has 28 x 28 images, one label of 0 to 9 each."""
    image_file, label_file = (folder / f"{split}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1"))
    if not image_file.exists() or not label_file.exists():
        raise InputError(
            f"{folder} lacks {image_file.name} or {label_file.name}: install Debian's package dataset-fashion-mnist "
            "and name the folder of its four files (`dpkg -L dataset-fashion-mnist` lists them)."
        )
    images, labels = torch.from_numpy(read_idx(image_file, 3)), torch.from_numpy(read_idx(label_file, 1)).long()
    count, *size = images.shape
    if size != [SIDE, SIDE]:
        raise InputError(f"{image_file} holds images of {size} pixels, not {[SIDE, SIDE]}.")
    if not count or count != len(labels):
        raise InputError(f"{image_file} holds {count} images, {label_file.name} {len(labels)} labels.")
    if labels.max() >= CLASSES:
        raise InputError(f"{label_file} holds the label {labels.max()}, above {CLASSES - 1}.")
    return Split(images, labels)


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image mirrored with probability 1/2, then moved by -1, 0 or 1 pixel both ways.

    images: (N, H, W), 0 is black; black enters at the sides. Returns a new tensor of the same shape
    and dtype. Draws from `rng`, in this order: N uniform numbers (mirrored where < 1/2), N rows and
    N columns of 0 to 2, where 1 leaves the image in place and 2 moves it up or left."""
    n, height, width = images.shape
    mirrored = torch.rand(n, generator=rng) < 0.5
    rows = torch.randint(0, 3, (n, 1), generator=rng) + torch.arange(height)  # (N, H), into the padded image
    cols = torch.randint(0, 3, (n, 1), generator=rng) + torch.arange(width)  # (N, W)
    cols = torch.where(mirrored[:, None], width + 1 - cols, cols)  # the padding is symmetric
    padded = F.pad(images, (1, 1, 1, 1))  # (N, H+2, W+2)
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], cols[:, None, :]]


def to_input(images: Tensor) -> Tensor:
    """What the model is fed: (N, H, W) bytes as three equal channels (N, 3, H, W), normalised."""
    return images.float().div_(255).sub_(MEAN).div_(STD)[:, None].expand(-1, 3, -1, -1)


# --- training -------------------------------------------------------------------------------------


def build_model(recipe: Recipe) -> VisionTransformer:
    """The untrained model. Its weights come from torch's global generator, like timm's drop path."""
    return VisionTransformer(**recipe.config, drop_path_rate=recipe.drop_path)


def total_steps(recipe: Recipe, images: int) -> int:
    """Optimiser steps of the whole recipe on that many images."""
    return recipe.epochs * (images // recipe.batch)


def schedule(step: int, total: int, recipe: Recipe) -> float:
    """Factor on the learning rate at a step counted from 0: linear warm-up times half a cosine."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total))) + recipe.floor


def batches(images: int, recipe: Recipe, rng: torch.Generator) -> Iterator[tuple[int, Tensor]]:
    """(whole epochs once this batch is done, (batch,) image indices), in a new order every epoch."""
    per_epoch = images // recipe.batch
    for epoch in range(recipe.epochs):
        order = torch.randperm(images, generator=rng)[: per_epoch * recipe.batch]
        for i, chosen in enumerate(order.split(recipe.batch), start=1):
            yield epoch + (i == per_epoch), chosen


@torch.no_grad()
def update_average(average: dict[str, Tensor], weights: dict[str, Tensor], step: int, recipe: Recipe) -> None:
    """Move the averaged weights, in place, towards those after `step` steps; early steps count more."""
    decay = min(recipe.average_decay, (1 + step) / (10 + step))
    for name, value in weights.items():
        average[name].lerp_(value, 1 - decay)


def train(model: VisionTransformer, split: Split, recipe: Recipe, rng: torch.Generator) -> Iterator[Step]:
    """Train `model` in place, one yield for each optimiser step; the caller may stop at any of them.

    `rng` decides the order of the images and their augmentation. The model may be used between two
    steps: every step sets training mode itself."""
    images, labels = split
    total = total_steps(recipe, len(images))
    if total < 1:
        raise InputError(f"{len(images)} training images do not fill one batch of {recipe.batch}.")
    average = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=recipe.learning_rate,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule(step, total, recipe))
    for number, (epochs, chosen) in enumerate(batches(len(images), recipe, rng), start=1):
        model.train()
        logits = model(to_input(augment(images[chosen], rng)))
        loss = F.cross_entropy(logits, labels[chosen], label_smoothing=recipe.label_smoothing)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimiser.step()
        rates.step()
        update_average(average, model.state_dict(), number, recipe)
        yield Step(number, epochs, loss.item(), average)


@torch.inference_mode()
def evaluate(model: VisionTransformer, weights: dict[str, Tensor], split: Split, batch: int = 500) -> float:
    """Top-1 in [0, 1] of `model` with `weights` in place of its own, which stay as they are."""
    training = model.training
    model.eval()
    try:
        right = sum(
            (functional_call(model, weights, to_input(x)).argmax(1) == y).sum().item()
            for x, y in zip(split.images.split(batch), split.labels.split(batch), strict=True)
        )
    finally:
        model.train(training)
    return right / len(split.labels)


def save_weights(path: Path, weights: dict[str, Tensor], config: dict[str, int], epochs: int) -> None:
    """Half-precision weights and what it takes to use them; `path` is written whole or not at all."""
    metadata = {"config": json.dumps(config), "mean": str(MEAN), "std": str(STD), "epochs": str(epochs)}
    halves = {name: value.half().contiguous() for name, value in weights.items()}
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        part.write_bytes(save(halves, metadata))  # `save_file` would make it readable by its owner alone
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


# --- command line ---------------------------------------------------------------------------------


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments of the command line; argparse leaves with code 2 where they make no sense."""
    parser = argparse.ArgumentParser(description="Train the bundled Fashion-MNIST ViT from scratch (CPU).")
    parser.add_argument("folder", metavar="IDX_FOLDER", type=Path, help="files of dataset-fashion-mnist")
    parser.add_argument("out", metavar="OUT.safetensors", type=Path, help="rewritten after every epoch")
    parser.add_argument("--epochs", type=positive, default=Recipe.epochs, help="default: %(default)s")
    parser.add_argument("--steps", type=positive, metavar="N", help="stop after N optimiser steps")
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="default: %(default)s")
    return parser.parse_args(argv)


def check_out(path: Path) -> None:
    """InputError, before any training, where the weights could not be written."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, where the file for the weights should be named.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"The folder {path.parent} for the weights does not exist or is read-only.")


def run(folder: Path, out: Path, recipe: Recipe, stop_after: int | None) -> None:
    """Train by the recipe, at most `stop_after` steps of it; print as it goes and save at every epoch."""
    check_out(out)
    training, test = load_split(folder, "train"), load_split(folder, "t10k")
    probe = Split(test.images[:PROBE_IMAGES], test.labels[:PROBE_IMAGES])
    torch.manual_seed(recipe.seed)  # initial weights and drop path
    model = build_model(recipe)
    total = total_steps(recipe, len(training.images))
    last = min(stop_after or total, total)
    top1 = evaluate(model, model.state_dict(), probe)
    print(f"step 0/{total}: top-1 {top1:.4f} on the first {len(probe.labels)} t10k images", flush=True)
    losses, began, saved = [], time.monotonic(), 0
    for step in train(model, training, recipe, torch.Generator().manual_seed(recipe.seed)):
        losses.append(step.loss)
        at_epoch, at_end = step.epochs > saved, step.number == last
        if at_epoch or at_end or (stop_after and step.number % REPORT_STEPS == 0):
            loss, top1 = sum(losses) / len(losses), evaluate(model, step.average, probe)
            print(
                f"step {step.number}/{total}: mean loss of {len(losses)} steps {loss:.3f}, "
                f"top-1 {top1:.4f}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
            losses.clear()
        if at_epoch or at_end:
            save_weights(out, step.average, recipe.config, step.epochs)
            saved = step.epochs
        if at_end:
            break


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 2 after one sentence about an input that cannot be used."""
    args = parse_args(argv)
    try:
        run(args.folder, args.out, Recipe(epochs=args.epochs, seed=args.seed), args.steps)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
