"""The cache on disk: whatever happens to its files is named, nothing else is lost, and no file's code ever runs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from filelock import FileLock

from snapvit.artifacts import CkaMap, CostModel, Curvature, Measurements, Ranking, RunFacts, Scores, Topology
from snapvit.elastic.ranking import Floors, rank
from snapvit.errors import InputError
from snapvit.pipeline import store as store_module
from snapvit.pipeline.codec import encode
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.results import list_runs, load_results
from snapvit.pipeline.store import Store, StoreError

FACTS = RunFacts("a model", "images", Topology(2, 3, 4, 6, 2, 5), CostModel(1, 2, 3, 4, 5, 6), ("a", "b"))
REQUEST = encode(RunRequest())[1]
KINDS = {"curvature": Curvature, "cka": CkaMap, "ranking": Ranking, "evaluation": Measurements}
SCORES = Scores(np.arange(8.0).reshape(2, 4), np.arange(6.0).reshape(2, 3))


def artifact(stage: str, seed: int = 0) -> object:
    rng = np.random.default_rng(seed)
    if stage == "curvature":
        return Curvature(rng.random((2, 4), np.float32), rng.random((2, 3), np.float32), 10 + seed)
    if stage == "cka":
        return CkaMap(rng.random((8, 8), np.float32), 20 + seed)
    return rank(SCORES, Floors(0, 0)) if stage == "ranking" else Measurements.empty(2, 3, 4, 1)


def assert_holds(store: Store, run: str, stage: str, seed: int = 0) -> None:
    found, want = store.load(run, stage, KINDS[stage]), artifact(stage, seed)
    assert found is not None, store.problems
    for name, value in vars(want).items():
        np.testing.assert_array_equal(getattr(found, name), value)


def path_of(store: Store, run: str, stage: str) -> Path:
    return store.root / run / store.entry(run, stage).file


def files(root: Path) -> dict[str, bytes]:
    """Every file under `root` but locks."""
    found = (p for p in root.rglob("*") if p.is_file() and not p.name.endswith(".lock"))
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}


def edit_manifest(store: Store, run: str, change: Callable[[dict], object]) -> None:
    path = store.root / run / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


def add_run(store: Store, run: str, seed: int = 0) -> None:
    store.create(run, REQUEST, FACTS)
    for stage in KINDS:
        store.save(run, stage, f"key-of-{stage}-{seed}", artifact(stage, seed), True, 1.25)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Runs `one` and `two`, each with four stages."""
    store = Store(tmp_path / "cache")
    add_run(store, "one")
    add_run(store, "two", seed=1)
    return store


@contextlib.contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, fake: Callable) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fake)
        yield


# Round trip


def test_what_was_saved_is_loaded_by_another_process_view_of_the_cache(store):
    again = Store(store.root)
    for seed, run in enumerate(("one", "two")):
        for stage in KINDS:
            assert_holds(again, run, stage, seed)
            entry = again.entry(run, stage)
            assert (entry.key, entry.complete, entry.seconds) == (f"key-of-{stage}-{seed}", True, 1.25)
            assert hashlib.sha256(path_of(again, run, stage).read_bytes()).hexdigest() == entry.sha256
    manifest = again.manifest("one")
    assert (manifest.run, manifest.facts, manifest.request) == ("one", FACTS, json.loads(json.dumps(REQUEST)))
    assert again.runs() == ["two", "one"]  # newest first
    assert again.problems == {}


def test_absent_things_are_none_and_no_problem(store):
    assert store.load("one", "search", Curvature) is None
    assert store.load("three", "curvature", Curvature) is None
    assert store.manifest("three") is None
    assert store.entry("three", "curvature") is None
    assert store.load("one", "curvature", Curvature, "another key") is None
    assert store.load("one", "curvature", Curvature, "key-of-curvature-0") is not None
    assert Store(store.root / "nowhere").runs() == []
    assert store.problems == {}


def test_a_new_version_replaces_the_old_file(store):
    old = path_of(store, "one", "curvature")
    store.save("one", "curvature", "k2", artifact("curvature", 5), False, 2.0)
    assert not old.exists()
    assert_holds(store, "one", "curvature", 5)
    assert not store.entry("one", "curvature").complete
    assert len(list((store.root / "one").glob("*.safetensors"))) == len(KINDS)
    assert_holds(store, "one", "cka")


def test_creating_again_keeps_the_stages_and_the_date(store):
    before = store.manifest("one")
    facts = RunFacts("renamed", "images", FACTS.topology, FACTS.costs, ())
    store.create("one", REQUEST, facts)
    after = store.manifest("one")
    assert (after.created, after.stages, after.facts) == (before.created, before.stages, facts)


