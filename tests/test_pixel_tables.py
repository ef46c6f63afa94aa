"""Tables of pixels: the same held in memory or decoded on the way, bounded, and stopped early without a trace."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from image_samples import noise, write_images

from snapvit.artifacts import Preprocess
from snapvit.data import ahead, pixel_files
from snapvit.data.ahead import AHEAD, pictures_ahead
from snapvit.data.image_source import ImageSource
from snapvit.data.pixel_files import delete_tables, table_folder
from snapvit.data.pixels import Fitted, PixelTable, as_tensor, fit_image, pixel_table
from snapvit.data.sources import open_source
from snapvit.errors import InputError

PREPROCESS = Preprocess((16, 16), (0.5,) * 3, (0.5,) * 3, crop_share=0.9)
SIZES = [(20, 24), (40, 18), (16, 16), (9, 30), (64, 64)]


class Counted(ImageSource):
    """Pictures that count how often each is decoded."""

    name = "counted"

    def __init__(self, count: int = 50) -> None:
        self._count = count
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return self._count

    def image(self, index: int) -> np.ndarray:
        self.decoded.append(index)
        return noise(index, *SIZES[index % len(SIZES)])

    def content(self, index: int) -> str:
        return str(index)


IDS = np.array([7, 3, 49, 0, 3, 12, 30, 31, 32, 33, 2])


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def kinds(cache: Path, source: ImageSource | None = None) -> dict[str, PixelTable]:
    """The same table held in memory, in a file, and decoded on every pass."""
    source = source or Counted()
    return {
        "held": pixel_table(source, IDS, PREPROCESS, 10**6),
        "file": pixel_table(source, IDS, PREPROCESS, 0, table_folder(cache)),
        "streamed": pixel_table(source, IDS, PREPROCESS, 0),
    }


def want() -> torch.Tensor:
    return torch.stack([fit_image(as_tensor(Counted().image(int(i))), PREPROCESS) for i in IDS])


@pytest.mark.parametrize("size", [1, 3, 4, 11, 64])
def test_batches_are_the_same_wherever_the_images_are_kept(cache, size):
    for table in kinds(cache).values():
        assert len(table) == len(IDS)
        for _ in range(2):  # every pass gives the same
            batches = list(table.batches(size))
            assert [len(b) for b in batches] == [len(IDS[i : i + size]) for i in range(0, len(IDS), size)]
            assert torch.equal(torch.cat(batches), want())


@pytest.mark.parametrize(("kind", "passes"), [("held", 1), ("file", 1), ("streamed", 3)])
def test_what_is_kept_is_decoded_once(cache, kind, passes):
    source = Counted()
    table = kinds(cache, source)[kind]
    for size in (4, 4, 3):
        list(table.batches(size))
    assert sorted(source.decoded) == sorted(IDS.tolist() * passes)


def test_the_bound_is_on_the_bytes_of_the_whole_table():
    row = 3 * 16 * 16
    assert torch.equal(pixel_table(Counted(), IDS, PREPROCESS, len(IDS) * row).pixels, want())
    assert pixel_table(Counted(), IDS, PREPROCESS, len(IDS) * row - 1).pixels is None


# Files of the cache


def file_table(cache: Path, preprocess: Preprocess = PREPROCESS) -> tuple[Counted, PixelTable]:
    source = Counted()
    return source, pixel_table(source, IDS, preprocess, 0, table_folder(cache))


def all_of(table: PixelTable, size: int = 4) -> torch.Tensor:
    return torch.cat(list(table.batches(size)))


def test_another_process_takes_what_is_in_the_file(cache):
    all_of(file_table(cache)[1])
    source, table = file_table(cache)
    assert torch.equal(all_of(table), want())
    assert source.decoded == []
    other, table = file_table(cache, Preprocess((16, 16), (0.5,) * 3, (0.5,) * 3, crop_share=1.0))
    all_of(table)
    assert len(other.decoded) == len(IDS)


def test_a_pass_that_was_stopped_is_gone_on_with(cache):
    """A kill leaves the rows that were written, and none that was half written."""
    batches = file_table(cache)[1].batches(4)
    next(batches), next(batches)
    batches.close()
    source, table = file_table(cache)
    assert torch.equal(all_of(table), want())
    assert sorted(source.decoded) == sorted(IDS[8:].tolist())


@pytest.mark.parametrize("damage", ["a bit", "a row that was lost", "a mark", "cut", "empty"])
def test_damage_is_seen_and_decoded_again(cache, damage):
    all_of(file_table(cache)[1])
    (path,) = table_folder(cache).iterdir()
    raw, row = bytearray(path.read_bytes()), 3 * 16 * 16
    if damage == "a bit":
        raw[5 * row + 7] ^= 1
    elif damage == "a row that was lost":
        raw[5 * row : 6 * row] = bytes(row)
    elif damage == "a mark":
        raw[len(IDS) * row + 5 * 8] ^= 2
    elif damage == "cut":
        del raw[-9:]
    else:
        raw.clear()
    path.write_bytes(raw)
    source, table = file_table(cache)
    assert torch.equal(all_of(table), want())
    lost = IDS[4:8] if "cut" not in damage and "empty" not in damage else IDS
    assert sorted(source.decoded) == sorted(lost.tolist())
    source, table = file_table(cache)
    assert torch.equal(all_of(table), want())
    assert source.decoded == []


def test_two_that_write_at_once_complete_one_file(cache):
    (first, one), (second, two) = file_table(cache), file_table(cache)
    for a, b in zip(one.batches(4), two.batches(4), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(all_of(file_table(cache)[1]), want())
    assert first.decoded == second.decoded or len(second.decoded) <= len(IDS)


def test_a_cache_without_room_or_rights_costs_time_alone(cache, monkeypatch, tmp_path):
    monkeypatch.setattr(pixel_files, "LEFT_FREE", 10**18)
    _, table = file_table(cache)
    assert table.rows is None
    assert torch.equal(all_of(table), want())
    monkeypatch.undo()
    (tmp_path / "file").touch()
    assert torch.equal(all_of(file_table(tmp_path / "file")[1]), want())
    source, table = file_table(cache)
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(OSError("full")))
    for _ in range(2):
        assert torch.equal(all_of(table), want())
    assert len(source.decoded) == 2 * len(IDS)


def test_files_that_no_run_names_are_deleted(cache):
    source, table = file_table(cache)
    all_of(table)
    digest = source.digest_of(IDS)
    delete_tables(cache, {digest, "a" * 64})
    assert len(list(table_folder(cache).iterdir())) == 1
    delete_tables(cache, {"a" * 64})
    assert list(table_folder(cache).iterdir()) == []
    delete_tables(cache.parent / "nowhere", set())


# Reading ahead


def test_worker_processes_read_the_same(tmp_path):
    """Two, started from a thread, as a job's is; one image vanishes after the set was opened."""
    source = open_source(f"folder:{write_images(tmp_path, 12)}")
    parts = [np.arange(start, start + 3) for start in range(0, 12, 3)]
    found: list[np.ndarray] = []
    caught: list[BaseException] = []

    def work() -> None:
        found.extend(pictures_ahead(source, parts, Fitted(PREPROCESS), workers=2))
        (tmp_path / "07.png").unlink()
        try:
            found.extend(pictures_ahead(source, parts, Fitted(PREPROCESS), workers=2))
        except InputError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    threads = list(pictures_ahead(source, parts[:2], Fitted(PREPROCESS), workers=0))
    assert len(found) == 4 + 2
    for batch, same in zip(found[4:], threads, strict=True):
        np.testing.assert_array_equal(batch, same)
    assert "07.png" in str(caught[0])
    assert "\n" not in str(caught[0])
    for _ in range(50):
        if not multiprocessing.active_children():
            break
        time.sleep(0.1)
    assert multiprocessing.active_children() == []


