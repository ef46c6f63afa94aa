"""What every image source is. Every image has a number in its source, its id, that stays with it on every page."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from snapvit.artifacts import Bools, Ints
from snapvit.data.decoding import Pixels

Check = Callable[[], None]  # called between two pieces of work; it may raise to stop


def go_on() -> None:
    """A check that nobody asked to stop."""


NAMED = 5  # classes that a sentence lists
UNLABELLED = -1  # the label of an image without one, in a source where others have one

Role = Literal["calibration", "gallery", "query"]
ALL_ROLES: frozenset[Role] = frozenset({"calibration", "gallery", "query"})


@dataclass(frozen=True)
class Skipped:
    """A file, or a folder, that a source leaves out."""

    file: str
    reason: str  # after "because": "it is empty"


@dataclass(frozen=True)
class Part:
    """A range of a source's ids, to be divided among some roles; no role is in two parts of one source."""

    name: str  # for people
    ids: range
    roles: frozenset[Role]
    skipped: int  # files beside these images that cannot be used


class ImageSource(ABC):
    """A numbered set of images, decoded one at a time."""

    name: str
    labels: Ints | None = None  # (N,) class numbers, some UNLABELLED; None where nobody labelled any
    class_names: tuple[str, ...] = ()  # empty without labels
    skipped: tuple[Skipped, ...] = ()  # what was found beside the images and cannot be used
    notes: tuple[str, ...] = ()  # sentences worth telling when the source is opened
    whole: bool = True  # every image was looked at and can be used; else that is seen when it is asked for

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def image(self, index: int) -> Pixels:
        """(h, w, 3) uint8, red first, at the size it was stored in; very large ones are reduced."""

    @abstractmethod
    def content(self, index: int) -> str:
        """sha256 of one image: of its file, or of its pixels where there is no file. No image is read twice for it."""

    def usable(self, ids: Ints, check: Check = go_on) -> Bools:
        """(N,) whether each of these images can be used; in a source that is not `whole` they are looked at now."""
        return np.ones(len(ids), bool)

    def reader(self, index: int) -> Callable[[], Pixels] | None:
        """What gives one image in another process too; None where the images are in memory."""
        return None

    @property
    def parts(self) -> tuple[Part, ...]:
        """What the images may be used for: all of them for everything, unless a source says otherwise."""
        return (Part(self.name, range(len(self)), ALL_ROLES, len(self.skipped)),)

    def digest_of(self, ids: Ints) -> str:
        """sha256 over contents and labels of just these images, in this order. Names and places do not count."""
        digest = hashlib.sha256()
        for i in ids:
            label = UNLABELLED if self.labels is None else self.labels[i]
            digest.update(f"{self.content(i)} {label}\n".encode())
        return digest.hexdigest()


def equal_notes(source: ImageSource, ids: Ints) -> tuple[str, ...]:
    """A sentence where all of these images, or all of a class, have the same content: nothing can be told from them."""
    contents = np.array([source.content(int(i)) for i in ids])
    if len(contents) > 1 and (contents == contents[0]).all():
        return (f"All {len(contents)} images of {source.name} have the same content.",)
    if source.labels is None or not len(ids):
        return ()
    _, numbers = np.unique(contents, return_inverse=True)
    order = np.argsort(source.labels[ids], kind="stable")
    labels, starts = np.unique(source.labels[ids][order], return_index=True)
    alike = []
    for label, of_class in zip(labels.tolist(), np.split(numbers[order], starts[1:]), strict=True):
        if label != UNLABELLED and len(of_class) > 1 and (of_class == of_class[0]).all():
            alike.append(f"{source.class_names[label]!r} ({len(of_class)} images)")
    if not alike:
        return ()
    others = f" and {len(alike) - NAMED} more" if len(alike) > NAMED else ""
    return (f"All images of a class have the same content in {source.name}: {', '.join(alike[:NAMED])}{others}.",)


def pixel_digests(images: Iterable[Pixels]) -> list[str]:
    """sha256 of each image's shape and pixels."""
    return [hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest() for image in images]
