"""Multi-crop views: a few large and several small random crops of each image, all resized to the model's input.

The crops are those of DINO (Caron et al., 2021) without colour augmentation (design section 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from snapvit.artifacts import Ints, Preprocess
from snapvit.data.pixels import as_tensor
from snapvit.data.sources import ImageSource

Box = tuple[int, int, int, int]  # top, left, height, width in pixels
ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class ViewSpec:
    """How many views, and which share of the image's area each may cover. Global views come first."""

    global_views: int = 2
    local_views: int = 10
    global_area: tuple[float, float] = (0.25, 1.0)
    local_area: tuple[float, float] = (0.05, 0.25)

    @property
    def count(self) -> int:
        """V, all views of one image."""
        return self.global_views + self.local_views


def random_box(height: int, width: int, area: tuple[float, float], generator: torch.Generator) -> Box:
    """A box whose share of the area is uniform in `area` and whose aspect ratio is log-uniform in 3/4 to 4/3.

    A box that sticks out of a very narrow image is shrunk to fit, at least one pixel wide.
    """
    share, aspect, down, right = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    target = height * width * (area[0] + share * (area[1] - area[0]))
    ratio = math.exp(math.log(ASPECT[0]) + aspect * (math.log(ASPECT[1]) - math.log(ASPECT[0])))
    box_height = min(height, max(1, round(math.sqrt(target / ratio))))
    box_width = min(width, max(1, round(math.sqrt(target * ratio))))
    top = int(down * (height - box_height + 1))
    left = int(right * (width - box_width + 1))
    return top, left, box_height, box_width


def multi_crop(image: Tensor, spec: ViewSpec, preprocess: Preprocess, seed: int) -> Tensor:
    """Views (V, 3, h, w) uint8 of one image (3, H, W) uint8, global ones first; they depend on `seed` alone."""
    mode = InterpolationMode(preprocess.interpolation)
    size = list(preprocess.size)
    boxes = view_boxes(image.shape[1], image.shape[2], spec, seed)
    views = [vision.resized_crop(image, *box, size=size, interpolation=mode, antialias=True) for box in boxes]
    return torch.stack(views)


def view_boxes(height: int, width: int, spec: ViewSpec, seed: int) -> list[Box]:
    """Where `multi_crop` cuts its views out of an image of this size, global ones first."""
    generator = torch.Generator().manual_seed(seed)
    areas = [spec.global_area] * spec.global_views + [spec.local_area] * spec.local_views
    return [random_box(height, width, area, generator) for area in areas]


def crop_seed(seed: int, image: int) -> int:
    """Seed of one image's crops: they follow from the run's seed and the image's id alone."""
    return seed * 1_000_003 + image


def view_batches(
    source: ImageSource, ids: Ints, spec: ViewSpec, preprocess: Preprocess, seed: int, batch: int
) -> Iterator[Tensor]:
    """Batches (V, n, 3, h, w) uint8 of the views of `ids`, n <= batch.

    The views of an image follow from `seed` and its id, so they are the same for any batch size or order.
    """
    for start in range(0, len(ids), batch):
        views = [
            multi_crop(as_tensor(source.image(int(i))), spec, preprocess, crop_seed(seed, int(i)))
            for i in ids[start : start + batch]
        ]
        yield torch.stack(views, dim=1)
