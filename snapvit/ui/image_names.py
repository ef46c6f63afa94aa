"""A run's images for people, from the name that the run keeps."""

from __future__ import annotations

from pathlib import PurePath

from snapvit.data.fashion_mnist import BUNDLED
from snapvit.data.sources import FOLDER, TORCHVISION, UPLOAD
from snapvit.data.torchvision_sets import find_set
from snapvit.ui.names import as_markdown


def images_in_words(data: str) -> str:
    """In a sentence of markdown: `the images in /home/me/birds`."""
    if data == BUNDLED:
        return "Fashion-MNIST's test images"
    if data.startswith(FOLDER):
        return f"the images in {as_markdown(data.removeprefix(FOLDER))}"
    if data.startswith(TORCHVISION):
        known = find_set(data.removeprefix(TORCHVISION))
        return f"{known.label}, {known.part}"
    return "the images of an uploaded zip" if data.startswith(UPLOAD) else as_markdown(data)


def images_in_short(data: str) -> str:
    """In a title: `birds`, `CIFAR-10`, `zip 3fa81c`."""
    if data.startswith(FOLDER):
        return PurePath(data.removeprefix(FOLDER)).name or data
    if data.startswith(TORCHVISION):
        return find_set(data.removeprefix(TORCHVISION)).label
    return f"zip {data.removeprefix(UPLOAD)[:6]}" if data.startswith(UPLOAD) else data
