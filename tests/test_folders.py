"""Folders as sources: ids, labels, order, what is skipped and why, and a digest that follows the contents."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from image_samples import noise, packed, write_classes, write_images

from snapvit.data import folder_index, seen_files
from snapvit.data.decoding import decode
from snapvit.data.folder_index import index_folder
from snapvit.data.sources import ImageSource, canonical_name, open_source
from snapvit.data.splits import split_counts, split_source
from snapvit.errors import Cancelled, InputError
from snapvit.pipeline.progress import Reporter

CIFAR = Path(__file__).parents[2] / "shared" / "reference" / "cifar10_rgb"


def opened(folder: Path, cache: Path | None = None) -> ImageSource:
    return open_source(f"folder:{folder}", cache)


def reasons(source: ImageSource) -> dict[str, str]:
    return {s.file: s.reason for s in source.skipped}


def test_a_folder_a_class_gives_labels_in_the_order_of_names(tmp_path):
    source = opened(write_classes(tmp_path, {"wren": 3, "auk": 2, "owl": 4}))
    assert source.class_names == ("auk", "owl", "wren")
    assert source.labels.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert source.skipped == ()
    assert len(source) == 9
    for index, file in enumerate(["auk/00", "auk/01", "owl/00", "owl/01", "owl/02", "owl/03", "wren/00"]):
        np.testing.assert_array_equal(source.image(index), decode((tmp_path / f"{file}.png").read_bytes()))


def test_a_flat_folder_has_no_labels(tmp_path):
    source = opened(write_images(tmp_path, 6))
    assert source.labels is None
    assert source.class_names == ()
    np.testing.assert_array_equal(source.image(4), noise(4))
    assert split_counts(source, split_source(source, 0)).tolist() == [[5, 0, 1]]


def test_folders_within_a_class_belong_to_it(tmp_path):
    write_classes(tmp_path, {"auk/young": 2, "auk/old": 2, "owl": 3})
    source = opened(tmp_path)
    assert source.class_names == ("auk", "owl")
    assert source.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_names_that_are_not_ascii(tmp_path):
    source = opened(write_classes(tmp_path, {"Käuze 梟": 2, "сова": 3}))
    assert source.class_names == ("Käuze 梟", "сова")
    assert source.labels.tolist() == [0, 0, 1, 1, 1]
    (tmp_path / "сова" / "файл – ü.png").write_text("nothing")
    assert "сова/файл – ü.png" in reasons(opened(tmp_path))


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such names")
def test_a_name_that_is_no_text_can_be_printed(tmp_path):
    write_classes(tmp_path, {"auk": 2, "owl": 2})
    folder = os.fsencode(tmp_path) + b"/gu\xff"
    os.mkdir(folder)
    shutil.copy(tmp_path / "auk" / "00.png", folder + b"/\xfe.png")
    source = opened(tmp_path)
    assert source.class_names == ("auk", "gu�", "owl")
    json.dumps(source.class_names).encode()
    assert len(source) == 5


def test_every_file_that_cannot_be_used_is_listed_with_its_reason(tmp_path):
    write_classes(tmp_path, {"auk": 5, "owl": 5, "void": 0})
    (tmp_path / "void" / "one.png").write_bytes(packed(np.zeros((1, 1, 3), np.uint8), "PNG"))
    auk = tmp_path / "auk"
    (auk / "10 text.jpg").write_text("a text file with a picture's name")
    (auk / "11 empty.jpg").touch()
    (auk / "12 half.jpg").write_bytes(packed(noise(3), "JPEG")[:-40])
    (auk / "13 notes.txt").write_text("notes")
    (auk / "14 loop.png").symlink_to(auk / "14 loop.png")
    (auk / "15 gone.png").symlink_to(tmp_path / "nowhere.png")
    (auk / ".hidden.png").write_text("ignored")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.png").write_text("ignored")
    (tmp_path / "stray.png").write_bytes(packed(noise(1), "PNG"))
    os.mkfifo(auk / "16 pipe.png")  # reading it would wait for ever
    source = opened(tmp_path)
    found = reasons(source)
    assert found.pop("auk/14 loop.png").startswith("it cannot be read (")
    assert found == {
        "auk/10 text.jpg": "it is not an image",
        "auk/11 empty.jpg": "it is empty",
        "auk/12 half.jpg": "it is cut short",
        "auk/13 notes.txt": "its name does not end like an image's",
        "auk/15 gone.png": "it cannot be read (No such file or directory)",
        "auk/16 pipe.png": "it is not a regular file",
        "stray.png": "it lies outside the class folders",
        "void/one.png": "it has only 1 x 1 pixels",
        "void": "this class has no usable image",
    }
    assert source.class_names == ("auk", "owl")
    assert np.bincount(source.labels).tolist() == [5, 5]
    split_source(source, 0)


def test_links_that_lead_back_do_not_hang(tmp_path):
    root = write_classes(tmp_path / "birds", {"auk": 5, "owl": 5})
    (root / "owl" / "up").symlink_to(root)
    (root / "auk" / "deep").mkdir()
    (root / "auk" / "deep" / "round").symlink_to(root / "auk")
    (root / "again").symlink_to(root / "owl")
    source = opened(root)
    assert source.labels.tolist() == [0] * 5 + [1] * 5
    known = "it is a link to a folder that is read already"
    assert reasons(source) == {"again": known, "owl/up": known, "auk/deep/round": known}


def test_a_linked_folder_elsewhere_is_read(tmp_path):
    elsewhere = write_images(tmp_path / "disk", 3)
    root = write_classes(tmp_path / "birds", {"auk": 2})
    (root / "owl").symlink_to(elsewhere)
    assert opened(root).class_names == ("auk", "owl")


def test_too_few_images_say_how_many_are_needed(tmp_path):
    root = write_images(tmp_path / "flat", 4)
    (root / "x.jpg").touch()
    with pytest.raises(InputError, match=r"4 usable images \(1 files were skipped\); at least 5 are needed"):
        split_source(opened(root), 0)
    write_images(root, 5)
    split_source(opened(root), 0)


def test_classes_with_too_few_images_are_named(tmp_path):
    root = write_classes(tmp_path, {"auk": 4, "owl": 9, "wren": 2})
    with pytest.raises(InputError, match=r"'auk' \(4\), 'wren' \(2\); each class needs at least 5, so add images"):
        split_source(opened(root), 0)


def test_a_folder_without_images_is_an_empty_source(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing to see")
    with pytest.raises(InputError, match=r"0 usable images \(1 files were skipped\)"):
        split_source(opened(tmp_path), 0)


@pytest.mark.parametrize(("place", "found"), [("nowhere", "does not exist"), ("file", "is a file")])
def test_a_folder_that_is_none_is_named(tmp_path, place, found):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"{place} {found}"):
        opened(tmp_path / place)


def test_one_name_for_one_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(write_images(tmp_path / "here", 1))
    names = {canonical_name(f"folder:{path}") for path in (".", tmp_path / "here", "../here/", "../here/./x/..")}
    assert names == {f"folder:{tmp_path}/here"}
    monkeypatch.setenv("HOME", str(tmp_path))
    written = ("~/here", " ~/here/ ", "~/here///", "'~/here'", '"~/here/"')
    assert {canonical_name(f"folder:{path}") for path in written} == names
    assert canonical_name('"folder:~/here"') in names
    assert canonical_name("folder:it's") == f"folder:{tmp_path}/here/it's"


@pytest.mark.parametrize("name", ["folder:", "folder: ", "folder:''", "''", '"'])
def test_a_name_that_is_empty_within_its_quotes_names_nothing(name):
    with pytest.raises(InputError, match="There is no image source named"):
        canonical_name(name)


def all_of(source: ImageSource) -> str:
    return source.digest_of(np.arange(len(source)))


def test_the_digest_follows_contents_order_and_labels_not_names_and_places(tmp_path):
    first = write_classes(tmp_path / "a", {"auk": 3, "owl": 3})
    digest = all_of(opened(first))
    moved = shutil.copytree(first, tmp_path / "elsewhere")
    assert all_of(opened(moved)) == digest
    (moved / "auk").rename(moved / "emu")
    (moved / "emu" / "00.png").rename(moved / "emu" / "000.png")  # the first still
    assert all_of(opened(moved)) == digest
    found = {digest}

    def changed() -> None:
        found.add(all_of(opened(moved)))

    target = moved / "emu" / "01.png"
    raw = target.read_bytes()
    stamp = target.stat()
    target.write_bytes(packed(noise(77), "PNG").ljust(len(raw), b"\0")[: len(raw)])
    os.utime(target, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # a change that size and time do not show
    changed()
    target.write_bytes(raw)
    (moved / "emu" / "000.png").rename(moved / "emu" / "zz.png")  # another order
    changed()
    (moved / "emu" / "zz.png").rename(moved / "owl" / "zz.png")  # another label
    changed()
    (moved / "owl" / "zz.png").unlink()
    changed()
    assert len(found) == 5


def test_the_digest_is_that_of_the_chosen_images(tmp_path):
    root, ids = write_classes(tmp_path, {"auk": 3, "owl": 3}), np.array([4, 0, 2])
    digest = opened(root).digest_of(ids)
    assert digest != opened(root).digest_of(ids[::-1])
    (root / "owl" / "02.png").write_bytes(packed(noise(80), "PNG"))  # image 5
    assert opened(root).digest_of(ids) == digest
    (root / "owl" / "01.png").write_bytes(packed(noise(81), "PNG"))  # image 4
    assert opened(root).digest_of(ids) != digest


@pytest.mark.parametrize(
    ("counts", "same", "told"),
    [
        ({".": 4}, (".",), "All 4 images of {} have the same content."),
        ({"auk": 2, "owl": 3}, ("auk", "owl"), "All 5 images of {} have the same content."),
        (
            {"auk": 2, "emu": 2, "owl": 3},
            ("auk", "owl"),
            "All images of a class have the same content in {}: 'auk' (2 images), 'owl' (3 images).",
        ),
        ({"auk": 1, "owl": 2}, (), None),
        ({".": 1}, (), None),
    ],
)
def test_images_that_are_all_equal_are_named(tmp_path, counts, same, told):
    write_classes(tmp_path, counts)
    for name in same:
        for path in (tmp_path / name).iterdir():
            path.write_bytes(packed(noise(0), "PNG"))
    assert opened(tmp_path).notes == (() if told is None else (told.format(f"folder:{tmp_path}"),))


@pytest.fixture
def settled(monkeypatch) -> None:
    """A file or folder may be relied on the moment it was written, where the clock's ticks are fine enough."""
    for module in (seen_files, folder_index):
        monkeypatch.setattr(module, "SETTLED_NS", -(10**12))


