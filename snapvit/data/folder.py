"""Folders of images: one folder a class, or a flat one without labels; either may be divided into train and val."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from snapvit.data.files import ImageFiles
from snapvit.data.folder_index import SEPARATOR, FileNames, Shelf, index_folder
from snapvit.data.image_source import ALL_ROLES, Check, ImageSource, Role, Skipped, go_on
from snapvit.data.joined import JoinedImages, Member
from snapvit.data.seen_files import SeenFiles, shown
from snapvit.errors import InputError

TRAIN = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "test", "testing")  # the first that is there gives the queries


def open_folder(path: Path, name: str, cache: Path | None = None, check: Check = go_on) -> ImageSource:
    """The images under `path`, in the order of their names.

    A folder around all class folders is taken off. Where folders hold images, each of them is a class, with all below
    it; else the images in `path` itself are taken without labels. Where those folders are `train` and `val` (or alike),
    they are no classes but parts, each read in this way: train calibrates and is the gallery, val gives the queries.
    Hidden files and what systems leave behind are ignored. The names, and what was seen of each file, are remembered
    under `cache`; `check` may raise to stop. Raises InputError where there is no such folder.
    """
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise InputError(
            f"The image folder {shown(path)} {found}; put it there, or name a folder of images or of a folder a class."
        )
    index_file, seen_file = (None, None) if cache is None else memory_files(path, cache)
    files, seen = index_folder(path, index_file, check), SeenFiles(path, seen_file)
    pictures, others, skipped = files.pictures.shelves, files.others.shelves, list(files.unread)
    base = _inside_wrapping(pictures)
    wrapped = []
    if base:
        wrapped = [f"All images of {name} lie in {shown(base)}, whose folders are the classes."]
        outside = [shelf for shelf in others if not _is_in(shelf, base)]
        skipped += _left_out(outside, "", "it lies outside the class folders")
        others = [shelf for shelf in others if _is_in(shelf, base)]
    parts = _find_parts(base, pictures)
    if parts is None:
        return _open_files(base, name, pictures, others, skipped, seen, check, wrapped)
    members = []
    for folder, roles in parts.items():
        place = _joined(base, folder)
        inside = [[shelf for shelf in shelves if _is_in(shelf, place)] for shelves in (pictures, others)]
        source = _open_files(place, f"{name}/{shown(folder)}", *inside, [], seen, check)
        members.append(Member(source, roles, f"{shown(folder)}/"))
    beside = [shelf for shelf in (*pictures, *others) if shelf.folder == base]
    skipped += _left_out(beside, base, "it lies outside the parts")
    note = _parts_note(name, parts, {_place(shelf, base)[0] for shelf in (*pictures, *others) if _place(shelf, base)})
    return JoinedImages(name, members, skipped, [note])


def forget_names(folder: Path, cache: Path) -> None:
    """Have all names of this folder read anew the next time, where a disk does not say of its folders that they
    changed."""
    with contextlib.suppress(OSError):
        memory_files(folder, cache)[0].unlink(missing_ok=True)


def memory_files(folder: Path, cache: Path) -> tuple[Path, Path]:
    """Where the cache remembers the names of all files of this folder, and what was seen of single ones."""
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:20]
    return cache / "images" / f"{digest}.index", cache / "images" / f"{digest}.seen"


def _joined(base: str, folder: str) -> str:
    return f"{base}{SEPARATOR}{folder}" if base else folder


def _is_in(shelf: Shelf, base: str) -> bool:
    return not base or shelf.folder == base or shelf.folder.startswith(base + SEPARATOR)


def _place(shelf: Shelf, base: str) -> tuple[str, ...]:
    """The folders between `base` and the shelf's files."""
    inner = shelf.folder[len(base) :].strip(SEPARATOR)
    return tuple(inner.split(SEPARATOR)) if inner else ()


def _left_out(shelves: Iterable[Shelf], base: str, reason: str) -> list[Skipped]:
    start = len(base) + 1 if base else 0
    return [Skipped(shown(file[start:]), reason) for shelf in shelves for file in shelf.paths()]


def _inside_wrapping(pictures: Sequence[Shelf]) -> str:
    """Past folders that hold all there is, in folders of their own; one folder of images alone is a class."""
    base = ""
    while _find_parts(base, pictures) is None:
        places = [_place(shelf, base) for shelf in pictures]
        alone = len({place[:1] for place in places}) == 1 and all(len(place) > 1 for place in places)
        if not alone or len({place[:2] for place in places}) < 2:
            break
        base = _joined(base, places[0][0])
    return base


def _find_parts(base: str, pictures: Sequence[Shelf]) -> dict[str, frozenset[Role]] | None:
    """Folders that are parts of a divided set, with their roles; None where folders, if any, are classes."""
    places = {_place(shelf, base) for shelf in pictures}
    folders = sorted({place[0] for place in places if place})
    by_name = {folder.lower(): folder for folder in folders}
    train = next((by_name[name] for name in TRAIN if name in by_name), None)
    if train is None or len(by_name) < len(folders) or not by_name.keys() <= {*TRAIN, *HELD_OUT}:
        return None
    of_classes = {place[0] for place in places if len(place) > 1}
    for name in HELD_OUT:
        held_out = by_name.get(name)
        if held_out is not None and (held_out in of_classes) == (train in of_classes):
            return {train: frozenset({"calibration", "gallery"}), held_out: frozenset({"query"})}
    return {train: ALL_ROLES}


def _parts_note(name: str, parts: dict[str, frozenset[Role]], folders: set[str]) -> str:
    others = sorted({shown(folder) for folder in folders} - {shown(folder) for folder in parts})
    aside = f"; {', '.join(others)} {'are' if len(others) > 1 else 'is'} left out" if others else ""
    train, *held_out = map(shown, parts)
    if not held_out:
        return f"Of {name} the images in {train} are taken, for everything{aside}."
    return f"{name} is divided already: {train} calibrates and is the gallery, {held_out[0]} gives the queries{aside}."


def _open_files(
    base: str,
    name: str,
    pictures: Sequence[Shelf],
    others: Sequence[Shelf],
    skipped: list[Skipped],
    seen: SeenFiles,
    check: Check,
    notes: Sequence[str] = (),
) -> ImageFiles:
    """The pictures, all below `base`: of a class a folder if there are folders, else without labels."""
    skipped = skipped + _left_out(others, base, "its name does not end like an image's")
    inside = [shelf for shelf in pictures if shelf.folder != base]
    if inside:
        beside = [shelf for shelf in pictures if shelf.folder == base]
        skipped += _left_out(beside, base, "it lies outside the class folders")
    taken = inside or pictures
    folders = [_place(shelf, base)[0] for shelf in inside]
    classes = sorted(set(folders))
    labels = None
    if classes:
        number = {folder: i for i, folder in enumerate(classes)}
        labels = np.repeat([number[folder] for folder in folders], [shelf.count for shelf in inside])
    named = [shown(folder) for folder in classes]
    source = ImageFiles(name, seen, FileNames(taken), labels, named, skipped, base, check)
    source.notes = (*notes, *source.notes)
    return source
