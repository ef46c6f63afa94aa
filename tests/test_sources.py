"""The bundled images against the raw bytes of their files, and what happens to files that are damaged."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from snapvit.artifacts import Preprocess
from snapvit.data.fashion_mnist import FASHION_CLASSES, FASHION_MNIST, FashionMnist
from snapvit.data.idx import read_idx
from snapvit.data.pixels import fit_image, pixel_table
from snapvit.data.sources import open_source
from snapvit.errors import InputError
from snapvit.models.embedding import normalise_pixels

IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


@pytest.fixture(scope="module")
def source() -> FashionMnist:
    return open_source("bundled")


def raw(name: str) -> bytes:
    return gzip.decompress((FASHION_MNIST / name).read_bytes())


def test_an_id_names_the_same_image_as_in_the_file(source):
    pixels, labels = raw(IMAGES)[16:], raw(LABELS)[8:]
    assert len(source) == len(labels) == 10_000
    for index in (0, 1, 4711, 9999):
        want = list(pixels[index * 784 : (index + 1) * 784])
        image = source.image(index)
        assert image.shape == (28, 28, 3)
        assert image.dtype == np.uint8
        for channel in range(3):
            assert image[:, :, channel].flatten().tolist() == want
    assert source.labels.tolist() == list(labels)
    assert source.labels.dtype == np.int64


def test_first_images_have_their_known_classes(source):
    known = ["Ankle boot", "Pullover", "Trouser", "Trouser", "Shirt", "Trouser", "Coat", "Shirt", "Sandal", "Sneaker"]
    assert [source.class_names[label] for label in source.labels[:10]] == known
    assert len(FASHION_CLASSES) == 10


def write(folder: Path, pixels: bytes, labels: bytes) -> None:
    count = len(labels)
    (folder / IMAGES).write_bytes(gzip.compress(struct.pack(">4i", 2051, count, 2, 2) + pixels))
    (folder / LABELS).write_bytes(gzip.compress(struct.pack(">2i", 2049, count) + labels))


def test_digest_follows_the_pixels_and_labels_of_the_chosen_images_alone(tmp_path):
    def digest(pixels: bytes, labels: bytes, ids: tuple[int, ...] = (0, 1)) -> str:
        write(tmp_path, pixels, labels)
        return FashionMnist(tmp_path).digest_of(np.array(ids))

    first = digest(b"abcdefghijkl", b"\1\2\3")
    assert first == digest(b"abcdefghijkl", b"\1\2\3") == digest(b"abcdefghXYZW", b"\1\2\4")
    others = {
        "a pixel": digest(b"abcdefgXijkl", b"\1\2\3"),
        "images swapped": digest(b"efghabcdijkl", b"\1\2\3"),
        "labels swapped": digest(b"abcdefghijkl", b"\2\1\3"),
        "order": digest(b"abcdefghijkl", b"\1\2\3", (1, 0)),
        "one more": digest(b"abcdefghijkl", b"\1\2\3", (0, 1, 2)),
        "one fewer": digest(b"abcdefghijkl", b"\1\2\3", (0,)),
    }
    assert len({first, *others.values()}) == 1 + len(others)


def spoil_middle(data: bytes) -> bytes:
    """Other bits in the packed part, which the decompressor itself stumbles over."""
    middle = len(data) // 2
    return data[:middle] + bytes(b ^ 0xFF for b in data[middle : middle + 200]) + data[middle + 200 :]


HEADER = struct.pack(">4i", 2051, 3, 2, 2)
DAMAGED = {
    "empty": b"",
    "not gzip": b"hello, this is text",
    "cut short": (FASHION_MNIST / IMAGES).read_bytes()[:100_000],
    "spoilt in the middle": spoil_middle((FASHION_MNIST / IMAGES).read_bytes()),
    "spoilt where packing begins": gzip.compress(bytes(100))[:10] + b"\xff" * 20,
    "spoilt checksum": gzip.compress(HEADER + bytes(12))[:-8] + bytes(8),
    "nothing packed": gzip.compress(b""),
    "three bytes": gzip.compress(b"\0\0\x08"),
    "text packed": gzip.compress(b"hello"),
    "header cut": gzip.compress(HEADER[:10]),
    "header without sizes": gzip.compress(HEADER[:4]),
    "header alone": gzip.compress(HEADER),
    "header with two sizes of three": gzip.compress(HEADER[:12]),
    "too few pixels": gzip.compress(HEADER + bytes(11)),
    "too many pixels": gzip.compress(HEADER + bytes(13)),
    "labels for images": gzip.compress(struct.pack(">2i", 2049, 3) + bytes(3)),
    "another type of number": gzip.compress(struct.pack(">4i", 0x0D03, 3, 2, 2) + bytes(48)),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_named(tmp_path, kind):
    path = tmp_path / "some-images.gz"
    path.write_bytes(DAMAGED[kind])
    with pytest.raises(InputError, match=r"some-images\.gz") as caught:
        read_idx(path, 3)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz does not exist"):
        FashionMnist(tmp_path)


@pytest.mark.parametrize("name", ["imagenet", "", "Bundled"])
def test_an_unknown_source_is_refused_by_name(name):
    with pytest.raises(InputError, match=f"no image source named {name!r}.*bundled"):
        open_source(name)


def test_pixel_table_keeps_ids_and_order(source):
    ids = np.array([9, 3, 7777, 3])
    table = pixel_table(source, ids, Preprocess((28, 28), (0.5,) * 3, (0.5,) * 3))
    assert len(table) == 4
    np.testing.assert_array_equal(table.ids, ids)
    for row, index in enumerate(ids):
        np.testing.assert_array_equal(table.pixels[row].permute(1, 2, 0), source.image(int(index)))
    assert [len(b) for b in table.batches(3)] == [3, 1]
    assert torch.equal(torch.cat(list(table.batches(3))), table.pixels)


def gradient(height: int, width: int) -> Tensor:
    """Red grows by one a row and green by one a column, so a pixel says where it came from."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, torch.zeros_like(rows)]).to(torch.uint8)