def test_reading_never_writes(store):
    shutil.copy(path_of(store, "two", "cka"), path_of(store, "one", "cka"))  # a problem, too
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*")}
    reader = Store(store.root)
    assert len(list_runs(reader)) == 2
    load_results(reader, "one")
    reader.load("one", "curvature", Curvature)
    assert reader.problems
    assert {p: p.stat().st_mtime_ns for p in store.root.rglob("*")} == before


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
        edit_manifest(store, "one", lambda m: m["stages"]["curvature"].update(sha256=sha))
    assert store.load("one", "curvature", Curvature) is None
    ((where, sentence),) = store.problems.items()
    assert where == f"one/{path.name}"
    assert where in sentence
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
    assert f"one/{path.name}" in store.problems
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
    assert list(store.problems) == [f"one/{path.name}"]


def test_swapped_files_are_both_named(store):
    a, b = path_of(store, "one", "curvature"), path_of(store, "one", "cka")
    raw_a, raw_b = a.read_bytes(), b.read_bytes()
    a.write_bytes(raw_b)
    b.write_bytes(raw_a)
    assert store.load("one", "curvature", Curvature) is None
    assert store.load("one", "cka", CkaMap) is None
    assert set(store.problems) == {f"one/{a.name}", f"one/{b.name}"}
    assert_holds(store, "one", "ranking")


def test_a_valid_file_of_another_run_is_not_taken_for_this_ones(store):
    mine, other = path_of(store, "one", "curvature"), path_of(store, "two", "curvature")
    mine.write_bytes(other.read_bytes())
    assert store.load("one", "curvature", Curvature) is None
    assert list(store.problems) == [f"one/{mine.name}"]
    assert_holds(store, "two", "curvature", 1)


def test_a_manifest_cannot_point_out_of_its_folder(store):
    other = path_of(store, "two", "curvature")
    sha = hashlib.sha256(other.read_bytes()).hexdigest()
    for name in (f"../two/{other.name}", str(other)):
        entry = {"file": name, "sha256": sha}
        edit_manifest(store, "one", lambda m, entry=entry: m["stages"]["curvature"].update(entry))
        assert store.load("one", "curvature", Curvature) is None
    store.save("one", "curvature", "k", artifact("curvature"), True, 0.0)
    assert_holds(store, "two", "curvature", 1)
    with pytest.raises(InputError):
        store.delete("../cache/one")
    assert_holds(store, "one", "cka")


