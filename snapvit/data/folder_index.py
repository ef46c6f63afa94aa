"""The names of all files under a folder, remembered: opening it again asks each folder only whether it changed.

Adding, taking away or renaming a file changes the stamp of the folder that it lies in: a folder whose stamp is as it
was when it was listed holds the same names, and is not listed again. What is in a file is no matter of the index; that
is looked at when the file is used (`seen_files`).
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snapvit.data.image_source import Check, Skipped, go_on
from snapvit.data.remembered import recall, remember
from snapvit.data.seen_files import SETTLED_NS, shown

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx"),  # read where Pillow can, else named
)
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
SCHEMA = 1  # rises when other names are taken for images or clutter
SEPARATOR = "/"  # in no file's name, so that the names of a folder can be kept as one text
CHECKED_FILES = 10_000  # listed between two looks at whether to stop

Stamp = tuple[int, ...]


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name was left by a system and is nobody's image or class."""
    return name.startswith(".") or name.lower() in CLUTTER


def is_picture(name: str) -> bool:
    """Whether a name ends like an image's."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


@dataclass(frozen=True)
class Shelf:
    """Some of a folder's files, one after the other in the order of names."""

    folder: str  # below the root; empty for the root itself
    names: str  # joined by SEPARATOR: a list of strings would take three times the memory
    count: int

    def paths(self) -> list[str]:
        """Below the root."""
        before = self.folder + SEPARATOR if self.folder else ""
        return [before + name for name in self.names.split(SEPARATOR)]


class FileNames(Sequence[str]):
    """Paths of files below a root, numbered through, kept folder by folder."""

    def __init__(self, shelves: Sequence[Shelf]) -> None:
        self.shelves = tuple(shelves)
        self._starts = [0, *accumulate(shelf.count for shelf in self.shelves)]
        self._ends: dict[int, NDArray[np.int32]] = {}  # of shelves that were asked: where each name ends

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._starts, index) - 1
        shelf, ends, row = self.shelves[number], self._ends.get(number), index - self._starts[number]
        if ends is None:
            ends = np.cumsum([len(name) + 1 for name in shelf.names.split(SEPARATOR)], dtype=np.int32)
            self._ends[number] = ends
        name = shelf.names[ends[row - 1] if row else 0 : ends[row] - 1]
        return f"{shelf.folder}{SEPARATOR}{name}" if shelf.folder else name

    def __iter__(self) -> Iterator[str]:
        for shelf in self.shelves:
            yield from shelf.paths()


@dataclass(frozen=True)
class FolderFiles:
    """What lies under a root, clutter aside, each in the order of the names of folders and files."""

    pictures: FileNames
    others: FileNames  # files that are named unlike images
    unread: tuple[Skipped, ...]  # folders that could not be entered


@dataclass(frozen=True)
class _Listing:
    """One folder's own content, each in the order of names."""

    stamp: Stamp | None  # None: it changed so lately that it may change again without another stamp
    pictures: str  # joined by SEPARATOR
    others: str
    folders: tuple[str, ...]
    links: tuple[str, ...]  # that lead to folders


def index_folder(root: Path, memory: Path | None = None, check: Check = go_on) -> FolderFiles:
    """Everything under `root`. `memory` is a file in the cache that keeps the index; `check` may raise to stop.

    Folders are entered before links to them, so that where a link leads to a folder that is read already, it is the
    link that is left out.
    """
    known = _recalled(memory)
    found: dict[str, _Listing] = {}
    unread: dict[str, str] = {}
    seen: set[tuple[int, int]] = set()
    listed, links = 0, []
    for waiting in ([""], links):
        while waiting:
            folder = waiting.pop()
            check()
            path = os.path.join(root, folder)
            try:
                status = os.stat(path)
                if (status.st_dev, status.st_ino) in seen:
                    unread[folder] = "it is a link to a folder that is read already"
                    continue
                seen.add((status.st_dev, status.st_ino))
                listing = known.get(folder)
                if listing is None or listing.stamp is None or listing.stamp != _stamp(status):
                    listing = _list(path, _stamp(status), check)
                    listed += 1
            except OSError as error:
                unread[folder] = f"it cannot be read ({error.strerror or type(error).__name__})"
                continue
            found[folder] = listing
            below = folder + SEPARATOR if folder else ""
            # The last is entered first.
            waiting += [below + name for name in reversed(listing.folders)]
            links[:0] = [below + name for name in reversed(listing.links)]
    if listed or found.keys() != known.keys():
        remember(memory, SCHEMA, {folder: _plain(listing) for folder, listing in found.items()})
    skipped = tuple(Skipped(shown(folder) or ".", reason) for folder, reason in sorted(unread.items()))
    pictures = FileNames(list(_in_order(found, "pictures")))
    return FolderFiles(pictures, FileNames(list(_in_order(found, "others"))), skipped)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _list(path: str, stamp: Stamp, check: Check) -> _Listing:
    settled = time.time_ns() - max(stamp[1:]) > SETTLED_NS
    pictures, others, folders, links = [], [], [], []
    with os.scandir(path) as entries:
        for number, entry in enumerate(entries):
            if number % CHECKED_FILES == 0:
                check()
            if is_clutter(entry.name):
                continue
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(entry.name)
            else:
                (pictures if is_picture(entry.name) else others).append(entry.name)
    joined = [SEPARATOR.join(sorted(names)) for names in (pictures, others)]
    return _Listing(stamp if settled else None, *joined, tuple(sorted(folders)), tuple(sorted(links)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere; reading it as a file says so
        return False


def _in_order(found: dict[str, _Listing], kind: str) -> Iterator[Shelf]:
    """The files of all folders: a folder's content stands where its own name does among the names beside it."""
    waiting: list[str | Shelf] = [""]
    while waiting:
        next_one = waiting.pop()
        if isinstance(next_one, Shelf):
            yield next_one
            continue
        listing = found[next_one]
        joined = getattr(listing, kind)
        below = next_one + SEPARATOR if next_one else ""
        inside = sorted(name for name in (*listing.folders, *listing.links) if below + name in found)
        if not inside:
            waiting += _shelf(next_one, joined.split(SEPARATOR) if joined else [])
            continue
        names, start, pieces = joined.split(SEPARATOR) if joined else [], 0, []
        for folder in inside:
            stop = bisect_left(names, folder)
            pieces += [*_shelf(next_one, names[start:stop]), below + folder]
            start = stop
        waiting += [*pieces, *_shelf(next_one, names[start:])][::-1]


def _shelf(folder: str, names: list[str]) -> list[Shelf]:
    return [Shelf(folder, SEPARATOR.join(names), len(names))] if names else []


def _plain(listing: _Listing) -> list:
    return [listing.stamp, listing.pictures, listing.others, listing.folders, listing.links]


def _recalled(memory: Path | None) -> dict[str, _Listing]:
    content = recall(memory, SCHEMA) or {}
    return {
        folder: _Listing(None if stamp is None else tuple(stamp), pictures, others, tuple(folders), tuple(links))
        for folder, (stamp, pictures, others, folders, links) in content.items()
    }
