"""Images resized and cropped as the model wants them, as bytes, normalised batch by batch."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from snapvit.artifacts import Ints, Preprocess
from snapvit.data.decoding import Pixels
from snapvit.data.image_source import ImageSource

HELD_BYTES = 256 * 2**20  # of one table: 1,780 images of 224 pixels; a larger one is decoded anew on every pass
MOST_RESIZED = 2**22  # pixels of an image that is resized as a whole before it is cropped: 12 MB, in float32 48
AHEAD = 2  # batches that are decoded while one is worked on


@dataclass(frozen=True)
class PixelTable:
    """Images at the model's input size, one byte a value: held in memory if they are few or small, else decoded anew.

    8,000 images of 28 pixels take 19 MB and are held; 6,000 of 224 pixels would take 0.9 GB and are not.
    """

    source: ImageSource
    ids: Ints  # (N,) image ids in the source
    preprocess: Preprocess
    pixels: Tensor | None  # (N, 3, h, w) uint8, where they are held

    def batches(self, size: int) -> Iterator[Tensor]:
        """Successive (B, 3, h, w) uint8 batches, the same whether they are held or not."""
        if self.pixels is not None:
            yield from self.pixels.split(size)
        else:
            yield from _decoded(self.source, self.ids, self.preprocess, size)

    def __len__(self) -> int:
        return len(self.ids)


def pixel_table(source: ImageSource, ids: Ints, preprocess: Preprocess, held_bytes: int = HELD_BYTES) -> PixelTable:
    """The images named by `ids`, decoded at once if their pixels fit into `held_bytes`."""
    height, width = preprocess.size
    if 3 * height * width * len(ids) > held_bytes:
        return PixelTable(source, ids, preprocess, None)
    pixels = torch.empty(len(ids), 3, height, width, dtype=torch.uint8)
    row = 0
    for batch in _decoded(source, ids, preprocess, 64):
        pixels[row : row + len(batch)] = batch
        row += len(batch)
    return PixelTable(source, ids, preprocess, pixels)


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


def _decoded(source: ImageSource, ids: Ints, preprocess: Preprocess, size: int) -> Iterator[Tensor]:
    def decode(part: Ints) -> Tensor:
        return torch.stack([fit_image(as_tensor(source.image(int(i))), preprocess) for i in part])

    return _ahead(decode, [ids[start : start + size] for start in range(0, len(ids), size)])


def _ahead(work: Callable[[Ints], Tensor], parts: list[Ints]) -> Iterator[Tensor]:
    """`work` of each part, in order, done by threads that are at most `AHEAD` parts ahead of the caller."""
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting: deque = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the caller may stop early, for example when a run is cancelled
            for future in waiting:
                future.cancel()