MANIFESTS = {
    "truncated": lambda good: good[: len(good) // 2],
    "empty": lambda good: b"",
    "binary": lambda good: bytes(range(256)),
    "pickle": lambda good: pickle.dumps(json.loads(good)),
    "a list": lambda good: b"[1, 2]",
    "a number": lambda good: b"7",
    "nothing in it": lambda good: b"{}",
    "endlessly nested": lambda good: b"[" * 100_000,
    "schema": lambda good: good.replace(b'"schema": 1', b'"schema": 999'),
    "another run's": lambda good: good.replace(b'"run": "one"', b'"run": "two"'),
    "no stages": lambda good: json.dumps(json.loads(good) | {"stages": [1]}).encode(),
    "odd stage": lambda good: json.dumps(json.loads(good) | {"stages": {"cka": {"size": 1}}}).encode(),
    "a stage's file is a number": lambda good: json.dumps(
        json.loads(good) | {"stages": {"cka": {"key": "k", "file": 5, "sha256": "", "complete": True, "seconds": 0}}}
    ).encode(),
    "no facts": lambda good: json.dumps(json.loads(good) | {"facts": {"model": "a"}}).encode(),
    "facts are text": lambda good: json.dumps(json.loads(good) | {"facts": "none"}).encode(),
    "created never": lambda good: json.dumps(json.loads(good) | {"created": None}).encode(),
}


@pytest.mark.parametrize("damage", MANIFESTS)
def test_a_damaged_manifest_is_named_and_other_runs_are_still_there(store, damage):
    path = store.root / "one" / "manifest.json"
    raw = MANIFESTS[damage](path.read_bytes())
    assert raw != path.read_bytes()
    path.write_bytes(raw)
    reader = Store(store.root)
    assert [summary.run for summary in list_runs(reader)] == ["two"]
    assert list(reader.problems) == ["one/manifest.json"]
    assert "one/manifest.json cannot be used" in reader.problems["one/manifest.json"]
    assert reader.manifest("one") is None
    assert reader.load("one", "curvature", Curvature) is None
    assert reader.borrow("two", "curvature", "key-of-curvature-0") is False
    with pytest.raises(InputError, match="'one'"):
        load_results(reader, "one")
    assert_holds(reader, "two", "cka", 1)
    reader.create("one", REQUEST, FACTS)  # a run started anew repairs it
    reader.save("one", "cka", "k", artifact("cka", 4), True, 0.0)
    assert_holds(Store(store.root), "one", "cka", 4)


def test_a_request_of_another_version_is_named(store):
    edit_manifest(store, "one", lambda m: m["request"].pop("config.cka.images"))
    assert [summary.run for summary in list_runs(store)] == ["two"]
    assert "one/manifest.json" in store.problems


def test_a_request_out_of_range_is_named(store):
    edit_manifest(store, "one", lambda m: m["request"].update({"config.cka.images": -1}))
    assert [summary.run for summary in list_runs(store)] == ["two"]
    assert "cka.images is -1" in store.problems["one/manifest.json"]


def test_files_that_are_no_runs_are_left_alone(store):
    (store.root / "notes.txt").write_text("mine")
    (store.root / "empty").mkdir()
    (store.root / "manifest.json").write_text("{")
    (store.root / "odd" / "manifest.json").mkdir(parents=True)
    assert store.runs() == ["two", "one"]
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
        edit_manifest(store, "one", lambda m, sha=sha: [e.update(sha256=sha) for e in m["stages"].values()] and None)
    for stage, kind in KINDS.items():
        assert store.load("one", stage, kind) is None
    assert store.borrow("two", "curvature", "key-of-curvature-0")  # bytes that match their manifest, not yet read
    assert store.load("two", "curvature", Curvature) is None
    (store.root / "two" / "manifest.json").write_bytes(bomb)
    assert store.runs() == ["one"]
    assert not (tmp_path / "exploded").exists()


# Crashes


@pytest.mark.parametrize("crash", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()], ids=["disk", "kill"])
def test_a_crash_between_file_and_manifest_leaves_the_old_state(store, monkeypatch, crash):
    before = (store.root / "one" / "manifest.json").read_bytes()
    replace = os.replace

    def fake(source: Path, target: Path) -> None:
        if Path(target).name == "manifest.json":
            raise crash
        replace(source, target)

    with (
        failing(monkeypatch, store_module.os, "replace", fake),
        pytest.raises(StoreError if isinstance(crash, OSError) else KeyboardInterrupt),
    ):
        store.save("one", "curvature", "k2", artifact("curvature", 5), True, 0.0)
    assert (store.root / "one" / "manifest.json").read_bytes() == before
    again = Store(store.root)
    for stage in KINDS:
        assert_holds(again, "one", stage)
    assert again.problems == {}
    again.save("one", "curvature", "k2", artifact("curvature", 5), True, 0.0)
    assert_holds(again, "one", "curvature", 5)


