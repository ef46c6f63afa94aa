"""What a run's manifest says: what was asked for, what of it is there, and in which file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from snapvit.artifacts import RunFacts
from snapvit.store.codec import decode, encode

MANIFEST, SCHEMA, UNSEALED_SCHEMA, FORMER_SCHEMA = "manifest.json", 3, 2, 1
SEAL = re.compile(rb'\{"digest": "([0-9a-f]{64})",')  # how a sealed file begins; the digest is of all that follows
SUFFIX = ".safetensors"  # of every file that a manifest may name


@dataclass(frozen=True)
class Entry:
    """What the manifest says of one artifact's file."""

    key: str
    file: str
    sha256: str
    complete: bool  # False: a checkpoint to go on from
    seconds: float  # spent on it so far
    root: str = ""  # its key without what only says how far it goes: entries of one root are beginnings of one another


@dataclass(frozen=True)
class Manifest:
    """What a run is and what of it is done. Readers share one object: its dicts are not to be changed."""

    run: str
    created: float  # seconds since 1970
    request: dict[str, Any]  # encoded
    facts: RunFacts | None  # known once the model was loaded
    nodes: dict[str, str]  # keys of the model and the images, by name
    entries: dict[str, Entry]
    name: str = ""  # that a person gave the run; no part of what it is

    @property
    def files(self) -> frozenset[str]:
        """Names, within the run's folder, of the files that it speaks for."""
        return _names(entry.file for entry in self.entries.values())


@dataclass(frozen=True)
class FormerRun:
    """A run that an earlier version of this program left: it is listed, and its files are kept, but not read."""

    run: str
    created: float  # seconds since 1970
    request: dict[str, Any]  # as that version encoded it
    files: frozenset[str] = frozenset()  # names, within its folder, of the files that its manifest speaks for


def parse(raw: bytes, run: str) -> Manifest | FormerRun:
    """The manifest in a file's bytes. Raises ValueError, KeyError, TypeError or AttributeError where it is none of
    `run` that this version can read, RecursionError where it is nested too deeply."""
    content = _opened(raw)
    schema = content["schema"]
    if content["run"] != run:
        raise ValueError(f"it is of run {content['run']!r}, schema {schema!r}")
    created, request = float(content["created"]), _mapping(content, "request")
    if not math.isfinite(created):
        raise ValueError(f"it was created at {created}")
    if schema == FORMER_SCHEMA:
        files = _names(_file(entry["file"]) for entry in _mapping(content, "stages").values())
        return FormerRun(run, created, request, files)
    facts, nodes = content["facts"], _mapping(content, "nodes")
    if not all(isinstance(key, str) for key in nodes.values()):
        raise ValueError("a node's key is no text")
    return Manifest(
        run=run,
        created=created,
        request=request,
        facts=None if facts is None else decode(RunFacts, {}, facts),
        nodes=nodes,
        entries={name: _entry(entry) for name, entry in _mapping(content, "entries").items()},
        name=_text(content, "name"),
    )


def serialise(manifest: Manifest) -> bytes:
    """The file's bytes, as `parse` reads them."""
    content = {
        "schema": SCHEMA,
        "run": manifest.run,
        "created": manifest.created,
        "request": manifest.request,
        "facts": None if manifest.facts is None else encode(manifest.facts)[1],
        "nodes": manifest.nodes,
        "entries": {name: dataclasses.asdict(entry) for name, entry in manifest.entries.items()},
    } | ({"name": manifest.name} if manifest.name else {})
    return sealed(content)


def sealed(content: dict[str, Any]) -> bytes:
    """The bytes of a manifest's content behind the digest of themselves, so that no change of a bit goes unseen."""
    body = json.dumps(content, indent=1, sort_keys=True).encode()
    return b'{"digest": "' + hashlib.sha256(body).hexdigest().encode() + b'",' + body[1:]


def _opened(raw: bytes) -> dict[str, Any]:
    """The content of a manifest whose seal is whole, or of one that was written before there were seals."""
    seal = SEAL.match(raw)
    if seal is not None and hashlib.sha256(b"{" + raw[seal.end() :]).hexdigest().encode() != seal[1]:
        raise ValueError("its content does not match its own digest")
    content = json.loads(raw)
    schemas = (UNSEALED_SCHEMA, FORMER_SCHEMA) if seal is None and "digest" not in content else (SCHEMA,)
    if seal is None and schemas == (SCHEMA,):
        raise ValueError("its own digest is damaged")
    if content["schema"] not in schemas:
        raise ValueError(f"its schema is {content['schema']!r}")
    return content


def _text(content: dict[str, Any], name: str) -> str:
    text = content.get(name, "")
    if not isinstance(text, str):
        raise ValueError(f"its {name} is no text")
    return text


def _mapping(content: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(content[name], dict):
        raise ValueError(f"its {name} are no JSON object")
    return content[name]


def _entry(content: dict[str, Any]) -> Entry:
    entry = Entry(**content)
    _file(entry.file)
    if not (isinstance(entry.key, str) and isinstance(entry.sha256, str) and isinstance(entry.root, str)):
        raise ValueError(f"what it says of {entry.file} is no text")
    if not isinstance(entry.complete, bool) or not isinstance(entry.seconds, int | float):
        raise ValueError(f"what it says of {entry.file} is no number")
    return entry


def _file(name: object) -> str:
    if not isinstance(name, str) or not name.endswith(SUFFIX):
        raise ValueError(f"{name!r} is no file of an artifact")
    return name


def _names(files: Iterable[str]) -> frozenset[str]:
    """Their last parts: a manifest speaks for no file outside its folder."""
    return frozenset(os.path.basename(file) for file in files)
