"""Uploaded zips: what is unpacked, what is refused, and that a refused one leaves nothing behind."""

from __future__ import annotations

import io
import shutil
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_samples import noise, packed

from snapvit.data import archive
from snapvit.data.archive import unpack_upload
from snapvit.data.sources import open_source
from snapvit.errors import InputError

PICTURE = packed(noise(0), "PNG")


def zipped(entries: dict[str | zipfile.ZipInfo, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return buffer.getvalue()


def left(cache: Path) -> list[str]:
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*"))


def birds(prefix: str = "") -> dict[str, bytes]:
    names = [f"{prefix}{kind}/{i}.png" for kind in ("auk", "owl") for i in range(5)]
    return {name: packed(noise(i), "PNG") for i, name in enumerate(names)}


@pytest.mark.parametrize("prefix", ["", "birds/", "my pictures/birds/", "./"])
@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_class_folders_become_classes_wherever_they_lie(tmp_path, prefix, packing):
    name = unpack_upload(zipped(birds(prefix), packing), tmp_path)
    source = open_source(name, tmp_path)
    assert source.name == name
    assert source.class_names == ("auk", "owl")
    assert source.labels.tolist() == [0] * 5 + [1] * 5
    for i in range(10):
        np.testing.assert_array_equal(source.image(i), noise(i))


def test_the_same_zip_has_the_same_name_and_is_unpacked_once(tmp_path):
    raw = zipped(birds())
    name = unpack_upload(raw, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert unpack_upload(raw, tmp_path) == name
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    assert unpack_upload(raw, tmp_path / "other") == name
    assert unpack_upload(zipped(birds("x/")), tmp_path) != name


def test_images_alone_are_unlabelled(tmp_path):
    raw = zipped({f"pictures/{i}.png": packed(noise(i), "PNG") for i in range(5)})
    source = open_source(unpack_upload(raw, tmp_path), tmp_path)
    assert source.labels is None
    assert len(source) == 5


def test_what_is_no_image_stays_packed(tmp_path):
    extra = {
        "__MACOSX/auk/._0.png": b"x",
        "auk/.hidden.png": PICTURE,
        ".git/config.png": PICTURE,
        "auk/notes.txt": b"notes",
        "owl/more.zip": zipped({"inner.png": PICTURE}),
        "run.py": b"raise SystemExit",
    }
    unpack_upload(zipped(birds() | extra), tmp_path)
    assert {Path(p).suffix for p in left(tmp_path) if "." in Path(p).name} == {".png"}
    assert len([p for p in left(tmp_path) if p.endswith(".png")]) == 10


def test_names_with_backslashes_and_other_scripts(tmp_path):
    entries = {f"Käuze\\{i}.png": PICTURE for i in range(2)} | {f"сова/{i}.png": PICTURE for i in range(2)}
    source = open_source(unpack_upload(zipped(entries), tmp_path), tmp_path)
    assert source.class_names == ("Käuze", "сова")


def link(name: str, target: str) -> dict[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return {info: target.encode()}


def encrypted(raw: bytes) -> bytes:
    """The same zip with the mark of a password on every entry."""
    raw = bytearray(raw)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.find(signature)
        while at >= 0:
            raw[at + offset] |= 1
            at = raw.find(signature, at + 4)
    return bytes(raw)


def lying(raw: bytes, size: int) -> bytes:
    """The same zip whose directory and headers promise `size` bytes of each entry."""
    raw = bytearray(raw)
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = raw.find(signature)
        while at >= 0:
            raw[at + offset : at + offset + 4] = size.to_bytes(4, "little")
            at = raw.find(signature, at + 4)
    return bytes(raw)


def flipped(raw: bytes) -> bytes:
    """The same zip with one bit of its first picture changed."""
    at = raw.find(b"IDAT") + 20
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


REFUSED = {
    "a path upwards": (zipped(birds() | {"../evil.png": PICTURE}), "'../evil.png', a path that leads out"),
    "a path upwards inside": (zipped(birds() | {"auk/../../evil.png": PICTURE}), "a path that leads out"),
    "a path upwards with backslashes": (zipped(birds() | {"..\\evil.png": PICTURE}), "a path that leads out"),
    "a path from the root": (zipped(birds() | {"/tmp/evil.png": PICTURE}), "a path that leads out"),
    "a path on a drive": (zipped(birds() | {"C:\\evil.png": PICTURE}), "a path that leads out"),
    "an ignored file with a path upwards": (zipped(birds() | {"../evil.txt": b""}), "a path that leads out"),
    "a link": (zipped(birds() | link("auk/passwd.png", "/etc/passwd")), "'auk/passwd.png', a link"),
    "a password": (encrypted(zipped(birds())), "encrypted"),
    "one file twice": (zipped(birds() | {"auk//0.png": PICTURE}), "'auk/0.png' twice"),
    "a file where a folder is": (zipped(birds() | {"auk/0.png/1.png": PICTURE}), "is no name"),
    "a name that is too long": (zipped(birds() | {f"auk/{'n' * 300}.png": PICTURE}), "is no name"),
    "a bomb of one file": (zipped(birds() | {"auk/b.bmp": bytes(3 * 2**20)}), "b.bmp' unpacks to more than 200 times"),
    "no images": (zipped({"notes.txt": b"notes"}), "holds no images"),
    "an empty zip": (zipped({}), "holds no images"),
    "no zip": (b"this is text", "not a zip file"),
    "nothing": (b"", "not a zip file"),
    "half a zip": (zipped(birds())[:400], "not a zip file"),
    "a zip that lies about sizes": (lying(zipped(birds()), 10), "zip is damaged: 'auk/0.png'"),
    "a small zip of much": (zipped({"auk/0.png": bytes(2**27)}, zipfile.ZIP_BZIP2), "another way than zips usually do"),
    "another packing": (zipped(birds(), zipfile.ZIP_LZMA), "another way than zips usually do"),
    "a flipped bit": (flipped(zipped(birds())), "zip is damaged: 'auk/0.png'"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_zip_that_is_refused_leaves_nothing_behind(tmp_path, kind):
    raw, told = REFUSED[kind]
    cache = tmp_path / "cache"
    with pytest.raises(InputError, match=told) as caught:
        unpack_upload(raw, cache)
    assert "\n" not in str(caught.value)
    assert [p for p in left(cache) if p != "uploads"] == []
    assert left(tmp_path) in (["cache", "cache/uploads"], [])


LIMITS = {
    "LARGEST_UPLOAD": (1_000, "The zip has more than"),
    "MOST_UNPACKED": (2_000, "unpacks to more than"),
    "MOST_IMAGES": (9, "more than 9 images"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_limits(tmp_path, monkeypatch, limit):
    value, told = LIMITS[limit]
    monkeypatch.setattr(archive, limit, value)
    with pytest.raises(InputError, match=told):
        unpack_upload(zipped(birds()), tmp_path)
    assert left(tmp_path) == []


def test_bytes_are_counted_as_they_come_whatever_the_directory_says(tmp_path, monkeypatch):
    raw = zipped(birds())
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        total = sum(entry.file_size for entry in file.infolist())
    monkeypatch.setattr(archive, "MOST_UNPACKED", total)
    unpack_upload(raw, tmp_path / "fits")
    monkeypatch.setattr(archive, "MOST_UNPACKED", total - 1)
    monkeypatch.setattr(archive, "_checked", lambda entries: {Path(e.filename): e for e in entries})
    with pytest.raises(InputError, match="unpacks to more than"):
        unpack_upload(raw, tmp_path / "full")
    assert left(tmp_path / "full") == ["uploads"]


@pytest.mark.parametrize("name", ["upload:", "upload:../..", "upload:0123", f"upload:{'0' * 20}", "upload:/etc"])
def test_an_upload_that_is_gone_says_so(tmp_path, name):
    shutil.copytree(Path(__file__).parent / "browser", tmp_path / "uploads" / "browser")
    with pytest.raises(InputError, match="upload the zip again"):
        open_source(name, tmp_path)
