"""Sets too large to be looked at whole: what a run uses is looked at, and what cannot be used is replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import settings_of
from image_samples import noise, packed, write_classes, write_images

from snapvit import cli
from snapvit.artifacts import Ints
from snapvit.data import files, seen_files
from snapvit.data.decoding import decode
from snapvit.data.image_source import ImageSource
from snapvit.data.sources import open_images, open_source
from snapvit.data.splits import Split, sound_split, split_source
from snapvit.errors import Cancelled, InputError
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.finetuning import _Images
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.running import check_unchanged, open_workspace, run_pipeline
from snapvit.store.store import Store


@pytest.fixture(autouse=True)
def large(monkeypatch) -> None:
    """Ten images are a large set here."""
    monkeypatch.setattr(files, "WHOLE", 9)


@pytest.fixture
def looked_at(monkeypatch) -> list[str]:
    """The files that were looked at."""
    found: list[str] = []
    see = seen_files.SeenFiles._see
    monkeypatch.setattr(seen_files.SeenFiles, "_see", lambda self, file: found.append(file) or see(self, file))
    return found


def opened(folder: Path, cache: Path | None = None) -> ImageSource:
    return open_source(f"folder:{folder}", cache)


def spoil(source_folder: Path, source: ImageSource, ids: Ints) -> list[str]:
    """Make texts of these images; their names."""
    names = [source._files[int(i)] for i in ids]
    for name in names:
        (source_folder / name).write_text("text")
    return names


def firsts(counts: tuple[int, int, int]) -> Callable[[Split], Ints]:
    def uses(split: Split) -> Ints:
        parts = (split.calibration, split.gallery, split.query)
        return np.concatenate([part[:count] for part, count in zip(parts, counts, strict=True)])

    return uses


def test_opening_looks_at_no_file(tmp_path, looked_at):
    source = opened(write_classes(tmp_path, {"auk": 20, "owl": 30}))
    split_source(source, 0)
    assert (len(source), source.class_names, source.whole, looked_at) == (50, ("auk", "owl"), False, [])
    assert source.labels.tolist() == [0] * 20 + [1] * 30
    source.usable(np.array([3, 40]))
    source.image(3), source.content(40), source.digest_of(np.array([40, 3]))
    assert sorted(looked_at) == ["auk/03.png", "owl/20.png"]


def test_numbers_contents_and_labels_are_those_of_a_set_that_is_looked_at_whole(tmp_path, monkeypatch):
    root = write_classes(tmp_path, {"auk": 6, "owl/young": 4, "owl": 7})
    lazy = opened(root)
    monkeypatch.setattr(files, "WHOLE", 99)
    whole = opened(root)
    ids = np.arange(17)
    assert (lazy.digest_of(ids), lazy.class_names) == (whole.digest_of(ids), whole.class_names)
    for i in ids:
        np.testing.assert_array_equal(lazy.image(i), whole.image(i))


def test_what_cannot_be_used_is_replaced_by_the_next_of_its_class(tmp_path):
    root = write_classes(tmp_path, {"auk": 40, "owl": 60, "wren": 25})
    source = opened(root)
    before = split_source(source, 0)
    bad = np.concatenate([before.gallery[[0, 3, 4, 20]], before.query[[1]], before.calibration[[2]]])
    names = spoil(root, source, bad)
    after = sound_split(source, before, firsts((10, 30, 10)))
    assert {s.file: s.reason for s in source.skipped} == dict.fromkeys(names, "it is not an image")
    for old, new, gone in ((before.gallery, after.gallery, 4), (before.query, after.query, 1)):
        assert len(new) == len(old) - gone
        assert not np.isin(bad, new).any()
        used = new[: len(old) // 2]
        assert source.usable(used).all()
        np.testing.assert_array_equal(source.labels[used], source.labels[old[: len(used)]])  # classes stay in place
        for label in range(3):  # and within a class the order
            want = [i for i in old if source.labels[i] == label and i not in bad]
            np.testing.assert_array_equal([i for i in new if source.labels[i] == label], want)


def test_the_replacement_follows_from_the_files_alone(tmp_path):
    root = write_classes(tmp_path, {"auk": 40, "owl": 60})
    split = split_source(opened(root), 0)
    spoil(root, opened(root), split.gallery[[0, 1, 5, 9, 30]])
    at_once, step_by_step = opened(root), opened(root)
    whole = sound_split(at_once, split, firsts((5, 50, 5)))
    grown = split
    for count in (1, 3, 10, 35, 50):
        grown = sound_split(step_by_step, grown, firsts((5, count, 5)))
        np.testing.assert_array_equal(grown.gallery[:count], whole.gallery[:count])


def test_a_class_that_has_no_image_left_leaves_its_place_to_others(tmp_path):
    root = write_classes(tmp_path, {"auk": 40, "owl": 10})
    source = opened(root)
    split = split_source(source, 0)
    spoil(root, source, np.flatnonzero(source.labels == 1))
    found = sound_split(source, split, firsts((8, 20, 8)))
    assert (source.labels[found.gallery[:20]] == 0).all()
    assert len(found.gallery) == 24


def test_unlabelled_images_are_replaced_too(tmp_path):
    root = write_images(tmp_path, 30)
    source = opened(root)
    split = split_source(source, 0)
    spoil(root, source, split.calibration[:2])
    found = sound_split(source, split, firsts((5, 0, 3)))
    np.testing.assert_array_equal(found.calibration, split.calibration[2:])


def test_where_nothing_can_be_used_that_is_said_with_a_reason(tmp_path):
    root = write_classes(tmp_path, {"auk": 10, "owl": 10})
    source = opened(root)
    spoil(root, source, np.arange(20))
    with pytest.raises(InputError, match=r"0 usable images left .* files were skipped, .* because it is not an image"):
        sound_split(source, split_source(source, 0), firsts((2, 2, 2)))


def test_gallery_and_queries_of_their_own_are_looked_at_as_they_are_used(tmp_path, looked_at):
    gallery, queries = (write_classes(tmp_path / name, {"auk": 20, "owl": 20}) for name in ("train", "val"))
    source = open_images(f"folder:{gallery}", queries=f"folder:{queries}")
    split = split_source(source, 0)
    assert (len(source), source.whole, looked_at) == (80, False, [])
    spoil(queries, opened(queries), split.query[[0]] - 40)
    found = sound_split(source, split, firsts((4, 6, 5)))
    assert len(looked_at) == 4 + 6 + 6
    assert [s.file.startswith(f"folder:{queries}/") for s in source.skipped] == [True]
    assert source.usable(found.query[:5]).all()
    parted = open_source(f"folder:{tmp_path}")
    assert (len(parted), parted.whole) == (80, False)


def test_looking_can_be_stopped_and_goes_on_from_there(tmp_path, looked_at, monkeypatch):
    root, cache = write_images(tmp_path / "images", 60), tmp_path / "cache"
    monkeypatch.setattr(seen_files, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(seen_files, "AT_ONCE", 4)
    reporter = Reporter()

    def check() -> None:
        if len(looked_at) >= 20:
            reporter.cancel()
        reporter.check()

    with pytest.raises(Cancelled):
        opened(root, cache).usable(np.arange(60), check)
    decoded: list[bytes] = []
    monkeypatch.setattr(seen_files, "decode", lambda raw: decoded.append(raw) or decode(raw))
    assert opened(root, cache).usable(np.arange(60)).all()
    assert 30 < len(decoded) < 45


def test_an_image_that_cannot_be_used_is_named_when_it_is_asked_for(tmp_path):
    source = opened(write_images(tmp_path, 12))
    (tmp_path / "03.png").write_text("text")
    for ask in (source.image, source.content, source.reader):
        with pytest.raises(InputError, match=r"image 03\.png of folder:.* cannot be used: it is not an image"):
            ask(3)


@pytest.mark.parametrize("change", ["touched", "other", "gone"])
def test_a_file_that_changes_after_it_was_looked_at(tmp_path, change):
    source = opened(write_images(tmp_path, 12))
    want = source.image(3)
    path = tmp_path / "03.png"
    if change == "touched":
        os.utime(path, (1, 1))
        np.testing.assert_array_equal(source.image(3), want)  # the same content still
        return
    path.unlink()
    if change == "other":
        path.write_bytes(packed(noise(50), "PNG"))
    with pytest.raises(InputError, match="changed or vanished"):
        source.image(3)


# Runs


def request_of(root: Path, settings: tuple[str, ...], *more: str) -> RunRequest:
    return RunRequest(data=f"folder:{root}", config=with_settings(PRESETS["quick"], [*settings, *more]))


FEW = ("evaluation.gallery=30", "evaluation.queries=10", "evaluation.k=3")


@pytest.fixture
def finished(tmp_path, small_settings) -> tuple[Path, Store, RunRequest, Reporter]:
    """A run on a part of a folder, some of whose files are texts."""
    root = write_classes(tmp_path / "birds", {"auk": 50, "owl": 50})
    source, request = opened(root), request_of(root, small_settings, *FEW)
    spoil(root, source, split_source(source, 0).query[[0, 2]])
    store, reporter = Store(tmp_path / "cache"), Reporter()
    run_pipeline(request, store, reporter)
    return root, store, request, reporter


def test_a_run_measures_as_many_as_were_asked_for_and_says_what_was_left_out(finished, looked_at):
    _, store, request, reporter = finished
    told = [event.text for event in reporter.events if "is left out" in event.text]
    assert len(told) == 2
    assert all(text.endswith("is left out: it is not an image") for text in told)
    workspace = open_workspace(store, request.run)
    assert (len(workspace.ids["gallery"]), len(workspace.ids["queries"])) == (30, 10)
    check_unchanged(store, request.run, workspace)
    used = {int(i) for ids in workspace.ids.values() for i in ids}
    assert len(set(looked_at)) == len(used) + 2 < 100


def test_what_a_run_does_not_use_may_change_and_what_it_uses_may_not(finished):
    root, store, request, _ = finished
    workspace = open_workspace(store, request.run)
    used = {int(i) for ids in workspace.ids.values() for i in ids}
    spare = next(i for i in range(100) if i not in used and workspace.source.usable(np.array([i]))[0])
    (root / workspace.source._files[spare]).write_text("text")
    check_unchanged(store, request.run, open_workspace(store, request.run))
    target = root / workspace.source._files[int(workspace.ids["queries"][0])]
    stamp = target.stat()
    target.write_bytes(packed(noise(77), "PNG").ljust(stamp.st_size, b"\0")[: stamp.st_size])
    os.utime(target, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(InputError, match=r"images of run .* changed"):
        check_unchanged(store, request.run, open_workspace(store, request.run))


def test_an_image_that_was_looked_at_alone_and_is_none_any_more_is_a_change(finished):
    root, store, request, _ = finished
    workspace = open_workspace(store, request.run)
    assert workspace.node("images.3") is not None
    (root / workspace.source._files[3]).write_text("text")
    assert open_workspace(store, request.run).node("images.3") is None


def test_equal_contents_among_the_images_that_are_used_are_told(tmp_path, small_settings):
    root = write_classes(tmp_path / "birds", {"auk": 50, "owl": 50})
    for path in (root / "owl").iterdir():
        path.write_bytes(packed(noise(0), "PNG"))
    workspace = run_pipeline(request_of(root, small_settings, *FEW), Store(tmp_path / "cache"), Reporter())
    assert any("'owl' (" in note and "the same content" in note for note in workspace.notes)


def test_fine_tuning_takes_what_can_be_used(tmp_path):
    source = opened(write_images(tmp_path, 30))
    spoil(tmp_path, source, np.array([4, 9]))
    images = _Images.open(source, 0)
    assert sorted([*images.train, *images.held]) == [i for i in range(30) if i not in (4, 9)]


def test_the_command_line_says_what_is_wrong_in_one_sentence(tmp_path, small_settings, capsys):
    root = write_images(tmp_path / "images", 20)
    for path in root.iterdir():
        path.write_text("text")
    settings = settings_of((*small_settings, *FEW))
    code = cli.main(["run", "--data", f"folder:{root}", *settings, "--cache", str(tmp_path / "cache")])
    err = capsys.readouterr().err
    assert code == 2
    assert "0 usable images left" in err
    assert len(err.splitlines()) == 1