@pytest.fixture
def decoded(monkeypatch) -> list[bytes]:
    """What was decoded to be looked at."""
    found: list[bytes] = []
    monkeypatch.setattr(seen_files, "decode", lambda raw: found.append(raw) or decode(raw))
    return found


def test_what_was_looked_at_once_is_not_even_read_the_next_time(tmp_path, settled, decoded, monkeypatch):
    root, cache = write_classes(tmp_path / "birds", {"auk": 5, "owl": 5}), tmp_path / "cache"
    (root / "auk" / "bad.jpg").write_text("text")
    first = opened(root, cache)
    assert len(decoded) == 11
    read, listed = [], []
    monkeypatch.setattr(seen_files, "open", lambda path, *_: read.append(path), raising=False)
    monkeypatch.setattr(folder_index, "_list", lambda path, *args: listed.append(path))
    again = opened(root, cache)
    assert (read, listed, len(decoded)) == ([], [], 11)
    assert (all_of(again), again.skipped, len(again)) == (all_of(first), first.skipped, 10)


def test_what_is_new_is_looked_at_and_what_moved_is_not_decoded_again(tmp_path, settled, decoded):
    root, cache = write_classes(tmp_path / "birds", {"auk": 5, "owl": 5}), tmp_path / "cache"
    opened(root, cache)
    decoded.clear()
    new = packed(noise(99), "PNG")
    (root / "owl" / "new.png").write_bytes(new)
    (root / "auk" / "00.png").rename(root / "auk" / "0.png")
    assert len(opened(root, cache)) == 11
    assert decoded == [new]


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such names, and links need rights")
def test_only_folders_that_changed_are_listed_again_and_the_rest_is_known(tmp_path, settled, monkeypatch):
    root, cache = write_classes(tmp_path / "birds", {"auk": 2, "owl/young": 2, "wren": 1}), tmp_path / "cache"
    (root / "owl" / "again").symlink_to(root / "auk")
    shutil.copy(root / "auk" / "00.png", os.fsencode(root) + b"/wren/\xfe.png")
    (root / "wren" / "notes.txt").touch()
    first = opened(root, cache)
    listed, real = [], folder_index._list
    monkeypatch.setattr(folder_index, "_list", lambda path, *args: listed.append(Path(path).name) or real(path, *args))
    again = opened(root, cache)
    assert listed == []
    assert (all_of(again), again.class_names, again.skipped) == (all_of(first), first.class_names, first.skipped)
    (root / "owl" / "young" / "01.png").unlink()
    write_images(root / "new", 3)
    after = opened(root, cache)
    assert sorted(listed) == ["birds", "new", "young"]
    assert (after.class_names, np.bincount(after.labels).tolist()) == (("auk", "new", "owl", "wren"), [2, 3, 1, 2])


