"""Public data sets by name: real files in the publishers' layouts, and what is said without them or a network."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from image_samples import noise, packed
from torchvision import datasets

from snapvit.data import torchvision_sets
from snapvit.data.sources import canonical_name, open_source
from snapvit.data.torchvision_sets import SETS, data_root
from snapvit.errors import InputError

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SNAPVIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def write_cifar(root: Path, pixels: np.ndarray, labels: list[int]) -> dict[str, str]:
    """CIFAR-10's test batch and names as its publisher pickles them; md5 of each file."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    batch = {"data": pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1), "labels": labels}
    for name, content in (("test_batch", batch), ("batches.meta", {"label_names": list(NAMES)})):
        (folder / name).write_bytes(pickle.dumps(content))
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_cifar_from_its_files(root, monkeypatch):
    pixels = np.stack([noise(i, 32, 32) for i in range(12)])
    labels = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
    sums = write_cifar(root, pixels, labels)
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", datasets.CIFAR10.meta | {"md5": sums["batches.meta"]})
    source = open_source("torchvision:cifar-10")
    assert (source.name, len(source), source.class_names) == ("torchvision:CIFAR10", 12, NAMES)
    assert source.labels.tolist() == labels
    for i in range(12):
        np.testing.assert_array_equal(source.image(i), pixels[i])
    ids = np.array([4, 2, 7])
    assert source.digest_of(ids) == open_source("torchvision:CIFAR10").digest_of(ids)
    assert source.digest_of(ids) not in (source.digest_of(ids[::-1]), source.digest_of(ids[:2]))


def test_equal_images_in_memory_are_named():
    pixels = np.stack([noise(0), noise(0), noise(1), noise(2)])
    source = torchvision_sets.ImageArray("some set", pixels, np.array([0, 0, 1, 1]), ("auk", "owl"))
    assert source.notes == ("All images of a class have the same content in some set: 'auk' (2 images).",)


class Payload:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_pickle_that_is_not_the_publisher_s_is_never_opened(root, monkeypatch):
    monkeypatch.setattr(torchvision_sets, "_answers", lambda host: False)  # else it would be downloaded anew
    write_cifar(root, np.zeros((1, 32, 32, 3), np.uint8), [0])
    for name in ("test_batch", "batches.meta"):
        (root / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(Payload(root / "ran")))
    with pytest.raises(InputError, match="CIFAR-10 is not in"):
        open_source("torchvision:CIFAR10")
    assert not (root / "ran").exists()


def test_a_set_of_picture_files_skips_what_cannot_be_read(root):
    """DTD's layout: lists of files for ten partitions, and a folder a class."""
    folder = root / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    lines = []
    for label in ("banded", "dotted"):
        (folder / "images" / label).mkdir(parents=True)
        for i in range(6):
            raw = packed(noise(i), "PNG")
            (folder / "images" / label / f"{i}.jpg").write_bytes(raw[:90] if (label, i) == ("dotted", 2) else raw)
            lines.append(f"{label}/{i}.jpg")
    (folder / "labels" / "test1.txt").write_text("\n".join(reversed(lines)))
    source = open_source("torchvision:DTD", root / "cache")
    assert source.class_names == ("banded", "dotted")
    assert source.labels.tolist() == [1] * 5 + [0] * 6
    assert [s.file for s in source.skipped] == ["dotted/2.jpg"]
    np.testing.assert_array_equal(source.image(0), noise(5))


def test_every_set_is_one_that_torchvision_has():
    for known in SETS:
        assert hasattr(datasets, known.name)
        assert canonical_name(f"torchvision:{known.label}") == f"torchvision:{known.name}"


@pytest.mark.parametrize("name", ["cifar10", "CIFAR-10", "Cifar_10"])
def test_names_are_taken_in_any_spelling(name):
    assert canonical_name(f"torchvision:{name}") == "torchvision:CIFAR10"


@pytest.mark.parametrize("name", ["", "ImageNet", "../x"])
def test_an_unknown_set_is_refused_with_the_known_ones(name):
    with pytest.raises(InputError, match=r"no torchvision data set named .*CIFAR10, CIFAR100, OxfordIIITPet, DTD"):
        open_source(f"torchvision:{name}")


@pytest.mark.parametrize("known", SETS, ids=lambda s: s.name)
def test_without_files_and_network_one_sentence_says_what_to_do(root, known, monkeypatch):
    monkeypatch.setattr(torchvision_sets, "getproxies", dict)
    monkeypatch.setattr(torchvision_sets.socket, "create_connection", unreachable)
    with pytest.raises(InputError, match=rf"is not in .*data and {known.host} does not answer; .*SNAPVIT_DATA"):
        open_source(f"torchvision:{known.name}")
    assert not root.exists()


def unreachable(*_: object, **__: object) -> None:
    raise OSError("Network is unreachable")


def test_a_server_that_is_silent_is_given_up_soon(root, monkeypatch):
    """A proxy that takes the connection and never answers."""
    import socket
    import urllib.request

    monkeypatch.setattr(urllib.request, "_opener", None)  # which was made once for all, with the proxies of that moment
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, address)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setattr(torchvision_sets, "NETWORK_SECONDS", 0.5)
        with pytest.raises(InputError, match="downloading failed"):
            open_source("torchvision:STL10")
    assert socket.getdefaulttimeout() is None


def test_the_folder_of_downloads(monkeypatch, tmp_path):
    monkeypatch.delenv("SNAPVIT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_root() == tmp_path / "snapvit" / "data"
    monkeypatch.setenv("SNAPVIT_DATA", "/elsewhere")
    assert data_root() == Path("/elsewhere")
