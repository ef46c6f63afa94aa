"""The cache on disk: round trips, crashes, borrowing, and several at once."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest
from store_samples import (
    FACTS,
    KINDS,
    NODES,
    REQUEST,
    add_run,
    artifact,
    assert_holds,
    complaints,
    failing,
    files,
    names,
    path_of,
)

from snapvit.artifacts import CkaMap, Curvature, RunFacts
from snapvit.errors import InputError
from snapvit.store import store as store_module
from snapvit.store.store import Store, StoreError

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
    assert (manifest.run, manifest.facts, manifest.request, manifest.nodes) == ("one", FACTS, REQUEST, NODES)
    assert names(again) == ["two", "one"]  # newest first
    assert again.problems == ()


def test_absent_things_are_none_and_no_problem(store):
    assert store.load("one", "search", Curvature) is None
    assert store.load("three", "curvature", Curvature) is None
    assert store.manifest("three") is None
    assert store.entry("three", "curvature") is None
    assert store.load("one", "curvature", Curvature, "another key") is None
    assert store.load("one", "curvature", Curvature, "key-of-curvature-0") is not None
    assert Store(store.root / "nowhere").manifests() == []
    assert store.problems == ()


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
    store.create("one", {"other": 1}, facts, {"model": "c"})
    after = store.manifest("one")
    assert (after.created, after.entries) == (before.created, before.entries)
    assert (after.request, after.facts, after.nodes) == ({"other": 1}, facts, {"model": "c"})


def test_reading_never_writes(store):
    shutil.copy(path_of(store, "two", "cka"), path_of(store, "one", "cka"))  # a problem, too
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*")}
    reader = Store(store.root)
    assert len(reader.manifests()) == 2
    reader.load("one", "curvature", Curvature)
    reader.beginning("one", "curvature", Curvature, "root")
    assert reader.load("one", "cka", CkaMap) is None
    assert reader.load("nobody", "cka", CkaMap) is None
    reader.forget("nobody", ["cka"])
    assert reader.problems
    assert {p: p.stat().st_mtime_ns for p in store.root.rglob("*")} == before


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
    if isinstance(crash, OSError):  # who is killed cannot tidy up
        assert len(list((store.root / "one").glob("*.safetensors"))) == len(KINDS)
    again = Store(store.root)
    for stage in KINDS:
        assert_holds(again, "one", stage)
    assert again.problems == ()
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


# Borrowing, forgetting, deleting


def test_a_finished_stage_of_another_run_is_borrowed_as_a_copy(store):
    store.create("three", REQUEST, FACTS, NODES)
    assert store.borrow("three", "curvature", "key-of-curvature-1")
    assert_holds(store, "three", "curvature", 1)
    assert store.entry("three", "curvature") == store.entry("two", "curvature")
    store.delete("two")
    assert_holds(store, "three", "curvature", 1)
    assert not store.borrow("three", "curvature", "no such key")
    assert not store.borrow("three", "cka", "key-of-curvature-0")
    assert store.entry("three", "cka") is None


def test_neither_a_checkpoint_nor_a_damaged_stage_is_borrowed(store):
    store.create("three", REQUEST, FACTS, NODES)
    store.save("one", "curvature", "unfinished", artifact("curvature"), False, 0.0)
    assert not store.borrow("three", "curvature", "unfinished")
    path_of(store, "one", "cka").write_bytes(b"damaged")
    assert not store.borrow("three", "cka", "key-of-cka-0")
    path_of(store, "one", "ranking").unlink()
    assert not store.borrow("three", "ranking", "key-of-ranking-0")
    assert store.manifest("three").entries == {}
    assert not store.borrow("two", "cka", "key-of-cka-1"), "a run cannot borrow from itself"


def test_a_whole_copy_is_borrowed_where_one_run_s_is_damaged(store):
    add_run(store, "newer")  # the same keys as `one`
    path_of(store, "newer", "cka").write_bytes(b"damaged")
    store.create("three", REQUEST, FACTS, NODES)
    assert store.borrow("three", "cka", "key-of-cka-0")
    assert_holds(store, "three", "cka")


def test_a_forgotten_stage_is_gone_and_the_others_are_not(store):
    path = path_of(store, "one", "cka")
    store.forget("one", ["cka"])
    assert store.entry("one", "cka") is None
    assert not path.exists()
    assert_holds(store, "one", "curvature")
    store.forget("one", ["cka"])
    store.forget("nobody", ["cka"])
    assert store.problems == ()


def test_deleting_a_run_leaves_the_others(store):
    store.delete("one")
    assert not (store.root / "one").exists()
    assert names(store) == ["two"]
    assert_holds(store, "two", "curvature", 1)
    with pytest.raises(InputError, match="'one'"):
        store.delete("one")


def test_a_run_that_is_being_computed_is_not_deleted(store):
    with store.computing("one"), pytest.raises(InputError, match="computed by another process"):
        store.delete("one")
    assert_holds(store, "one", "curvature")
    store.delete("one")
    assert names(store) == ["two"]


def test_a_run_with_a_damaged_manifest_can_be_deleted_and_is_named_no_more(store):
    (store.root / "one" / "manifest.json").write_text("{")
    assert names(store) == ["two"]
    assert complaints(store) == ["one/manifest.json"]
    left = {name for name in files(store.root) if name.endswith(".safetensors")}
    store.delete("one")
    assert not (store.root / "one" / "manifest.json").exists()
    assert names(store) == ["two"]
    assert {
        name for name in files(store.root) if name.endswith(".safetensors")
    } == left  # whose they were, nobody knows
    assert store.problems == ()


@pytest.mark.parametrize("name", ["", ".", "..", "../cache/one", "one/../two"])
def test_nothing_outside_a_run_s_folder_is_deleted(store, name):
    before = files(store.root)
    with pytest.raises(InputError, match="no run named"):
        store.delete(name)
    assert files(store.root) == before


# Its folder


def test_the_folder_is_moved_by_an_environment_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("SNAPVIT_CACHE", str(tmp_path / "elsewhere"))
    assert Store().root == tmp_path / "elsewhere"
    monkeypatch.delenv("SNAPVIT_CACHE")
    assert Store().root == Path(__file__).parents[1] / "cache"


def test_the_folder_is_absolute_and_a_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("SNAPVIT_CACHE", "~/runs")
    assert Store().root == Store("~/runs").root == tmp_path / "home" / "runs"
    monkeypatch.chdir(tmp_path)
    store = Store("cache")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    add_run(store, "one")
    assert (tmp_path / "cache" / "one" / "manifest.json").is_file()
