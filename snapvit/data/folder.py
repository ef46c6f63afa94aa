"""Folders of images: one folder a class, or a flat one without labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from snapvit.data.files import Candidate, Check, ImageFiles, go_on, shown
from snapvit.data.image_source import Skipped
from snapvit.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
MOST_FILES = 100_000


def open_folder(path: Path, name: str, cache: Path | None = None, check: Check = go_on) -> ImageFiles:
    """The images under `path`, in the order of their names.

    Where folders in it hold images, each of them is a class, with all below it; else the images in `path` itself are
    taken without labels. Hidden files are ignored. What was seen of each file is remembered under `cache`;
    `check` is called after each and may raise to stop. Raises InputError where there is no such folder.
    """
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise InputError(
            f"The image folder {shown(path)} {found}; put it there, or name a folder of images or of a folder a class."
        )
    entries, skipped = _scan(path)
    pictures = [file for file in entries if file.suffix.lower() in SUFFIXES]
    skipped += [
        Skipped(shown(file.relative_to(path)), "its name does not end like an image's")
        for file in entries
        if file.suffix.lower() not in SUFFIXES
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
    verdicts = None
    if cache is not None:
        verdicts = cache / "images" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:20]}.json"
    return ImageFiles(name, candidates, [shown(folder) for folder in classes], skipped, verdicts, check)


def _scan(root: Path) -> tuple[list[Path], list[Skipped]]:
    """All files under `root` in a fixed order, hidden ones aside, and the folders that could not be entered."""
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
            if entry.name.startswith("."):
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