def test_names_are_in_the_order_of_folders_and_files_together(tmp_path):
    names = ["a.png", "b/0.png", "b.png", "b/c/1.png", "b/d.png", "e/2.png", "f.png", "b-/3.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = index_folder(tmp_path).pictures
    want = sorted(names, key=lambda name: Path(name).parts)
    assert list(found) == [found[i] for i in range(len(found))] == want
    with pytest.raises(IndexError):
        found[len(names)]


def test_what_is_remembered_of_a_folder_may_be_damaged(tmp_path, settled):
    root, cache = write_classes(tmp_path / "birds", {"auk": 5, "owl": 5}), tmp_path / "cache"
    want = all_of(opened(root, cache))
    for file in sorted((cache / "images").iterdir()):
        raw = file.read_bytes()
        spoilt = raw.replace(b"owl", b"out").replace(b"png", b"pnm")
        for damage in (b"", b"{", raw[:-1], raw[1:], spoilt, hashlib.sha256(b"[]").digest() + b"[]"):
            file.write_bytes(damage)
            assert all_of(opened(root, cache)) == want
            assert file.read_bytes() != damage


def test_a_file_that_was_written_just_now_is_not_relied_on(tmp_path, decoded):
    """It may change again within one tick of the clock, with the same stamp."""
    root, cache = write_classes(tmp_path / "birds", {"auk": 5}), tmp_path / "cache"
    want = all_of(opened(root, cache))
    (root / "auk" / "05.png").write_bytes(packed(noise(5), "PNG"))
    again = opened(root, cache)
    assert len(again) == 6
    assert all_of(again) != want
    for stamp in json.loads((next((cache / "images").glob("*.index"))).read_bytes()[32:])["content"].values():
        assert stamp[0] is None


def test_opening_stops_within_a_few_files_when_asked(tmp_path, monkeypatch):
    root, decoded = write_images(tmp_path, 60), []
    monkeypatch.setattr(seen_files, "decode", lambda raw: decoded.append(raw) or time.sleep(0.02))
    reporter = Reporter()

    def check() -> None:
        if len(decoded) >= 5:
            reporter.cancel()
        reporter.check()

    with pytest.raises(Cancelled):
        open_source(f"folder:{root}", tmp_path / "cache", check)
    assert len(decoded) < 30


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    root = write_images(tmp_path / "birds", 5)
    (tmp_path / "file").touch()
    assert len(opened(root, tmp_path / "file" / "cache")) == 5


@pytest.mark.parametrize("change", ["gone", "other", "pipe"])
def test_a_file_that_changes_under_a_run_is_named(tmp_path, change):
    source = opened(write_images(tmp_path, 5))
    path = tmp_path / "03.png"
    path.unlink()
    if change == "other":
        path.write_bytes(packed(noise(50, 8, 8), "PNG"))
    elif change == "pipe":
        os.mkfifo(path)
    with pytest.raises(InputError, match=r"03\.png of folder:.* changed or vanished"):
        source.image(3)
    source.image(2)


@pytest.mark.skipif(not CIFAR.is_dir(), reason="the reference photographs are not beside the repository")
def test_real_photographs():
    source = opened(CIFAR)
    assert len(source) == 1200
    assert source.skipped == ()
    assert source.class_names[:3] == ("airplane", "automobile", "bird")
    assert len(source.class_names) == 10
    assert np.bincount(source.labels).min() > 100
    counts = split_counts(source, split_source(source, 0))
    assert counts.sum(axis=0).tolist() == [240, 720, 240]
    assert source.image(7).shape == (32, 32, 3)


def test_a_folder_around_everything_is_taken_off(tmp_path):
    root = write_classes(tmp_path / "outer" / "mydata", {"cat": 5, "dog": 6}).parent
    (root / "notes.txt").write_text("x")
    source = open_source(f"folder:{root}")
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [0] * 5 + [1] * 6
    assert any("lie in mydata" in note for note in source.notes)
    assert [s.file for s in source.skipped] == ["notes.txt"]


def test_one_folder_of_images_is_one_class(tmp_path):
    source = open_source(f"folder:{write_classes(tmp_path, {'cat': 5})}")
    assert source.class_names == ("cat",)


@pytest.mark.parametrize("ending", [".jfif", ".JFIF", ".avif", ".jp2", ".heic", ".pnm"])
def test_the_rarer_endings_of_pictures_are_looked_into(tmp_path, ending):
    write_classes(tmp_path, {"cat": 5})
    for path in list((tmp_path / "cat").iterdir()):
        path.rename(path.with_suffix(ending))
    assert len(open_source(f"folder:{tmp_path}")) == 5
