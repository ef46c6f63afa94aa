"""Folders of images: one folder a class, or a flat one without labels; either may be divided into train and val."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from snapvit.data.files import Candidate, Check, ImageFiles, go_on, shown
from snapvit.data.image_source import ALL_ROLES, ImageSource, Role, Skipped
from snapvit.data.joined import JoinedImages, Member
from snapvit.errors import InputError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx"),  # read where Pillow can, else named
)
MOST_FILES = 100_000
TRAIN = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "test", "testing")  # the first that is there gives the queries
CLUTTER = {  # names in lower case; hidden ones, such as .thumbnails, go without saying
    "@eadir",
    "@recently-snapshot",
    "@recycle",
    "@tmp",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "__macosx",
    "desktop.ini",
    "ehthumbs.db",
    "icon\r",
    "lost+found",
    "recycler",
    "system volume information",
    "thumbs.db",
}


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name was left by a system and is nobody's image or class."""
    return name.startswith(".") or name.lower() in CLUTTER


def open_folder(path: Path, name: str, cache: Path | None = None, check: Check = go_on) -> ImageSource:
    """The images under `path`, in the order of their names.

    A folder around all class folders is taken off. Where folders hold images, each of them is a class, with all below
    it; else the images in `path` itself are taken without labels. Where those folders are `train` and `val` (or alike),
    they are no classes but parts, each read in this way: train calibrates and is the gallery, val gives the queries.
    Hidden files and what systems leave behind are ignored. What was seen of each file is remembered under `cache`;
    `check` is called after each and may raise to stop. Raises InputError where there is no such folder.
    """
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise InputError(
            f"The image folder {shown(path)} {found}; put it there, or name a folder of images or of a folder a class."
        )
    files, unread = _scan(path)
    outer, path = path, _inside_wrapping(path, [file for file in files if _is_picture(file)])
    wrapped = []
    if path != outer:
        wrapped = [f"All images of {name} lie in {shown(path.relative_to(outer))}, whose folders are the classes."]
        outside = [file for file in files if not file.is_relative_to(path)]
        unread += [Skipped(shown(file.relative_to(outer)), "it lies outside the class folders") for file in outside]
        files = [file for file in files if file.is_relative_to(path)]
    parts = _find_parts(path, [file for file in files if _is_picture(file)])
    if parts is None:
        return _open_files(path, name, files, unread, cache, check, wrapped)
    members, skipped = [], unread
    for folder, roles in parts.items():
        inside = [file for file in files if file.relative_to(path).parts[0] == folder]
        source = _open_files(path / folder, f"{name}/{shown(folder)}", inside, [], cache, check)
        members.append(Member(source, roles))
        skipped += [Skipped(f"{shown(folder)}/{s.file}", s.reason) for s in source.skipped]
    skipped += [Skipped(shown(file.name), "it lies outside the parts") for file in files if file.parent == path]
    return JoinedImages(name, members, skipped, [_parts_note(path, name, parts, files)])


def _inside_wrapping(path: Path, pictures: list[Path]) -> Path:
    """Past folders that hold all there is, in folders of their own; one folder of images alone is a class."""
    while _find_parts(path, pictures) is None:
        places = [file.relative_to(path).parts for file in pictures]
        folders = {place[:2] for place in places}
        alone = len({place[0] for place in places}) == 1 and all(len(place) > 2 for place in places)
        if not alone or len(folders) < 2:
            break
        path /= places[0][0]
    return path


def _find_parts(path: Path, pictures: list[Path]) -> dict[str, frozenset[Role]] | None:
    """Folders that are parts of a divided set, with their roles; None where folders, if any, are classes."""
    places = [file.relative_to(path).parts for file in pictures]
    folders = sorted({place[0] for place in places if len(place) > 1})
    by_name = {folder.lower(): folder for folder in folders}
    train = next((by_name[name] for name in TRAIN if name in by_name), None)
    if train is None or len(by_name) < len(folders) or not by_name.keys() <= {*TRAIN, *HELD_OUT}:
        return None
    of_classes = {place[0] for place in places if len(place) > 2}
    for name in HELD_OUT:
        held_out = by_name.get(name)
        if held_out is not None and (held_out in of_classes) == (train in of_classes):
            return {train: frozenset({"calibration", "gallery"}), held_out: frozenset({"query"})}
    return {train: ALL_ROLES}