@pytest.mark.parametrize(
    ("height", "width", "crop", "scale", "top", "left"),
    [
        (40, 60, 0.875, 32 / 40, 2, 10),  # shorter side to 28 / 0.875 = 32, then the middle 28 of 32 x 48
        (60, 40, 0.875, 32 / 40, 10, 2),
        (28, 28, 0.875, 32 / 28, 2, 2),
        (28, 56, 1.0, 1.0, 0, 14),
        (140, 196, 1.0, 28 / 140, 0, 5.6),
        (14, 14, 1.0, 2.0, 0, 0),
    ],
)
def test_images_are_resized_and_centre_cropped(height, width, crop, scale, top, left):
    found = fit_image(gradient(height, width), Preprocess((28, 28), (0.5,) * 3, (0.5,) * 3, crop_share=crop))
    assert found.shape == (3, 28, 28)
    assert found.dtype == torch.uint8
    places = torch.arange(28.0)
    rows, columns = ((places + offset + 0.5) / scale - 0.5 for offset in (top, left))
    inner = slice(3, -3)  # bicubic overshoots at the border
    tolerance = 0.6 + 0.5 / scale  # rounding to bytes, and of the crop to whole pixels
    assert (found[0].double().mean(dim=1) - rows)[inner].abs().max() < tolerance
    assert (found[1].double().mean(dim=0) - columns)[inner].abs().max() < tolerance


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (3, 2)])
def test_images_of_any_size_are_fitted(size):
    for crop in (0.875, 1.0):
        preprocess = Preprocess((16, 16), (0.5,) * 3, (0.5,) * 3, crop_share=crop)
        image = torch.full((3, *size), 77, dtype=torch.uint8)
        assert torch.equal(fit_image(image, preprocess), torch.full((3, 16, 16), 77, dtype=torch.uint8))


def test_pixels_are_normalised_by_channel():
    preprocess = Preprocess((1, 1), (0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    want = torch.tensor([1.0, -1.0, 0.2]).view(3, 1, 1)
    pixels = torch.tensor([255, 0, 102], dtype=torch.uint8).view(3, 1, 1)
    torch.testing.assert_close(normalise_pixels(pixels, preprocess), want)
    torch.testing.assert_close(normalise_pixels(pixels.double() / 255, preprocess), want)
    torch.testing.assert_close(normalise_pixels(pixels.expand(5, 2, 3, 1, 1), preprocess), want.expand(5, 2, 3, 1, 1))
