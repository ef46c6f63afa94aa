"""The one reader of files that torch.save wrote: tensors and plain values come out, and nothing in a file is run.

torch's own `weights_only` reader does it. Before it, what a file asks for is listed without doing it, so that a refusal
can name it; and a file from a stranger that ought to be small is held to bounds. torch is imported when a file is read.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from snapvit.errors import InputError
from snapvit.pickle_bounds import UnboundedPickle, check_pickles

LEGACY_PICKLES = 5  # of a file before 2020: mark, version, system, content, order of the tensors
NAMED = 3  # names that a refusal tells
WAY_OUT = (
    "if you trust it, open it in Python yourself and save its tensors and plain values alone with "
    'torch.save(content, "plain.pth")'
)
# All that a dict of plain tensors asks for.
TENSOR_NAMES = {
    "torch._utils._rebuild_tensor_v2", "collections.OrderedDict",
    "torch.FloatStorage", "torch.DoubleStorage", "torch.HalfStorage",
}  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """What a file of a few plain tensors may be; checked before any of it is loaded."""

    most_bytes: int  # of all its parts
    most_description: int  # bytes of the pickle that describes the values


def read_torch_file(
    source: Path | bytes, name: str, enum_module: str | None = None, bounds: Bounds | None = None
) -> Any:
    """What torch.save put into a file, on the CPU. Classes of `enum_module` are string enums and become their text.

    Raises InputError, calling the file `name`, where it is damaged, beyond `bounds`, or asks for anything that could
    run code; and nothing in it is run.
    """
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    with _in_one_sentence(name):
        is_archive = _check_archive(source, bounds)
        _check_descriptions(source, is_archive)
        with _opened(source) as file:
            asked_for = set(get_unsafe_globals_in_checkpoint(file)) if is_archive else set()
        enums = {asked for asked in asked_for if enum_module and asked.rpartition(".")[0] == enum_module}
        foreign = asked_for - enums
        if bounds is not None:
            foreign |= _all_names(source) - enums - TENSOR_NAMES
        if foreign:
            _refuse(f"it asks for {_listed(foreign)}; {WAY_OUT}")
        with safe_globals([(_enum_text, enum) for enum in enums]), _opened(source) as file:
            return torch.load(file, map_location="cpu", weights_only=True)


class _Refused(Exception):
    """The file holds something that tensors and plain values do not need."""


def _refuse(reason: str) -> NoReturn:
    raise _Refused(reason)


@contextmanager
def _in_one_sentence(name: str) -> Iterator[None]:
    """Whatever goes wrong becomes an InputError. Errors' own texts may hold text of the file, so none is shown."""
    try:
        yield
    except _Refused as error:
        raise InputError(f"{name} is refused, and nothing in it was run: {error}.") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{name} is refused, and nothing in it was run: it holds more than tensors and plain values, or is no "
            f"file that torch.save wrote; {WAY_OUT}."
        ) from error
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror or type(error).__name__}).") from error
    except Exception as error:  # torch raises many types for a damaged file
        raise InputError(f"{name} is damaged, or no file that torch.save wrote ({type(error).__name__}).") from error


def _opened(source: Path | bytes) -> BinaryIO:
    """Never a path: torch would go by its ending."""
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _enum_text(*values: Any) -> str:
    """What an enum is made from. `str` itself would also print what is no text, however large."""
    if len(values) != 1 or type(values[0]) is not str:
        raise pickle.UnpicklingError("an enum is made from one text")
    return values[0]


def _listed(names: set[str]) -> str:
    """The first of them, those left out that a page could take for markup."""
    plain = sorted(n for n in names if n.isascii() and n.replace(".", "").replace("_", "").isalnum() and len(n) < 100)
    return ", ".join(plain[:NAMED]) + (", ..." if len(plain) > NAMED else "") or "something that has no plain name"


def _check_archive(source: Path | bytes, bounds: Bounds | None) -> bool:
    """Whether it is a zip archive, which torch.save has written since 2020; a file with bounds must be one."""
    if _first_bytes(source) != b"PK\x03\x04":
        if bounds is not None:
            raise zipfile.BadZipFile
        return False
    with _opened(source) as file, zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            _refuse("its parts are compressed, which torch.save never does")
        if sum(max(part.file_size, part.compress_size) for part in parts) > file.seek(0, os.SEEK_END):
            _refuse("its parts are larger than the file, which torch.save never makes them")
        description = _description(archive)
        if bounds is not None and sum(part.file_size for part in parts) > bounds.most_bytes:
            _refuse(f"it holds more than {bounds.most_bytes // 2**20} MB")
        if bounds is not None and description.file_size > bounds.most_description:
            _refuse(f"its description is larger than {bounds.most_description // 2**10} kB")
    return True


def _check_descriptions(source: Path | bytes, is_archive: bool) -> None:
    """Refuse values that torch's reader would work on without end."""
    try:
        with _opened(source) as file:
            if is_archive:
                with zipfile.ZipFile(file) as archive:
                    check_pickles(io.BytesIO(archive.read(_description(archive))))
            else:
                check_pickles(file, LEGACY_PICKLES)
    except UnboundedPickle as error:
        _refuse(f"its {error}")


def _first_bytes(source: Path | bytes) -> bytes:
    with _opened(source) as file:
        return file.read(4)


def _description(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The part that holds the pickle."""
    pickles = [part for part in archive.infolist() if part.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        _refuse("it is an archive, but not one that torch.save wrote")
    return pickles[0]


def _all_names(source: Path | bytes) -> set[str]:
    """All that the pickle asks for, what torch takes for safe included: room for any number of bytes, say."""
    with _opened(source) as file, zipfile.ZipFile(file) as archive:
        pickled = archive.read(_description(archive))
    names = set()
    for instruction, argument, _ in pickletools.genops(pickled):
        if instruction.name == "GLOBAL":
            names.add(argument.replace(" ", ".", 1))
    return names