def test_where_no_worker_can_start_threads_read_on(tmp_path, monkeypatch):
    source = open_source(f"folder:{write_images(tmp_path, 6)}")
    parts = [np.arange(0, 3), np.arange(3, 6)]

    def one_then_none(given: object, workers: int) -> Iterator[np.ndarray]:
        yield given[0]
        raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")

    monkeypatch.setattr(ahead, "_by_processes", one_then_none)
    found = np.concatenate(list(pictures_ahead(source, parts, Fitted(PREPROCESS), workers=2)))
    for i in range(6):
        np.testing.assert_array_equal(found[i], Fitted(PREPROCESS)(source.image(i)))


@pytest.mark.parametrize(
    ("processors", "images", "want"), [(1, 10**6, 0), (2, 10**6, 0), (4, 10**6, 2), (64, 4096, 8), (64, 4095, 0)]
)
def test_processes_are_for_many_images_and_several_processors(monkeypatch, processors, images, want):
    monkeypatch.setattr(ahead.os, "cpu_count", lambda: processors)
    monkeypatch.setattr(ahead, "main_may_be_imported", lambda: True)
    assert ahead.worthwhile_workers(images) == want
    monkeypatch.setattr(ahead, "main_may_be_imported", lambda: False)
    assert ahead.worthwhile_workers(images) == 0


@pytest.mark.parametrize(
    ("spec", "file", "safe"),
    [
        ("snapvit.__main__", "/x/snapvit/__main__.py", True),
        (None, None, True),  # a notebook
        (None, "/usr/bin/snapvit", True),
        (None, "/home/me/study.py", False),
        (None, "/home/me/pages/sparsity.py", False),  # a page of Streamlit's is the main module while it is drawn
        ("streamlit.__main__", "/x/streamlit/__main__.py", False),
        ("study", "/home/me/study.py", False),
    ],
)
def test_processes_start_only_where_the_main_module_may_be_imported_again(monkeypatch, spec, file, safe):
    main = SimpleNamespace(__spec__=spec and SimpleNamespace(name=spec))
    if file is not None:
        main.__file__ = file
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert ahead.main_may_be_imported() is safe


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
        list(pixel_table(Failing(), IDS, PREPROCESS).batches(2))


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
