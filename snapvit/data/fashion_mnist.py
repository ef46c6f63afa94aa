"""The bundled images, from the IDX files that ship with the explorer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snapvit.data.decoding import Pixels
from snapvit.data.idx import read_idx
from snapvit.data.image_source import ImageSource, pixel_digests

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


class FashionMnist(ImageSource):
    """The bundled 10,000 test images of Fashion-MNIST (Zalando SE, MIT licence), grey as three equal channels."""

    name = BUNDLED
    class_names = FASHION_CLASSES

    def __init__(self, folder: Path = FASHION_MNIST) -> None:
        self._images = read_idx(folder / "t10k-images-idx3-ubyte.gz", 3)  # (N, 28, 28) uint8
        self.labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz", 1).astype(np.int64)
        self._contents = pixel_digests(self._images)

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> Pixels:
        """(28, 28, 3) uint8."""
        return np.repeat(self._images[index][:, :, None], 3, axis=2)

    def content(self, index: int) -> str:
        """sha256 of the image's pixels, of one channel."""
        return self._contents[index]
