"""Tables of pixels: the same held in memory or decoded on the way, bounded, and stopped early without a trace."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest
import torch
from image_samples import noise

from snapvit.artifacts import Preprocess
from snapvit.data.pixels import AHEAD, as_tensor, fit_image, pixel_table

PREPROCESS = Preprocess((16, 16), (0.5,) * 3, (0.5,) * 3, crop_share=0.9)
SIZES = [(20, 24), (40, 18), (16, 16), (9, 30), (64, 64)]


class Counted:
    """Pictures that count how often each is decoded."""

    name, labels, class_names, skipped = "counted", None, (), ()

    def __init__(self, count: int = 50) -> None:
        self._count = count
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return self._count

    def image(self, index: int) -> np.ndarray:
        self.decoded.append(index)
        return noise(index, *SIZES[index % len(SIZES)])


IDS = np.array([7, 3, 49, 0, 3, 12, 30, 31, 32, 33, 2])


@pytest.mark.parametrize("size", [1, 3, 4, 11, 64])
def test_streamed_batches_are_those_held_in_memory(size):
    held, streamed = (pixel_table(Counted(), IDS, PREPROCESS, bytes_) for bytes_ in (10**6, 0))
    assert held.pixels is not None
    assert streamed.pixels is None
    want = [fit_image(as_tensor(Counted().image(int(i))), PREPROCESS) for i in IDS]
    for table in (held, streamed):
        assert len(table) == len(IDS)
        for _ in range(2):  # every pass gives the same
            batches = list(table.batches(size))
            assert [len(b) for b in batches] == [len(IDS[i : i + size]) for i in range(0, len(IDS), size)]
            assert torch.equal(torch.cat(batches), torch.stack(want))


def test_a_held_table_decodes_once_a_streamed_one_on_every_pass():
    for held_bytes, passes in ((10**6, 1), (0, 3)):
        source = Counted()
        table = pixel_table(source, IDS, PREPROCESS, held_bytes)
        for _ in range(3):
            list(table.batches(4))
        assert sorted(source.decoded) == sorted(IDS.tolist() * passes)


def test_the_bound_is_on_the_bytes_of_the_whole_table():
    row = 3 * 16 * 16
    assert pixel_table(Counted(), IDS, PREPROCESS, len(IDS) * row).pixels is not None
    assert pixel_table(Counted(), IDS, PREPROCESS, len(IDS) * row - 1).pixels is None


def test_no_more_is_decoded_ahead_than_promised():
    source = Counted(400)
    batches = pixel_table(source, np.arange(400), PREPROCESS, 0).batches(5)
    for taken in range(1, 6):
        next(batches)
        assert len(source.decoded) <= (taken + AHEAD) * 5
    batches.close()


def test_a_pass_that_is_left_early_leaves_no_thread():
    before = threading.active_count()
    batches = pixel_table(Counted(400), np.arange(400), PREPROCESS, 0).batches(5)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_an_image_that_cannot_be_read_any_more_stops_the_pass():
    class Failing(Counted):
        def image(self, index: int) -> np.ndarray:
            if index == 30:
                raise OSError("gone")
            return super().image(index)

    with pytest.raises(OSError, match="gone"):
        list(pixel_table(Failing(), IDS, PREPROCESS, 0).batches(2))
    with pytest.raises(OSError, match="gone"):
        pixel_table(Failing(), IDS, PREPROCESS)


@pytest.mark.parametrize("shape", [(2, 60_000), (60_000, 2), (3, 50_001), (9, 40_000)])
def test_of_a_long_thin_image_only_what_is_seen_is_resized(shape):
    """The same as resizing a piece in the middle that is longer than what is seen, and no large image in between."""
    preprocess = Preprocess((224, 224), (0.5,) * 3, (0.5,) * 3, crop_share=0.9)
    across = shape[0] < shape[1]
    long = np.random.default_rng(0).integers(0, 256, (max(shape), min(shape), 3), dtype=np.uint8)
    piece = long[(rest := max(shape) // 2 - 10 * min(shape)) : max(shape) - rest]
    long, piece = (np.ascontiguousarray(a.transpose(1, 0, 2) if across else a) for a in (long, piece))
    tracemalloc.start()
    found = fit_image(as_tensor(long), preprocess)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    want = fit_image(as_tensor(piece), preprocess)
    assert found.shape == want.shape == (3, 224, 224)
    assert (found.int() - want.int()).abs().float().mean() < 1
    assert most < 20 * 2**20
