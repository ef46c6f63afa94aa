"""Gallery and queries as sources of their own, and folders of train and val: ids, labels, parts and how they split."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from image_samples import noise, packed, write_classes, write_images
from test_uploads import zipped

from snapvit.data.archive import unpack_upload
from snapvit.data.image_source import UNLABELLED, ImageSource
from snapvit.data.sources import open_images, open_source
from snapvit.data.splits import Split, split_counts, split_source
from snapvit.errors import InputError

DATA = {"auk": 10, "owl": 20}
GALLERY = {"emu": 6, "owl": 9}
QUERIES = {"auk": 5, "owl": 7, "wren": 2}


@pytest.fixture
def names(tmp_path: Path) -> dict[str, str]:
    """Three folders of different images: name by what they are for."""
    folders = {}
    for seed, (role, counts) in enumerate({"data": DATA, "gallery": GALLERY, "queries": QUERIES}.items(), start=1):
        for kind, (label, count) in enumerate(counts.items()):
            write_images(tmp_path / role / label, count, 10 * seed + kind)
        folders[role] = f"folder:{tmp_path / role}"
    return folders


def by_class(source: ImageSource, split: Split) -> dict[str, list[int]]:
    """Images of each class in calibration, gallery and queries, where there are any."""
    rows = split_counts(source, split).tolist()
    return {name: row for name, row in zip((*source.class_names, None), rows, strict=False) if any(row)}


def test_ids_run_through_data_gallery_and_queries_and_classes_are_one_by_name(names):
    alone = [open_source(name) for name in names.values()]
    source = open_images(**names)
    assert source.class_names == ("auk", "emu", "owl", "wren")
    assert len(source) == 30 + 15 + 14
    index = 0
    for own in alone:
        for i in range(len(own)):
            np.testing.assert_array_equal(source.image(index), own.image(i))
            assert source.class_names[source.labels[index]] == own.class_names[own.labels[i]]
            assert source.content(index) == own.content(i)
            index += 1
    assert source.notes == ()
    first, last = np.arange(30), np.arange(45, 59)
    assert source.digest_of(first) != alone[0].digest_of(first)  # "owl" has another number
    assert source.digest_of(last) == open_images(names["data"], names["gallery"], names["queries"]).digest_of(last)


def test_each_source_does_what_it_is_named_for(names):
    source = open_images(**names)
    split = split_source(source, 0)
    assert sorted(split.calibration) == list(range(30))
    assert sorted(split.gallery) == list(range(30, 45))
    assert sorted(split.query) == list(range(45, 59))
    for part in (split.calibration, split.gallery, split.query):
        assert (np.diff(part) < 0).any()  # shuffled
    assert by_class(source, split) == {"auk": [10, 0, 5], "owl": [20, 9, 7], "emu": [0, 6, 0], "wren": [0, 0, 2]}


@pytest.mark.parametrize(
    ("gallery", "queries", "want"),
    [
        (None, "queries", {"auk": [3, 7, 5], "owl": [5, 15, 7], "wren": [0, 0, 2]}),
        ("data", "queries", {"auk": [3, 7, 5], "owl": [5, 15, 7], "wren": [0, 0, 2]}),
        ("gallery", None, {"auk": [5, 0, 5], "owl": [10, 9, 10], "emu": [0, 6, 0]}),
        ("gallery", "data", {"auk": [5, 0, 5], "owl": [10, 9, 10], "emu": [0, 6, 0]}),
        ("gallery", "gallery", {"auk": [10, 0, 0], "owl": [20, 7, 2], "emu": [0, 4, 2]}),
        (None, None, {"auk": [2, 6, 2], "owl": [4, 12, 4]}),
        ("data", "data", {"auk": [2, 6, 2], "owl": [4, 12, 4]}),
    ],
)
def test_one_source_is_divided_between_its_uses(names, gallery, queries, want):
    source = open_images(names["data"], gallery and names[gallery], queries and names[queries])
    split = split_source(source, 0)
    found = by_class(source, split)
    assert found.keys() == want.keys()
    for label, counts in want.items():
        assert np.abs(np.subtract(found[label], counts)).max() <= 1  # a class of ten has two or three of a quarter
    np.testing.assert_array_equal(np.sum(list(found.values()), axis=0), np.sum(list(want.values()), axis=0))
    ids = np.concatenate([split.calibration, split.gallery, split.query])
    assert sorted(ids) == list(range(len(source)))


def test_a_source_is_known_as_the_same_however_its_name_is_written(names, monkeypatch):
    path = Path(names["data"].removeprefix("folder:"))
    monkeypatch.chdir(path.parent)
    source = open_images(names["data"], "folder:'data/'", 'folder:"./data"')
    assert (source.name, len(source)) == (names["data"], 30)


def test_the_seed_decides_and_nothing_else(names):
    source = open_images(names["data"], queries=names["queries"])
    first, again, other = (split_source(source, seed) for seed in (3, 3, 4))
    for role in ("calibration", "gallery", "query"):
        np.testing.assert_array_equal(getattr(first, role), getattr(again, role))
        assert not np.array_equal(getattr(first, role), getattr(other, role))


def test_images_without_labels_may_calibrate(names, tmp_path):
    flat = f"folder:{write_images(tmp_path / 'flat', 8, 70)}"
    source = open_images(flat, names["gallery"], names["queries"])
    split = split_source(source, 0)
    assert (source.labels[:8] == UNLABELLED).all()
    assert (source.labels[8:] != UNLABELLED).all()
    assert by_class(source, split)[None] == [8, 0, 0]
    assert source.digest_of(np.arange(8)) == open_source(flat).digest_of(np.arange(8))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("flat", None, "queries"), "flat has no labels, so its images cannot be the gallery"),
        (("flat", "gallery", None), "flat has no labels, so its images cannot be queries"),
        (("data", "flat", "queries"), "flat has no labels, so its images cannot be the gallery"),
        (("data", "gallery", "flat"), "flat has no labels, so its images cannot be queries"),
        (("data", "nowhere", "queries"), "nowhere does not exist"),
        (("data", "gallery", "few"), r"few has 4 usable images \(1 files were skipped\); .* 5 are needed as queries"),
        (("data", "few", "queries"), "few has 4 usable images .* needed as gallery"),
        (("few", "gallery", "queries"), "few has 4 usable images .* needed as calibration images"),
        (("few", None, "queries"), "few has 4 usable images .* needed to split them"),
        (("queries", None, "data"), r"some classes of .*queries: 'wren' \(2\); each class needs at least 5"),
    ],
)
def test_images_that_cannot_do_it_are_refused_by_name(names, tmp_path, given, told):
    write_images(tmp_path / "flat", 8)
    write_classes(tmp_path / "few", {"auk": 1, "owl": 3})
    (tmp_path / "few" / "owl" / "x.png").touch()
    with pytest.raises(InputError, match=told) as caught:
        split_source(open_images(*(name and f"folder:{tmp_path / name}" for name in given)), 0)
    assert "\n" not in str(caught.value)


def test_what_is_skipped_and_noted_is_that_of_all(names, tmp_path):
    (tmp_path / "gallery" / "emu" / "bad.png").write_text("text")
    for path in (tmp_path / "queries" / "wren").iterdir():
        path.write_bytes(packed(noise(900), "PNG"))
    shutil.copy(tmp_path / "gallery" / "owl" / "03.png", tmp_path / "queries" / "owl" / "again.png")
    source = open_images(**names)
    assert [(s.file, s.reason) for s in source.skipped] == [(f"{names['gallery']}/emu/bad.png", "it is not an image")]
    assert source.notes == (
        f"All images of a class have the same content in {names['queries']}: 'wren' (2 images).",
        f"1 of the 15 queries of {names['queries']} are in the gallery too.",
    )


# Folders that are divided already


def write_parts(root: Path, parts: dict[str, dict[str, int]]) -> Path:
    for seed, (part, counts) in enumerate(parts.items(), start=20):
        for kind, (label, count) in enumerate(counts.items()):
            write_images(root / part / label, count, 10 * seed + kind)
    return root


@pytest.mark.parametrize(
    ("train", "val"),
    [("train", "val"), ("Train", "VAL"), ("training", "validation"), ("train", "valid"), ("train", "test")],
)
def test_train_calibrates_and_is_the_gallery_and_val_gives_the_queries(tmp_path, train, val):
    root = write_parts(tmp_path, {train: DATA, val: QUERIES})
    (root / val / "wren" / "bad.png").write_text("text")
    (root / "labels.csv").write_text("text")
    source = open_source(f"folder:{root}", tmp_path / "cache")
    assert (source.name, len(source), source.class_names) == (f"folder:{root}", 44, ("auk", "owl", "wren"))
    note = f"folder:{root} is divided already: {train} calibrates and is the gallery, {val} gives the queries."
    assert source.notes == (note,)
    assert {s.file: s.reason for s in source.skipped} == {
        f"{val}/wren/bad.png": "it is not an image",
        "labels.csv": "it lies outside the parts",
    }
    split = split_source(source, 0)
    assert sorted(split.query) == list(range(30, 44))
    assert (len(split.calibration), len(split.gallery)) == (8, 22)
    want = {"auk": [10, 5], "owl": [20, 7], "wren": [0, 2]}
    assert {k: [a + b, c] for k, (a, b, c) in by_class(source, split).items()} == want


def test_of_train_val_and_test_the_test_images_are_left_out_and_that_is_said(tmp_path):
    root = write_parts(tmp_path, {"test": {"auk": 3, "yak": 3}, "train": DATA, "val": QUERIES})
    source = open_source(f"folder:{root}")
    assert source.notes[0].endswith("val gives the queries; test is left out.")
    assert len(source) == 44
    assert "yak" not in source.class_names


def test_a_test_folder_without_labels_gives_no_queries(tmp_path):
    root = write_parts(tmp_path, {"train": DATA})
    write_images(root / "test", 4)
    source = open_source(f"folder:{root}")
    assert source.notes == (f"Of folder:{root} the images in train are taken, for everything; test is left out.",)
    assert by_class(source, split_source(source, 0)) == {"auk": [2, 6, 2], "owl": [4, 12, 4]}


def test_train_and_val_without_classes_are_without_labels_and_without_a_gallery(tmp_path):
    write_images(tmp_path / "train", 9, 1)
    write_images(tmp_path / "val", 5, 2)
    shutil.copy(tmp_path / "train" / "00.png", tmp_path / "val" / "05.png")
    source = open_source(f"folder:{tmp_path}")
    assert not any("gallery too" in note for note in source.notes)
    assert (source.labels, source.class_names) == (None, ())
    assert split_counts(source, split_source(source, 0)).tolist() == [[9, 0, 6]]


def test_a_class_may_be_called_train(tmp_path):
    source = open_source(f"folder:{write_classes(tmp_path, {'plane': 3, 'train': 4})}")
    assert source.class_names == ("plane", "train")
    assert source.notes == ()


def test_a_zip_may_hold_train_and_val(tmp_path):
    entries = {f"birds/{part}/{kind}/{i}.png" for part in ("train", "val") for kind in DATA for i in range(5)}
    raw = zipped({name: packed(noise(i), "PNG") for i, name in enumerate(sorted(entries))})
    source = open_source(unpack_upload(raw, tmp_path), tmp_path)
    assert source.class_names == ("auk", "owl")
    assert split_counts(source, split_source(source, 0)).sum(axis=0).tolist() == [2, 8, 10]


@pytest.mark.parametrize(
    ("roles", "want", "unused"),
    [
        (("parts", "gallery", None), (30, 15, 14), ()),
        (("parts", None, "queries"), (8, 22, 14), ("val",)),
        (("parts", "gallery", "queries"), (30, 15, 14), ("val",)),
        (("data", "parts", None), (15, 30, 15), ("val",)),
        (("data", "parts", "parts"), (30, 30, 14), ()),
        (("data", None, "parts"), (8, 22, 14), ("train",)),
    ],
)
def test_a_divided_folder_beside_others_gives_what_its_parts_can(names, tmp_path, roles, want, unused):
    root = write_parts(tmp_path / "parts", {"train": DATA, "val": QUERIES})
    source = open_images(*(role and f"folder:{tmp_path / role}" for role in roles))
    split = split_source(source, 0)
    assert (len(split.calibration), len(split.gallery), len(split.query)) == want
    told = [note for note in source.notes if "is not used" in note]
    assert told == [f"folder:{root / part} is not used: other images do what it would." for part in unused]
    ids = np.concatenate([split.calibration, split.gallery, split.query])
    assert len(np.unique(ids)) == len(ids)


@pytest.mark.parametrize(
    "clutter", ["@eaDir", "__MACOSX", ".thumbnails", "$RECYCLE.BIN", "System Volume Information", "lost+found"]
)
def test_what_systems_leave_behind_is_neither_a_class_nor_worth_a_word(tmp_path, clutter):
    root = write_classes(tmp_path, {"auk": 3, "owl": 2, clutter: 2, f"auk/{clutter}": 1})
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "auk/Thumbs.db", "auk/Desktop.ini"):
        (root / name).write_text("text")
    source = open_source(f"folder:{root}")
    assert (source.class_names, len(source), source.skipped) == (("auk", "owl"), 5, ())
    divided = write_parts(tmp_path / "parts", {"train": DATA, "val": QUERIES, clutter: {"auk": 2}})
    assert "left out" not in open_source(f"folder:{divided}").notes[0]
