"""Uploaded zip files: checked as a whole, then unpacked beside the cache's runs and read as a folder of images."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from uuid import uuid4

from snapvit.data.folder import open_folder
from snapvit.data.folder_index import SUFFIXES, is_clutter
from snapvit.data.image_source import Check, ImageSource, go_on
from snapvit.data.seen_files import shown
from snapvit.errors import InputError, harmless

LARGEST_UPLOAD = 200 * 2**20  # bytes, packed
MOST_UNPACKED = 2**30  # bytes, all files together
MOST_IMAGES = 20_000
# A picture that packs better than this is a plain colour; pictures of one colour teach nothing, bombs are made of them.
MOST_RATIO = 200
SMALLEST_CHECKED = 2**20  # bytes; below this a high ratio harms nobody
CHUNK = 2**16
UPLOAD_NAME = re.compile("upload:[0-9a-f]{20}")  # of a source
PACKINGS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # Python's others give as much at once as they like
OF_NAMES = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ}


def uploads(cache: Path) -> Path:
    """Where unpacked uploads lie, one folder each."""
    return cache / "uploads"


def unpack_upload(raw: bytes, cache: Path) -> str:
    """Unpack the images of a zip and return the name of the source they make, the same for the same zip.

    Folders around everything are taken off, so that a zipped folder of class folders is as good as the class folders.
    Hidden files and what has no image's name, other archives too, stay packed. Raises InputError for a file that is no
    zip, is too large packed or unpacked, is encrypted, or holds a path or a link that leads out of it; then nothing
    is left on disk.
    """
    if len(raw) > LARGEST_UPLOAD:
        raise InputError(f"The zip has more than {LARGEST_UPLOAD // 2**20} MiB; give the path of a folder instead.")
    digest = hashlib.sha256(raw).hexdigest()[:20]
    target = uploads(cache) / digest
    if target.is_dir():
        return f"upload:{digest}"
    part = target.with_name(f".{digest}.{uuid4().hex}.part")
    try:
        with zipfile.ZipFile(BytesIO(raw)) as archive:
            entries = _checked(archive.infolist())
            part.mkdir(parents=True)
            _extract(archive, entries, part)
        os.replace(part, target)
    except InputError:
        raise
    except OSError as error:
        if not target.is_dir():  # another tab may have been faster
            raise InputError(f"The zip cannot be unpacked into {shown(cache)} ({_reason(error)}).") from error
    except Exception as error:  # zipfile and its decompressors raise many types for a damaged file
        raise InputError(f"The upload is not a zip file that can be read ({_reason(error)}).") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return f"upload:{digest}"


def open_upload(name: str, cache: Path | None, check: Check = go_on) -> ImageSource:
    """The source that `unpack_upload` made. Raises InputError where it is not in this cache."""
    is_name = cache is not None and UPLOAD_NAME.fullmatch(name)
    folder = uploads(cache) / name.removeprefix("upload:") if is_name else None
    if folder is None or not folder.is_dir():
        raise InputError(f"The uploaded images {name} are not in the cache any more; upload the zip again.")
    return open_folder(folder, name, cache, check)


def _checked(entries: list[zipfile.ZipInfo]) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Where each image of the archive goes; InputError for an archive that nobody should unpack."""
    wanted: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in entries:
        path = _inside(entry)
        ignored = any(is_clutter(part) for part in path.parts)
        if entry.is_dir() or ignored or path.suffix.lower() not in SUFFIXES:
            continue
        if entry.compress_type not in PACKINGS:
            raise InputError(
                f"The zip packs {_named(path)} in another way than zips usually do, whose size when unpacked "
                "cannot be bounded; pack it again as an ordinary zip (deflate)."
            )
        if entry.flag_bits & 1:
            raise InputError("The zip is encrypted; pack it again without a password.")
        if path in wanted:
            raise InputError(f"The zip holds {_named(path)} twice.")
        wanted[path] = entry
        if len(wanted) > MOST_IMAGES:
            raise InputError(f"The zip holds more than {MOST_IMAGES:,} images; give the path of a folder instead.")
    if not wanted:
        raise InputError("The zip holds no images; pack a folder of images, or one with a folder a class.")
    _check_size(sum(entry.file_size for entry in wanted.values()))
    while len({path.parts[0] for path in wanted}) == 1 and all(len(path.parts) > 1 for path in wanted):
        wanted = {PurePosixPath(*path.parts[1:]): entry for path, entry in wanted.items()}
    return wanted


def _inside(entry: zipfile.ZipInfo) -> PurePosixPath:
    """The entry's path. Raises InputError where it, or a link that it is, may lead out of the archive's folder."""
    text = entry.filename.replace("\\", "/")
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", text):
        raise InputError(f"The zip holds {_named(text)}, a path that leads out of it, so it is refused.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise InputError(f"The zip holds {_named(text)}, a link, so it is refused; pack the images themselves.")
    return path


def _check_size(unpacked: int) -> None:
    if unpacked > MOST_UNPACKED:
        raise InputError(
            f"The zip unpacks to more than {MOST_UNPACKED // 2**20} MiB, so it is refused; give the path of a folder "
            "instead."
        )


def _extract(archive: zipfile.ZipFile, entries: dict[PurePosixPath, zipfile.ZipInfo], folder: Path) -> None:
    """Write the entries, counting what really comes out of them: sizes in a zip's directory can lie."""
    total = 0
    for path, entry in entries.items():
        size = 0
        with _new_file(folder, path) as out:
            for chunk in _pieces(archive, path, entry):
                size += len(chunk)
                total += len(chunk)
                _check_size(total)
                if size > max(SMALLEST_CHECKED, MOST_RATIO * entry.compress_size):
                    raise InputError(
                        f"In the zip {_named(path)} unpacks to more than {MOST_RATIO} times its size, so it is refused."
                    )
                out.write(chunk)


def _new_file(folder: Path, path: PurePosixPath) -> BinaryIO:
    """Raises InputError for a name that no folder can have, which is not the folder's fault."""
    target = folder.joinpath(*path.parts)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in OF_NAMES:
            raise
        raise InputError(f"The zip cannot be unpacked: {_named(path)} is no name ({_reason(error)}).") from error


def _pieces(archive: zipfile.ZipFile, path: PurePosixPath, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """What comes out of an entry, bit by bit. Raises InputError where it is damaged."""
    try:
        with archive.open(entry) as packed:
            while chunk := packed.read(CHUNK):
                yield chunk
    except Exception as error:  # zipfile and its decompressors raise many types
        raise InputError(
            f"The zip is damaged: {_named(path)} cannot be unpacked ({_reason(error)}); pack or fetch it again."
        ) from error


def _named(path: object) -> str:
    """A name in the zip, as a page may show it."""
    return f"'{harmless(shown(str(path)))}'"


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:120]
