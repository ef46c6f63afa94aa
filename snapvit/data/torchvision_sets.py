"""Public data sets by name, through torchvision, which is imported when one is opened.

CIFAR's files are pickles. They are the publisher's own: torchvision compares each with the md5 it knows before it reads
it and refuses any other file, so nothing foreign is ever unpickled.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import getproxies

import numpy as np

from snapvit.artifacts import Ints
from snapvit.data.decoding import Pixels
from snapvit.data.files import ImageFiles
from snapvit.data.image_source import Check, ImageSource, equal_notes, go_on, pixel_digests
from snapvit.data.seen_files import SeenFiles, shown
from snapvit.errors import InputError
from snapvit.paths import absolute, user_cache

NETWORK_SECONDS = 6.0  # that a server may be silent, at each step


@dataclass(frozen=True)
class DataSet:
    """What is known of a set before it is opened. Images are those of its test split, where it has one."""

    name: str  # of torchvision's class
    label: str
    images: int
    classes: int
    host: str  # where it is downloaded from
    split: Mapping[str, Any] = field(default_factory=lambda: {"split": "test"})
    part: str = "test split"
    labels: str = "_labels"  # the attribute of torchvision's class that holds them
    files: str | None = "_image_files"  # likewise its paths; None: its pixels are in memory, as `data`


SETS = (
    DataSet("CIFAR10", "CIFAR-10", 10_000, 10, "www.cs.toronto.edu", {"train": False}, labels="targets", files=None),
    DataSet("CIFAR100", "CIFAR-100", 10_000, 100, "www.cs.toronto.edu", {"train": False}, labels="targets", files=None),
    DataSet("OxfordIIITPet", "Oxford-IIIT Pets", 3_669, 37, "www.robots.ox.ac.uk", files="_images"),
    DataSet("DTD", "DTD, describable textures", 1_880, 47, "www.robots.ox.ac.uk"),
    DataSet("EuroSAT", "EuroSAT", 27_000, 10, "huggingface.co", {}, "whole set", "targets", "samples"),
    DataSet("FGVCAircraft", "FGVC-Aircraft", 3_333, 100, "www.robots.ox.ac.uk"),
    DataSet("Flowers102", "Flowers-102", 6_149, 102, "thor.robots.ox.ac.uk"),
    DataSet("STL10", "STL-10", 8_000, 10, "ai.stanford.edu", labels="labels", files=None),
)


def find_set(name: str) -> DataSet:
    """The set of this name, whatever its case and hyphens. Raises InputError for an unknown one."""
    asked = _folded(name)
    for known in SETS:
        if asked in (_folded(known.name), _folded(known.label)):
            return known
    raise InputError(
        f"There is no torchvision data set named {name!r} here; there are {', '.join(s.name for s in SETS)}."
    )


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def data_root() -> Path:
    """Where downloaded sets lie: SNAPVIT_DATA, or a folder in the user's cache."""
    return absolute(os.environ.get("SNAPVIT_DATA") or user_cache() / "data")


def open_set(set_name: str, name: str, cache: Path | None = None, check: Check = go_on) -> ImageFiles | ImageArray:
    """The set as a source called `name`, downloaded first where it is not on disk.

    Raises InputError for an unknown set and, within seconds, where it is not on disk and cannot be downloaded.
    """
    known = find_set(set_name)
    data = _load(known, data_root())
    labels = np.asarray(getattr(data, known.labels), np.int64)
    if known.files is None:
        pixels = data.data if data.data.shape[-1] == 3 else data.data.transpose(0, 2, 3, 1)  # STL-10 is (N, 3, h, w)
        return ImageArray(name, pixels, labels, tuple(data.classes))
    paths = [os.path.abspath(entry[0] if isinstance(entry, tuple) else entry) for entry in getattr(data, known.files)]
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    seen = SeenFiles(Path(root), None if cache is None else cache / "images" / f"torchvision-{known.name}.seen")
    files = [os.path.relpath(path, root) for path in paths]
    return ImageFiles(name, seen, files, labels, tuple(data.classes), check=check)


class ImageArray(ImageSource):
    """Labelled images in memory, all of one size."""

    def __init__(self, name: str, pixels: Pixels, labels: Ints, class_names: tuple[str, ...]) -> None:
        """pixels (N, h, w, 3) uint8, labels (N,)."""
        self.name, self.class_names = name, class_names
        self.labels = labels
        self._pixels = np.ascontiguousarray(pixels)
        self._contents = pixel_digests(self._pixels)
        self.notes = equal_notes(self, np.arange(len(self)))

    def __len__(self) -> int:
        return len(self._pixels)

    def image(self, index: int) -> Pixels:
        """(h, w, 3) uint8."""
        return self._pixels[index]

    def content(self, index: int) -> str:
        """sha256 of the image's pixels."""
        return self._contents[index]


def _load(known: DataSet, root: Path) -> Any:
    from torchvision import datasets

    make = getattr(datasets, known.name)
    try:
        return make(root, download=False, **known.split)
    except RuntimeError:  # not there, or not the publisher's files
        pass
    except (OSError, ValueError) as error:
        raise _unavailable(known, root, f"what is there cannot be read ({_reason(error)})") from error
    if not _answers(known.host):
        raise _unavailable(known, root, f"{known.host} does not answer")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _silence_limited():
            return make(root, download=True, **known.split)
    except (OSError, RuntimeError, ValueError, EOFError, URLError) as error:
        raise _unavailable(known, root, f"downloading failed ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:120]


def _unavailable(known: DataSet, root: Path, why: str) -> InputError:
    return InputError(
        f"{known.label} is not in {shown(root)} and {why}; check the network, or let SNAPVIT_DATA name the folder "
        "where torchvision keeps it."
    )


def _answers(host: str) -> bool:
    if getproxies():  # then nothing is reached directly, and the download finds out
        return True
    try:
        socket.create_connection((host, 443), NETWORK_SECONDS).close()
    except OSError:
        return False
    return True


@contextmanager
def _silence_limited() -> Iterator[None]:
    """torchvision sets no time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
