"""Sound small files of every kind that strangers give, and ways to spoil them."""

from __future__ import annotations

import io
import json
import random
import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image, features
from safetensors.torch import save
from timm.models.vision_transformer import VisionTransformer

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
Seed = tuple[str, str, bytes]  # kind, file name, content
PICTURES = {
    "jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "tif": ("TIFF", {"compression": "tiff_lzw"}),
    "bmp": ("BMP", {}),
    "ppm": ("PPM", {}),
    "avif": ("AVIF", {}),
    "jp2": ("JPEG2000", {}),
}
NUMBERS = [b"-1", b"0", b"99999999999", b"1e308", b"NaN", b"1" * 5000]
WORDS = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", b"\x80"]


def seeds() -> list[Seed]:
    """Score files, checkpoints, pictures and zips."""
    torch.manual_seed(0)
    described = VisionTransformer(**TINY).state_dict()
    metadata = {"config": json.dumps(TINY), "mean": "0.5", "std": "0.5"}
    named = timm.create_model("test_vit", img_size=32, num_classes=3).state_dict()
    checkpoints: list[Seed] = [
        ("described", "mine.safetensors", save(described, metadata)),
        ("named", "mine.safetensors", save(named)),
        ("named", "mine.pth", _saved({"epoch": 3, "state_dict": named, "optimizer": {"state": {0: torch.zeros(2)}}})),
        ("named", "legacy.pth", _saved(named, _use_new_zipfile_serialization=False)),
    ]
    pictures = [("picture", f"a.{name}", _picture(*how)) for name, how in PICTURES.items() if _can(how[0])]
    return [("scores", "scores.pt", _scores()), *checkpoints, *pictures, ("zip", "images.zip", _zip(pictures))]


def _saved(content: object, **settings: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **settings)
    return buffer.getvalue()


def _can(kind: str) -> bool:
    needed = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}.get(kind)
    return needed is None or bool(features.check(needed))


def _picture(kind: str, options: dict[str, object]) -> bytes:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((48, 40)).save(buffer, kind, **options)
    return buffer.getvalue()


def _scores() -> bytes:
    rng = np.random.default_rng(0)
    return _saved(
        {
            "mlp_scores": torch.from_numpy(rng.random((12, 64))),
            "head_scores": torch.from_numpy(rng.random((12, 6))),
            "model_type": "deit-3-vit-s-16",
            "mlp_architecture": "standard",
            "num_blocks": 12,
            "hidden_dim": 64,
            "embed_dim": 48,
            "num_heads": 6,
            "head_dim": 8,
            "min_hidden_dim_keep_ratio": 0.05,
            "min_head_keep_ratio": 0.2,
            "metadata": {"pruning_dataset": "imagenet-1k", "seed": 0, "pairs": [[0.1, 0.2]]},
        }
    )


def _zip(pictures: list[Seed]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for folder in ("cat", "dog"):
            for _, name, raw in pictures[:4]:
                file.writestr(f"{folder}/{name}", raw)
    return buffer.getvalue()


def spoilt(draw: random.Random, raw: bytes, others: list[bytes], payload: bytes) -> bytes:
    """`raw` with one to four things done to it; of a zip archive the parts as often as the whole."""
    inside = raw.startswith(b"PK\x03\x04") and draw.random() < 0.6
    for _ in range(draw.randint(1, 4)):
        raw = _part_spoilt(draw, raw, others, payload) if inside else draw.choice(WAYS)(draw, raw, others)
    return raw


def _part_spoilt(draw: random.Random, raw: bytes, others: list[bytes], payload: bytes) -> bytes:
    """The archive with one part spoilt, its checksum put right again: readers look into it."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            parts = {info.filename: file.read(info) for info in file.infolist()}
    except Exception:  # spoilt beyond reading already
        return raw
    if not parts:
        return raw
    name = draw.choice([n for n in parts if n.endswith("data.pkl")] or list(parts))
    whole = draw.random() < 0.1
    parts[name] = payload if whole and name.endswith(".pkl") else draw.choice(WAYS)(draw, parts[name], others)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for part, content in parts.items():
            file.writestr(part, content)
    return buffer.getvalue()


def _flip(draw: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    spoilt = bytearray(raw)
    for _ in range(draw.randint(1, 16)):
        if spoilt:
            spoilt[_place(draw, len(spoilt))] ^= 1 << draw.randrange(8)
    return bytes(spoilt)


def _word(draw: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    at, word = _place(draw, len(raw)), draw.choice(WORDS)
    return raw[:at] + word + raw[at + len(word) :]


def _number(draw: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    """One of the first numbers in the text of it becomes another."""
    places = list(re.finditer(rb"\d+", raw[:4096]))
    if not places:
        return raw
    place = draw.choice(places)
    return raw[: place.start()] + draw.choice(NUMBERS) + raw[place.end() :]


def _cut(draw: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    return raw[: _place(draw, len(raw))]


def _remove(draw: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    at = _place(draw, len(raw))
    return raw[:at] + raw[at + draw.randint(1, 64) :]


def _repeat(draw: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    at = _place(draw, len(raw))
    return raw[:at] + raw[at : at + draw.randint(1, 256)] * draw.choice([2, 3, 50, 2000]) + raw[at:]


def _splice(draw: random.Random, raw: bytes, others: list[bytes]) -> bytes:
    other = draw.choice(others)
    return raw[: _place(draw, len(raw))] + other[_place(draw, len(other)) :]


def _place(draw: random.Random, length: int) -> int:
    """Half of the time among the first bytes, where files say what they are."""
    return draw.randrange(max(1, min(length, 256) if draw.random() < 0.5 else length))


WAYS: list[Callable[[random.Random, bytes, list[bytes]], bytes]] = [
    _flip, _word, _number, _cut, _remove, _repeat, _splice,
]  # fmt: skip


def written(folder: Path, name: str, raw: bytes) -> Path:
    """The file in a folder of its own."""
    path = Path(tempfile.mkdtemp(dir=folder)) / name
    path.write_bytes(raw)
    return path
