"""Image sources. Every image has a number in its source, its id, that stays with it on every page."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from snapvit.artifacts import Ints
from snapvit.errors import InputError

BUNDLED = "bundled"
FASHION_MNIST = Path(__file__).parents[1] / "assets" / "fashion_mnist"
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
IDX_IMAGES, IDX_LABELS = 2051, 2049  # magic numbers of the IDX format


class ImageSource(Protocol):
    """A numbered set of images, decoded one at a time."""

    name: str
    labels: Ints | None  # (N,) class numbers, None where nobody labelled them
    class_names: tuple[str, ...]

    def __len__(self) -> int: ...

    def image(self, index: int) -> Tensor:
        """(3, h, w) uint8, at the size it was stored in."""
        ...

    def digest(self) -> str:
        """sha256 of all pixels or files: equal digests mean equal images in equal order."""
        ...


class FashionMnist:
    """The bundled 10,000 test images of Fashion-MNIST (Zalando SE, MIT licence), grey as three equal channels."""

    name = BUNDLED
    class_names = FASHION_CLASSES

    def __init__(self, folder: Path = FASHION_MNIST) -> None:
        self._images = read_idx(folder / "t10k-images-idx3-ubyte.gz", IDX_IMAGES)  # (N, 28, 28) uint8
        self.labels: Ints | None = read_idx(folder / "t10k-labels-idx1-ubyte.gz", IDX_LABELS).astype(np.int64)

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> Tensor:
        """(3, 28, 28) uint8."""
        return torch.from_numpy(self._images[index]).expand(3, -1, -1)

    def digest(self) -> str:
        """sha256 of pixels and labels."""
        return hashlib.sha256(self._images.tobytes() + self.labels.tobytes()).hexdigest()


def read_idx(path: Path, magic: int) -> np.ndarray:
    """Array of a gzipped IDX file (unsigned bytes). Raises InputError on a foreign or a damaged file."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"The image file {path.name} cannot be read ({error}).") from error
    start = 4 + 4 * (magic & 0xFF)  # a magic number ends in how many sizes follow it
    if len(raw) < start or int.from_bytes(raw[:4], "big") != magic:
        raise InputError(f"{path.name} is not an IDX file of the expected kind.")
    shape = tuple(np.frombuffer(raw[4:start], ">u4").tolist())
    data = np.frombuffer(raw[start:], np.uint8)
    if data.size != np.prod(shape):
        raise InputError(f"{path.name} holds {data.size} bytes where its header promises {np.prod(shape)}.")
    return data.reshape(shape).copy()


def open_source(name: str) -> ImageSource:
    """Open what `name` says: `bundled`. Raises InputError for anything else."""
    if name == BUNDLED:
        return FashionMnist()
    raise InputError(f"There is no image source named {name!r}; the explorer knows: bundled.")
