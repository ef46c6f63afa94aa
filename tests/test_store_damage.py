"""Whatever happens to the cache's files is named, nothing else is lost, and no file's code ever runs."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from store_samples import (
    FACTS,
    KINDS,
    NODES,
    REQUEST,
    add_run,
    artifact,
    assert_holds,
    complaints,
    edit_manifest,
    failing,
    files,
    names,
    path_of,
)

from snapvit.artifacts import CkaMap, Curvature
from snapvit.errors import InputError
from snapvit.store.codec import encode
from snapvit.store.manifest import SCHEMA, parse, sealed, serialise
from snapvit.store.store import Store, StoreError

# Damaged and foreign files


class Bomb:
    """A pickle of it runs code on loading: it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return open, (str(self.marker), "w")


def foreign(kind: str, tmp_path: Path) -> bytes:
    if kind == "text":
        return b"these are not tensors"
    if kind == "empty":
        return b""
    if kind == "pickle":
        return pickle.dumps(Bomb(tmp_path / "exploded"))
    arrays = encode(artifact("curvature", 3))[0]
    metadata = {
        "safetensors": None,
        "other metadata": {"format": "pt"},
        "values that are no JSON": {"values": "{"},
        "values of another kind": {"values": "[1, 2]"},
    }
    return safetensors.numpy.save(arrays, metadata=metadata[kind])


FOREIGN = (
    "text",
    "empty",
    "pickle",
    "safetensors",
    "other metadata",
    "values that are no JSON",
    "values of another kind",
)


