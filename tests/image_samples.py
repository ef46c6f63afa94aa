"""Pictures and folders of pictures, made where a test needs them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, height: int = 20, width: int = 24) -> np.ndarray:
    """(h, w, 3) uint8: a soft random pattern, so that JPEG keeps it nearly as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def packed(image: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a picture file of this kind."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_images(folder: Path, count: int, seed: int = 0) -> Path:
    """`count` different pictures 00.png, 01.png ... in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i:02}.png").write_bytes(packed(noise(1000 * seed + i), "PNG"))
    return folder


def write_classes(root: Path, counts: dict[str, int]) -> Path:
    """A folder a class with so many pictures each."""
    for seed, (name, count) in enumerate(counts.items(), start=1):
        write_images(root / name, count, seed)
    return root