def test_a_crash_before_the_file_is_whole_leaves_the_old_state(store, monkeypatch):
    def half(path: Path, raw: bytes) -> None:
        with path.open("wb") as file:
            file.write(raw[: len(raw) // 2])
        raise KeyboardInterrupt

    before = files(store.root)
    with failing(monkeypatch, Path, "write_bytes", half), pytest.raises(KeyboardInterrupt):
        store.save("one", "curvature", "k2", artifact("curvature", 5), True, 0.0)
    assert {name: raw for name, raw in files(store.root).items() if not name.endswith(".part")} == before
    assert_holds(store, "one", "curvature")


def test_old_temporary_files_are_removed_and_fresh_ones_left(store):
    old, fresh = (store.root / "one" / f".cka.{name}.part" for name in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half a file")
    os.utime(old, (time.time() - 7200,) * 2)
    store.save("one", "cka", "k2", artifact("cka", 2), True, 0.0)
    assert not old.exists()
    assert fresh.exists()  # another process may be writing it


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
        lambda: store.create("three", REQUEST, FACTS),
        lambda: store.borrow("one", "cka", "key-of-cka-1"),
        lambda: store.forget("one", "cka"),
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
    assert store.runs() == []
    for change in (lambda: store.create("one", REQUEST, FACTS), lambda: store.computing("one").__enter__()):
        with pytest.raises(StoreError, match="--cache"):
            change()
    assert (tmp_path / "file").read_text() == "I was here first"


# Borrowing, forgetting, deleting


def test_a_finished_stage_of_another_run_is_borrowed_as_a_copy(store):
    store.create("three", REQUEST, FACTS)
    assert store.borrow("three", "curvature", "key-of-curvature-1")
    assert_holds(store, "three", "curvature", 1)
    assert store.entry("three", "curvature") == store.entry("two", "curvature")
    store.delete("two")
    assert_holds(store, "three", "curvature", 1)
    assert not store.borrow("three", "curvature", "no such key")
    assert not store.borrow("three", "cka", "key-of-curvature-0")
    assert store.entry("three", "cka") is None


def test_neither_a_checkpoint_nor_a_damaged_stage_is_borrowed(store):
    store.create("three", REQUEST, FACTS)
    store.save("one", "curvature", "unfinished", artifact("curvature"), False, 0.0)
    assert not store.borrow("three", "curvature", "unfinished")
    path_of(store, "one", "cka").write_bytes(b"damaged")
    assert not store.borrow("three", "cka", "key-of-cka-0")
    path_of(store, "one", "ranking").unlink()
    assert not store.borrow("three", "ranking", "key-of-ranking-0")
    assert store.manifest("three").stages == {}
    assert not store.borrow("two", "cka", "key-of-cka-1"), "a run cannot borrow from itself"


def test_a_whole_copy_is_borrowed_where_one_run_s_is_damaged(store):
    add_run(store, "newer")  # the same keys as `one`
    path_of(store, "newer", "cka").write_bytes(b"damaged")
    store.create("three", REQUEST, FACTS)
    assert store.borrow("three", "cka", "key-of-cka-0")
    assert_holds(store, "three", "cka")


def test_a_forgotten_stage_is_gone_and_the_others_are_not(store):
    path = path_of(store, "one", "cka")
    store.forget("one", "cka")
    assert store.entry("one", "cka") is None
    assert not path.exists()
    assert_holds(store, "one", "curvature")
    store.forget("one", "cka")
    store.forget("nobody", "cka")
    assert store.problems == {}


def test_deleting_a_run_leaves_the_others(store):
    store.delete("one")
    assert not (store.root / "one").exists()
    assert store.runs() == ["two"]
    assert_holds(store, "two", "curvature", 1)
    with pytest.raises(InputError, match="'one'"):
        store.delete("one")


# Several at once


def test_one_process_computes_a_run_at_a_time_and_a_killed_one_lets_go(store):
    code = (
        "import sys; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    lock = store.root / "one" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="Run one is being computed by another process"), store.computing("one"):
            raise AssertionError("two at once")
        with store.computing("two"):
            assert_holds(store, "one", "cka")  # reading goes on
    finally:
        holder.kill()
        holder.communicate()
    with store.computing("one"):
        pass


def test_a_second_holder_in_the_same_process_waits_outside_too(store):
    with store.computing("one"):
        with pytest.raises(InputError, match="another process"), Store(store.root).computing("one"):
            raise AssertionError("two at once")
        store.save("one", "cka", "k", artifact("cka", 3), True, 0.0)
    with FileLock(store.root / "one" / ".lock", timeout=0), pytest.raises(InputError), store.computing("one"):
        raise AssertionError("two at once")
    with pytest.raises(ZeroDivisionError), store.computing("one"):
        raise ZeroDivisionError
    with Store(store.root).computing("one"):
        pass


def test_a_reader_beside_a_writer_always_finds_a_whole_stage(store):
    reader, done = Store(store.root), threading.Event()

    def write() -> None:
        for seed in range(60):
            store.save("one", "cka", "k", artifact("cka", seed), True, 0.0)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert reader.load("one", "cka", CkaMap) is not None, reader.problems
    writer.join()
    assert reader.problems == {}


def test_a_file_replaced_between_manifest_and_reading_is_no_problem(store, monkeypatch):
    stale = iter([store.manifest("one")])
    store.save("one", "cka", "k", artifact("cka", 7), True, 0.0)
    manifest = Store.manifest
    monkeypatch.setattr(Store, "manifest", lambda self, run: next(stale, None) or manifest(self, run))
    assert_holds(store, "one", "cka", 7)
    assert store.problems == {}


def test_stages_saved_at_once_are_all_kept(store):
    writers = [
        threading.Thread(
            target=lambda i=i: Store(store.root).save("one", f"stage{i}", "k", artifact("cka", i), True, 0.0)
        )
        for i in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    for i in range(8):
        assert store.load("one", f"stage{i}", CkaMap).images == 20 + i


def test_the_folder_is_moved_by_an_environment_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("SNAPVIT_CACHE", str(tmp_path / "elsewhere"))
    assert Store().root == tmp_path / "elsewhere"
    monkeypatch.delenv("SNAPVIT_CACHE")
    assert Store().root == Path(__file__).parents[1] / "cache"
