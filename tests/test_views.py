"""Multi-crop views: where the boxes lie, how large they are, and that they follow from seed and image alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import RandomResizedCrop

from snapvit.artifacts import Preprocess
from snapvit.data.views import ViewSpec, multi_crop, random_box, view_batches

SPEC = ViewSpec()
SMALL = Preprocess((16, 16), (0.5,) * 3, (0.5,) * 3)


class Photos:
    """Seven images of noise, each of another size."""

    name, labels, class_names = "photos", None, ()

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(5)
        sizes = [(30, 40), (17, 90), (64, 64), (1, 1), (9, 5), (100, 33), (28, 28)]
        self._images = [torch.randint(0, 256, (*s, 3), generator=g, dtype=torch.uint8).numpy() for s in sizes]

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> np.ndarray:
        return self._images[index]


SHAPES = [(3000, 3000), (224, 224), (28, 28), (375, 500), (500, 333), (40, 90), (1, 1), (2, 3), (1, 500), (7, 400)]


@pytest.mark.parametrize("area", [SPEC.global_area, SPEC.local_area, (0.9, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize(("height", "width"), [*SHAPES, *(shape[::-1] for shape in SHAPES)])
def test_boxes_are_those_of_torchvision(height, width, area):
    """Bit for bit, in a row from one seed, so that as many numbers are drawn too."""
    image = torch.empty(1).expand(3, height, width)
    theirs, generator = RandomResizedCrop(8, scale=area), torch.Generator()
    for seed in range(25):
        generator.manual_seed(seed)
        torch.manual_seed(seed)
        for _ in range(4):
            want = theirs.make_params([image])
            found = random_box(height, width, area, generator)
            assert found == (want["top"], want["left"], want["height"], want["width"])


@pytest.mark.parametrize("area", [SPEC.global_area, SPEC.local_area])
@pytest.mark.parametrize(("height", "width"), [(3000, 3000), (2400, 3000)])
def test_boxes_lie_inside_the_image_and_cover_the_share_asked_for(height, width, area):
    generator = torch.Generator().manual_seed(0)
    boxes = np.array([random_box(height, width, area, generator) for _ in range(2000)])
    top, left, box_height, box_width = boxes.T
    assert (boxes >= 0).all()
    assert (top + box_height <= height).all()
    assert (left + box_width <= width).all()
    share = box_height * box_width / (height * width)
    assert share.min() >= area[0] - 1e-3
    assert share.max() <= area[1] + 1e-3
    aspect = np.log(box_width / box_height) / np.log(4 / 3)
    assert np.abs(aspect).max() <= 1 + 2e-2
    clamped = ((box_height == height) | (box_width == width)).mean()  # a box that fits is as large by chance alone
    assert clamped < 0.01
    if area == SPEC.local_area:  # small enough never to be drawn again, so both laws can be read off
        uniform = (share - area[0]) / (area[1] - area[0])
        for sample, mean, variance in ((uniform, 0.5, 1 / 12), (aspect, 0.0, 1 / 3)):
            assert abs(sample.mean() - mean) < 4 * (variance / 2000) ** 0.5
            assert sample.var() == pytest.approx(variance, rel=0.1)
        for start, room in ((top, height - box_height), (left, width - box_width)):
            assert (start / room).mean() == pytest.approx(0.5, abs=0.03)
            assert (start / room).max() > 0.98


def test_views_are_crops_of_the_image_global_ones_first():
    """On an image whose red is the row and whose green is the column, a view shows which box it is."""
    ramp = torch.arange(256, dtype=torch.uint8)
    image = torch.stack([ramp[:, None].expand(256, 256), ramp.expand(256, 256), torch.zeros(256, 256).byte()])
    shares = []
    for seed in range(15):
        views = multi_crop(image, SPEC, Preprocess((64, 64), (0.5,) * 3, (0.5,) * 3), seed)
        assert views.shape == (12, 3, 64, 64)
        assert views.dtype == torch.uint8
        rows, columns = views[:, 0].double().mean(dim=2), views[:, 1].double().mean(dim=1)
        assert (rows.diff(dim=1) > -0.5).all()
        assert (columns.diff(dim=1) > -0.5).all()
        height, width = (((x[:, -1] - x[:, 0]) / 255 * 64 / 63) for x in (rows, columns))
        shares.append(height * width)
    shares = torch.stack(shares)
    assert 0.25 - 0.02 < shares[:, :2].min() < shares[:, :2].max() < 1.02
    assert 0.05 - 0.02 < shares[:, 2:].min() < shares[:, 2:].max() < 0.25 + 0.02
    assert shares[:, :2].max() > 0.8
    assert shares[:, 2:].min() < 0.08


def views_by_id(source: Photos, ids: list[int], batch: int, seed: int = 4) -> dict[int, Tensor]:
    batches = list(view_batches(source, np.array(ids), SPEC, SMALL, seed, batch))
    assert [b.shape[1] for b in batches] == [len(ids[i : i + batch]) for i in range(0, len(ids), batch)]
    assert all(b.shape[0] == SPEC.count and b.shape[2:] == (3, 16, 16) for b in batches)
    return dict(zip(ids, torch.cat(batches, dim=1).unbind(1), strict=True))


def test_views_of_an_image_do_not_depend_on_its_batch_or_place():
    source = Photos()
    alone = views_by_id(source, list(range(7)), batch=1)
    for ids, batch in ((list(range(7)), 3), ([6, 2, 0, 5], 2), ([3, 6, 1, 0, 2, 4, 5], 7)):
        for index, views in views_by_id(source, ids, batch).items():
            assert torch.equal(views, alone[index]), (index, batch)


def test_views_follow_from_the_seed_and_the_image():
    source = Photos()
    first, again, other = (views_by_id(source, [2, 6], 2, seed) for seed in (4, 4, 5))
    assert torch.equal(first[2], again[2])
    assert not torch.equal(first[2], other[2])
    same = np.arange(3 * 64 * 64, dtype=np.uint8).reshape(64, 64, 3)
    source._images = [same] * 7
    twins = views_by_id(source, [0, 1], 2)
    assert not torch.equal(twins[0], twins[1]), "two images of one run must not share their boxes"


def test_views_leave_the_global_random_state_alone():
    torch.manual_seed(11)
    want = torch.rand(3)
    torch.manual_seed(11)
    multi_crop(torch.zeros(3, 20, 20, dtype=torch.uint8), SPEC, SMALL, seed=3)
    assert torch.equal(torch.rand(3), want)


def test_one_pixel_gives_views_of_its_colour():
    pixel = torch.tensor([10, 200, 30], dtype=torch.uint8).view(3, 1, 1)
    views = multi_crop(pixel, SPEC, SMALL, seed=0)
    assert torch.equal(views, pixel.expand(12, 3, 16, 16))
