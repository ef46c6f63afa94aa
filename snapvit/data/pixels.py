"""Images resized and cropped as the model wants them, as bytes, normalised batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from snapvit.artifacts import Ints, Preprocess
from snapvit.data.ahead import pictures_ahead
from snapvit.data.decoding import Pixels
from snapvit.data.image_source import ImageSource
from snapvit.data.pixel_files import HeldRows, PixelFile, pixel_file

HELD_BYTES = 256 * 2**20  # of one table: 1,780 images of 224 pixels; a larger one is kept in a file of the cache
MOST_RESIZED = 2**22  # pixels of an image that is resized as a whole before it is cropped: 12 MB, in float32 48


@dataclass(frozen=True)
class PixelTable:
    """Images at the model's input size, one byte a value, decoded by the first pass over them and kept for later ones.

    8,000 images of 28 pixels take 19 MB and are held in memory; 6,000 of 224 pixels take 0.9 GB and are kept in a file
    of the cache, from which every later pass, in another process too, maps them. Without such a file each pass decodes.
    """

    source: ImageSource
    ids: Ints  # (N,) image ids in the source
    preprocess: Preprocess
    rows: HeldRows | PixelFile | None  # what is kept; None: nothing

    def batches(self, size: int) -> Iterator[Tensor]:
        """Successive (B, 3, h, w) uint8 batches, the same wherever they come from."""
        kept = self.rows
        starts = range(0, len(self.ids), size)
        there = [kept is not None and kept.has(start, start + size) for start in starts]
        missing = [self.ids[start : start + size] for start, known in zip(starts, there, strict=True) if not known]
        decoded = pictures_ahead(self.source, missing, self._fitted)
        try:
            for start, known in zip(starts, there, strict=True):
                batch = kept.read(start, start + size) if known else None
                if batch is None:
                    if known:  # a file that was damaged meanwhile
                        (batch,) = pictures_ahead(self.source, [self.ids[start : start + size]], self._fitted)
                    else:
                        batch = next(decoded)
                    if kept is not None:
                        kept.keep(start, batch)
                yield torch.from_numpy(batch)
        finally:
            decoded.close()

    @property
    def _fitted(self) -> Fitted:
        return Fitted(self.preprocess)

    @property
    def pixels(self) -> Tensor | None:
        """(N, 3, h, w) uint8, all of them, where they are held in memory."""
        if not isinstance(self.rows, HeldRows):
            return None
        for _ in self.batches(64):
            pass
        return torch.from_numpy(self.rows.pixels)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Fitted:
    """What makes a picture (h, w, 3) one of the model's input size, (3, h, w)."""

    preprocess: Preprocess

    def __call__(self, image: Pixels) -> Pixels:
        """(3, h, w) uint8."""
        return fit_image(as_tensor(image), self.preprocess).numpy()


def pixel_table(
    source: ImageSource,
    ids: Ints,
    preprocess: Preprocess,
    held_bytes: int | None = None,
    folder: Path | None = None,
) -> PixelTable:
    """The images named by `ids`: held in memory if their pixels fit into `held_bytes`, else kept in a file in
    `folder`, where one is named and the disk has room."""
    shape = (len(ids), 3, *preprocess.size)
    if math.prod(shape) <= (HELD_BYTES if held_bytes is None else held_bytes):
        return PixelTable(source, ids, preprocess, HeldRows(shape))
    rows = None if folder is None else pixel_file(folder, source.digest_of(ids), preprocess, shape)
    return PixelTable(source, ids, preprocess, rows)


def as_tensor(image: Pixels) -> Tensor:
    """(h, w, 3) as (3, h, w) uint8."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


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
    if resized[0] * resized[1] > max(MOST_RESIZED, 8 * height * width):
        return _visible_part(image, resized, preprocess)
    mode = InterpolationMode(preprocess.interpolation)
    return vision.center_crop(vision.resize(image, resized, mode, antialias=True), [height, width])


def _visible_part(image: Tensor, resized: list[int], preprocess: Preprocess) -> Tensor:
    """What `fit_image` gives, without ever holding the parts of a long thin image that its centre does not show."""
    box = []  # where in the image is seen, from the first number to the second
    for given, whole, shown in zip(image.shape[1:], resized, preprocess.size, strict=True):
        scale, first = given / whole, round((whole - shown) / 2)
        box.append((first * scale, min((first + shown) * scale, given)))
    # Pillow knows places in single precision, so they are counted from near by; filters reach four pixels far.
    margins = [math.ceil(4 * max(1.0, given / whole)) for given, whole in zip(image.shape[1:], resized, strict=True)]
    starts = [max(0, math.floor(first) - margin) for (first, _), margin in zip(box, margins, strict=True)]
    stops = [math.ceil(last) + margin for (_, last), margin in zip(box, margins, strict=True)]
    piece = image[:, starts[0] : stops[0], starts[1] : stops[1]]
    (top, bottom), (left, right) = [(a - start, z - start) for (a, z), start in zip(box, starts, strict=True)]
    picture = Image.fromarray(np.ascontiguousarray(piece.permute(1, 2, 0).numpy()))
    filtering = Image.Resampling[preprocess.interpolation.upper()]
    height, width = preprocess.size
    return as_tensor(np.asarray(picture.resize((width, height), filtering, (left, top, right, bottom))))
