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
from snapvit.data.ahead import ahead
from snapvit.data.pixels import as_tensor
from snapvit.data.sources import ImageSource

Box = tuple[int, int, int, int]  # top, left, height, width in pixels
ASPECT = (3 / 4, 4 / 3)
ATTEMPTS = 10  # to draw a box that fits


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
    """The box that torchvision's RandomResizedCrop draws from the same random numbers.

    Its share of the area is uniform in `area` and its aspect ratio log-uniform in 3/4 to 4/3, drawn again while it does
    not fit the image. After ten attempts it is the largest box in the middle whose aspect ratio is within bounds.
    """
    low, high = torch.tensor(ASPECT).log().tolist()
    for _ in range(ATTEMPTS):
        target = height * width * _uniform(*area, generator)
        ratio = torch.tensor(_uniform(low, high, generator)).exp().item()
        box_height, box_width = round(math.sqrt(target / ratio)), round(math.sqrt(target * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top = torch.randint(height - box_height + 1, (1,), generator=generator).item()
            left = torch.randint(width - box_width + 1, (1,), generator=generator).item()
            return top, left, box_height, box_width
    box_height = min(height, round(width / ASPECT[0]))
    box_width = min(width, round(height * ASPECT[1]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return torch.empty(1).uniform_(low, high, generator=generator).item()


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
    parts = [ids[start : start + batch] for start in range(0, len(ids), batch)]
    for views in ahead(lambda i: multi_crop(as_tensor(source.image(i)), spec, preprocess, crop_seed(seed, i)), parts):
        yield torch.stack(views, dim=1)