@pytest.mark.parametrize("in_manifest", [False, True], ids=["file alone", "manifest agrees"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_named_and_nothing_else_is_lost(store, tmp_path, kind, in_manifest):
    path, raw = path_of(store, "one", "curvature"), foreign(kind, tmp_path)
    path.write_bytes(raw)
    if in_manifest:
        sha = hashlib.sha256(raw).hexdigest()
        edit_manifest(store, "one", lambda m: m["entries"]["curvature"].update(sha256=sha))
    assert store.load("one", "curvature", Curvature) is None
    (sentence,) = store.problems
    assert sentence.startswith(f"one/{path.name} cannot be used: ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    for stage in ("cka", "ranking", "evaluation"):
        assert_holds(store, "one", stage)
    assert_holds(store, "two", "curvature", 1)
    assert not (tmp_path / "exploded").exists()
    store.save("one", "curvature", "k", artifact("curvature", 9), True, 0.0)
    assert_holds(store, "one", "curvature", 9)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_named(store, share):
    path = path_of(store, "one", "cka")
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    assert store.load("one", "cka", CkaMap) is None
    assert complaints(store) == [f"one/{path.name}"]
    assert_holds(store, "one", "curvature")


def test_one_flipped_bit_is_noticed(store):
    path = path_of(store, "one", "curvature")
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert store.load("one", "curvature", Curvature) is None
    assert len(store.problems) == 1


def test_a_lost_file_is_named(store):
    path = path_of(store, "one", "curvature")
    path.unlink()
    assert store.load("one", "curvature", Curvature) is None
    assert complaints(store) == [f"one/{path.name}"]


def test_swapped_files_are_both_named(store):
    a, b = path_of(store, "one", "curvature"), path_of(store, "one", "cka")
    raw_a, raw_b = a.read_bytes(), b.read_bytes()
    a.write_bytes(raw_b)
    b.write_bytes(raw_a)
    assert store.load("one", "curvature", Curvature) is None
    assert store.load("one", "cka", CkaMap) is None
    assert set(complaints(store)) == {f"one/{a.name}", f"one/{b.name}"}
    assert_holds(store, "one", "ranking")


def test_a_valid_file_of_another_run_is_not_taken_for_this_ones(store):
    mine, other = path_of(store, "one", "curvature"), path_of(store, "two", "curvature")
    mine.write_bytes(other.read_bytes())
    assert store.load("one", "curvature", Curvature) is None
    assert complaints(store) == [f"one/{mine.name}"]
    assert_holds(store, "two", "curvature", 1)


def test_a_manifest_cannot_point_out_of_its_folder(store):
    other = path_of(store, "two", "curvature")
    sha = hashlib.sha256(other.read_bytes()).hexdigest()
    for name in (f"../two/{other.name}", str(other)):
        entry = {"file": name, "sha256": sha}
        edit_manifest(store, "one", lambda m, entry=entry: m["entries"]["curvature"].update(entry))
        assert store.load("one", "curvature", Curvature) is None
    store.save("one", "curvature", "k", artifact("curvature"), True, 0.0)
    assert_holds(store, "two", "curvature", 1)
    with pytest.raises(InputError):
        store.delete("../cache/one")
    assert_holds(store, "one", "cka")


ENTRY = {"key": "k", "file": "cka.safetensors", "sha256": "", "complete": True, "seconds": 0, "root": ""}


def with_(good: bytes, **changed: object) -> bytes:
    content = json.loads(good) | changed
    del content["digest"]
    return sealed(content) if content["schema"] == SCHEMA else json.dumps(content).encode()


MANIFESTS = {
    "truncated": lambda good: good[: len(good) // 2],
    "empty": lambda good: b"",
    "binary": lambda good: bytes(range(256)),
    "pickle": lambda good: pickle.dumps(json.loads(good)),
    "a list": lambda good: b"[1, 2]",
    "a number": lambda good: b"7",
    "nothing in it": lambda good: b"{}",
    "endlessly nested": lambda good: b"[" * 100_000,
    "schema": lambda good: with_(good, schema=999),
    "another run's": lambda good: with_(good, run="two"),
    "a seal in another place": lambda good: json.dumps(json.loads(good)).encode(),
    "a seal of something else": lambda good: good.replace(b"a model", b"a modem"),
    "no seal": lambda good: good.replace(b'"digest"', b'"digesu"'),
    "an older schema behind a seal": lambda good: good.replace(b'"schema": 3', b'"schema": 2'),
    "no schema of ours": lambda good: with_(good, schema=0),
    "entries in a list": lambda good: with_(good, entries=[1]),
    "odd entry": lambda good: with_(good, entries={"cka": {"size": 1}}),
    "a file is a number": lambda good: with_(good, entries={"cka": ENTRY | {"file": 5}}),
    "a file of another kind": lambda good: with_(good, entries={"cka": ENTRY | {"file": "manifest.json"}}),
    "a key is a number": lambda good: with_(good, entries={"cka": ENTRY | {"key": 5}}),
    "complete is a word": lambda good: with_(good, entries={"cka": ENTRY | {"complete": "yes"}}),
    "seconds are a word": lambda good: with_(good, entries={"cka": ENTRY | {"seconds": "many"}}),
    "nodes in a list": lambda good: with_(good, nodes=["a"]),
    "a node is a number": lambda good: with_(good, nodes={"model": 1}),
    "request is text": lambda good: with_(good, request="quick"),
    "no facts": lambda good: with_(good, facts={"model": "a"}),
    "facts are text": lambda good: with_(good, facts="none"),
    "created never": lambda good: with_(good, created=None),
    "created at no time": lambda good: with_(good, created=float("nan")),
    "former, without stages": lambda good: with_(good, schema=1),
    "former, with odd stages": lambda good: with_(good, schema=1, stages={"cka": 1}),
}


@pytest.mark.parametrize("damage", MANIFESTS)
def test_a_damaged_manifest_is_named_and_other_runs_are_still_there(store, damage):
    path = store.root / "one" / "manifest.json"
    raw = MANIFESTS[damage](path.read_bytes())
    assert raw != path.read_bytes()
    path.write_bytes(raw)
    reader = Store(store.root)
    assert names(reader) == ["two"]
    (sentence,) = reader.problems
    assert sentence.startswith("one/manifest.json cannot be used: ")
    assert "\n" not in sentence
    assert reader.former() == []
    assert reader.manifest("one") is None
    assert reader.load("one", "curvature", Curvature) is None
    assert reader.borrow("two", "curvature", "key-of-curvature-0") is False
    with pytest.raises(StoreError, match="manifest of run one vanished or was damaged"):
        reader.save("one", "cka", "k", artifact("cka", 4))
    assert_holds(reader, "two", "cka", 1)
    before = files(store.root / "one")
    reader.create("one", REQUEST, FACTS, NODES)  # a run started anew repairs it
    assert reader.problems == ()
    reader.save("one", "cka", "k", artifact("cka", 4), True, 0.0)
    assert_holds(Store(store.root), "one", "cka", 4)
    after = files(store.root / "one")
    assert after["manifest.unreadable.json"] == raw  # it may be a later version's
    assert {name: after[name] for name in before if name != "manifest.json"}.items() <= before.items()


def test_no_flipped_bit_of_a_manifest_goes_unseen(store):
    """Every bit of it, one at a time: it is refused, whatever it says then."""
    good = (store.root / "one" / "manifest.json").read_bytes()
    for at in range(0, 8 * len(good)):
        damaged = bytearray(good)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            parse(bytes(damaged), "one")


def test_a_manifest_from_before_there_were_seals_is_read(store):
    path = store.root / "one" / "manifest.json"
    want = store.manifest("one")
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content | {"schema": 2}))
    reader = Store(store.root)
    assert reader.manifest("one") == want
    reader.save("one", "cka", "k", artifact("cka", 4))
    assert path.read_bytes() == serialise(reader.manifest("one"))


def test_files_that_are_no_runs_are_left_alone(store):
    (store.root / "notes.txt").write_text("mine")
    (store.root / "empty").mkdir()
    (store.root / "manifest.json").write_text("{")
    (store.root / "odd" / "manifest.json").mkdir(parents=True)
    assert names(store) == ["two", "one"]
    add_run(store, "three")
    assert (store.root / "notes.txt").read_text() == "mine"


def test_nothing_is_ever_unpickled(store, tmp_path, monkeypatch):
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    pickle.loads(bomb).close()
    assert (tmp_path / "exploded").exists(), "the bomb must be live for this test to mean anything"
    (tmp_path / "exploded").unlink()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    monkeypatch.setattr(np, "load", never)
    for path in (store.root / "one").glob("*.safetensors"):
        path.write_bytes(bomb)
        sha = hashlib.sha256(bomb).hexdigest()
        edit_manifest(store, "one", lambda m, sha=sha: [e.update(sha256=sha) for e in m["entries"].values()] and None)
    for stage, kind in KINDS.items():
        assert store.load("one", stage, kind) is None
    assert store.borrow("two", "curvature", "key-of-curvature-0")  # bytes that match their manifest, not yet read
    assert store.load("two", "curvature", Curvature) is None
    (store.root / "two" / "manifest.json").write_bytes(bomb)
    assert names(store) == ["one"]
    assert not (tmp_path / "exploded").exists()


# Disks that take nothing


def full_disk(path: Path, raw: bytes) -> None:
    with path.open("wb") as file:
        file.write(raw[: len(raw) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(path: Path, raw: bytes) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("write", [full_disk, read_only])
def test_a_disk_that_takes_nothing_is_named_and_what_is_there_stays_readable(store, monkeypatch, write):
    before = files(store.root)
    changes = (
        lambda: store.save("one", "curvature", "k2", artifact("curvature", 5), True, 0.0),
        lambda: store.create("three", REQUEST, FACTS, NODES),
        lambda: store.borrow("one", "cka", "key-of-cka-1"),
        lambda: store.update("one", "cka", CkaMap, "key-of-cka-0", lambda _: artifact("cka", 5)),
        lambda: store.forget("one", ["cka"]),
    )
    with failing(monkeypatch, Path, "write_bytes", write):
        for change in changes:
            with pytest.raises(StoreError) as caught:
                change()
            message = str(caught.value)
            assert "\n" not in message
            for part in (str(store.root), "--cache", "SNAPVIT_CACHE", "kept"):
                assert part in message
            assert ("No space left" if write is full_disk else "Read-only") in message
    assert files(store.root) == before  # no leftovers either
    for stage in KINDS:
        assert_holds(Store(store.root), "one", stage)


def test_a_cache_under_a_regular_file_is_named(tmp_path):
    (tmp_path / "file").write_text("I was here first")
    store = Store(tmp_path / "file" / "cache")
    assert store.manifests() == []
    for change in (lambda: store.create("one", REQUEST, None, {}), lambda: store.computing("one").__enter__()):
        with pytest.raises(StoreError, match="--cache"):
            change()
    assert (tmp_path / "file").read_text() == "I was here first"
