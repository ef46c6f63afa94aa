"""Images resized and cropped as the model wants them, kept as bytes and normalised batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from snapvit.artifacts import Ints, Preprocess
from snapvit.data.sources import ImageSource


@dataclass(frozen=True)
class PixelTable:
    """Images at the model's input size: one byte a value, so 8,000 images of 28 pixels take 19 MB."""

    pixels: Tensor  # (N, 3, h, w) uint8
    ids: Ints  # (N,) image ids in the source

    def batches(self, size: int) -> Iterator[Tensor]:
        """Successive (B, 3, h, w) uint8 slices."""
        yield from self.pixels.split(size)

    def __len__(self) -> int:
        return len(self.ids)


def fit_image(image: Tensor, preprocess: Preprocess) -> Tensor:
    """(3, h, w) uint8 of any size to the model's input size: shorter side resized, then the centre cut out."""
    height, width = preprocess.size
    if image.shape[1:] == (height, width) and preprocess.crop_share == 1.0:
        return image
    # timm's own evaluation transform rounds the resized side down
    scale = max(
        math.floor(height / preprocess.crop_share) / image.shape[1],
        math.floor(width / preprocess.crop_share) / image.shape[2],
    )
    resized = [max(height, round(image.shape[1] * scale)), max(width, round(image.shape[2] * scale))]
    mode = InterpolationMode(preprocess.interpolation)
    return vision.center_crop(vision.resize(image, resized, mode, antialias=True), [height, width])


def pixel_table(source: ImageSource, ids: Ints, preprocess: Preprocess) -> PixelTable:
    """Decode and fit the images named by `ids`, one at a time."""
    height, width = preprocess.size
    pixels = torch.empty(len(ids), 3, height, width, dtype=torch.uint8)
    for row, index in enumerate(ids):
        pixels[row] = fit_image(source.image(int(index)), preprocess)
    return PixelTable(pixels, ids)