def _parts_note(path: Path, name: str, parts: dict[str, frozenset[Role]], files: list[Path]) -> str:
    places = [file.relative_to(path).parts for file in files]
    others = sorted({shown(place[0]) for place in places if len(place) > 1} - {shown(folder) for folder in parts})
    aside = f"; {', '.join(others)} {'are' if len(others) > 1 else 'is'} left out" if others else ""
    train, *held_out = map(shown, parts)
    if not held_out:
        return f"Of {name} the images in {train} are taken, for everything{aside}."
    return f"{name} is divided already: {train} calibrates and is the gallery, {held_out[0]} gives the queries{aside}."


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _open_files(
    path: Path,
    name: str,
    files: list[Path],
    unread: list[Skipped],
    cache: Path | None,
    check: Check,
    notes: Sequence[str] = (),
) -> ImageFiles:
    """The pictures of `files`, all under `path`: of a class a folder if there are folders, else without labels."""
    pictures = [file for file in files if _is_picture(file)]
    skipped = unread + [
        Skipped(shown(file.relative_to(path)), "its name does not end like an image's")
        for file in files
        if not _is_picture(file)
    ]
    inside = [file for file in pictures if file.parent != path]
    if inside:
        skipped += [
            Skipped(shown(file.name), "it lies outside the class folders") for file in pictures if file.parent == path
        ]
        pictures = inside
    classes = sorted({file.relative_to(path).parts[0] for file in inside})
    numbers = {folder: number for number, folder in enumerate(classes)}
    places = [file.relative_to(path) for file in pictures]
    candidates = [
        Candidate(file, shown(place), numbers.get(place.parts[0])) for file, place in zip(pictures, places, strict=True)
    ]
    verdicts = None if cache is None else verdicts_file(path, cache)
    source = ImageFiles(name, candidates, [shown(folder) for folder in classes], skipped, verdicts, check)
    source.notes = (*notes, *source.notes)
    return source


def verdicts_file(folder: Path, cache: Path) -> Path:
    """Where the cache remembers which files of this folder are pictures."""
    return cache / "images" / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:20]}.json"


def _scan(root: Path) -> tuple[list[Path], list[Skipped]]:
    """All files under `root` in a fixed order, clutter aside, and the folders that could not be entered."""
    files, skipped = [], []
    for found in _walk(root, set()):
        if isinstance(found, Skipped):
            skipped.append(found)
        elif len(files) < MOST_FILES:
            files.append(found)
        else:
            raise InputError(
                f"The image folder {shown(root)} holds more than {MOST_FILES:,} files; name a smaller one, for example "
                "the validation images of a data set."
            )
    files.sort(key=lambda file: file.relative_to(root).parts)
    return files, [Skipped(shown(Path(s.file).relative_to(root)), s.reason) for s in skipped]


def _walk(root: Path, seen: set[tuple[int, int]]) -> Iterator[Path | Skipped]:
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:  # a link may lead back up, or twice to the same images
                yield Skipped(str(folder), "it is a link to a folder that is read already")
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError as error:
            yield Skipped(str(folder), f"it cannot be read ({error.strerror or type(error).__name__})")
            continue
        folders = []
        for entry in entries:
            if is_clutter(entry.name):
                continue
            if _is_folder(entry):
                folders.append(entry)
            else:
                yield Path(entry.path)
        # The last is entered first: links come after real folders, so that it is the link that is left out.
        waiting += [Path(e.path) for e in sorted(folders, key=lambda e: (not e.is_symlink(), e.name))]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere; reading it as a file says so
        return False
