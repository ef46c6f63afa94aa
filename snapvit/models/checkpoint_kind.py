"""What a checkpoint file is, by its first bytes: weights that can be read, or what a person has in their place.

This module imports no torch, so that the page that takes a path can say at once what is wrong with it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from snapvit.errors import InputError
from snapvit.models.catalogue import weights_in

HEAD = 512  # bytes by which a file is recognised
INDEX = ".index.json"  # of a checkpoint in parts
SAFETENSORS, TORCH = "a safetensors file", "a file that torch.save wrote"
# What people have in the place of weights, and the way to them.
FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer, not the weights themselves; fetch them with `git lfs pull`",
    b"<!doctype": "a web page (HTML), so the download went wrong; fetch the file again",
    b"<html": "a web page (HTML), so the download went wrong; fetch the file again",
    b"<?xml": "an XML page, so the download went wrong; fetch the file again",
    b"\x89hdf": "an HDF5 file, as Keras writes",
    b"\x93numpy": "a NumPy array",
    b"gguf": "a GGUF file",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
}


def check_is_checkpoint(path: Path) -> None:
    """Raise InputError where a path names neither weights nor a folder or index of them, as far as a look can tell."""
    file = find_file(path)
    if not file.name.endswith(INDEX):
        kind_of(file)


def find_file(path: Path) -> Path:
    """The file that a path means: itself, or what a folder holds. Raises InputError where there is none."""
    if path.is_dir():
        path = weights_in(path)
    if not path.is_file():
        raise InputError(f"The checkpoint {path} does not exist.")
    return path


def kind_of(path: Path) -> str:
    """SAFETENSORS or TORCH, by the file's first bytes. Raises InputError saying what it is instead."""
    name = f"The checkpoint {path.name}"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}).") from error
    if not head:
        raise InputError(f"{name} is empty.")
    for start, what in FOREIGN.items():
        if head.lstrip().lower().startswith(start):
            raise InputError(f"{name} is {what}.")
    if head[257:262] == b"ustar":
        raise InputError(f"{name} is a tar archive; unpack it first.")
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_archive(path, name)
    if head[8:9] == b"{" and 8 + int.from_bytes(head[:8], "little") <= size:
        return SAFETENSORS
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return TORCH
    raise InputError(
        f"{name} is damaged or of another kind: it is neither {SAFETENSORS} nor {TORCH} (.safetensors, .pth, .pt, "
        ".bin, .ckpt)."
    )


def _kind_of_archive(path: Path, name: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:  # zipfile raises many types for a damaged file
        raise InputError(f"{name} is damaged or cut short: it begins like a file of torch.save.") from error
    if any(part.endswith(".npy") for part in names):
        raise InputError(f"{name} is a NumPy archive (.npz), which the explorer does not read.")
    if any(part.endswith("/constants.pkl") for part in names):
        raise InputError(
            f"{name} is a TorchScript program, which would be run to be read; save its tensors with "
            "torch.save(module.state_dict(), path)."
        )
    if not any(part.endswith("/data.pkl") for part in names):
        raise InputError(f"{name} is a zip archive, but not one that torch.save wrote.")
    return TORCH
