"""What every image source is. Every image has a number in its source, its id, that stays with it on every page."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from snapvit.artifacts import Ints
from snapvit.data.decoding import Pixels


@dataclass(frozen=True)
class Skipped:
    """A file, or a folder, that a source leaves out."""

    file: str
    reason: str  # after "because": "it is empty"


class ImageSource(ABC):
    """A numbered set of images, decoded one at a time."""

    name: str
    labels: Ints | None = None  # (N,) class numbers, None where nobody labelled them
    class_names: tuple[str, ...] = ()  # empty without labels
    skipped: tuple[Skipped, ...] = ()  # what was found beside the images and cannot be used

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def image(self, index: int) -> Pixels:
        """(h, w, 3) uint8, red first, at the size it was stored in; very large ones are reduced."""

    @abstractmethod
    def content(self, index: int) -> str:
        """sha256 of one image: of its file, or of its pixels where there is no file. Known without reading again."""

    def digest_of(self, ids: Ints) -> str:
        """sha256 over contents and labels of just these images, in this order. Names and places do not count."""
        digest = hashlib.sha256()
        for i in ids:
            label = "" if self.labels is None else self.labels[i]
            digest.update(f"{self.content(i)} {label}\n".encode())
        return digest.hexdigest()


def pixel_digests(images: Iterable[Pixels]) -> list[str]:
    """sha256 of each image's shape and pixels."""
    return [hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest() for image in images]
