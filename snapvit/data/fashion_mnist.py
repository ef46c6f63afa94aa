"""The bundled images, from the IDX files that ship with the explorer."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from snapvit.data.decoding import Pixels
from snapvit.data.image_source import ImageSource, pixel_digests
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


class FashionMnist(ImageSource):
    """The bundled 10,000 test images of Fashion-MNIST (Zalando SE, MIT licence), grey as three equal channels."""

    name = BUNDLED
    class_names = FASHION_CLASSES

    def __init__(self, folder: Path = FASHION_MNIST) -> None:
        self._images = read_idx(folder / "t10k-images-idx3-ubyte.gz", IDX_IMAGES)  # (N, 28, 28) uint8
        self.labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz", IDX_LABELS).astype(np.int64)
        self._contents = pixel_digests(self._images)

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> Pixels:
        """(28, 28, 3) uint8."""
        return np.repeat(self._images[index][:, :, None], 3, axis=2)

    def content(self, index: int) -> str:
        """sha256 of the image's pixels, of one channel."""
        return self._contents[index]


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
