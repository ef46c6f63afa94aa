"""Which files a run owns, how runs are listed, those of an earlier version, and what two runs may share."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
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
    edit_manifest,
    files,
    make_former,
    names,
    path_of,
)

from snapvit.artifacts import CkaMap, Curvature
from snapvit.errors import InputError
from snapvit.store import listing
from snapvit.store.keys import node_key, stage_key
from snapvit.store.store import Store, StoreError

# Files that are not ours

FOREIGN = {"weights.safetensors": b"mine", "cka-000000000000.safetensors": b"mine too", "notes.txt": b"read me"}


def put_foreign(store: Store) -> dict[str, bytes]:
    for name, raw in FOREIGN.items():
        (store.root / "one" / name).write_bytes(raw)
    return {f"one/{name}": raw for name, raw in FOREIGN.items()}


def test_files_that_the_manifest_does_not_name_are_left_alone(store):
    foreign = put_foreign(store)
    store.save("one", "cka", "k", artifact("cka", 3))
    store.update("one", "cka", CkaMap, "k", lambda old: dataclasses.replace(old, images=9))
    store.create("one", REQUEST, FACTS, NODES)
    store.borrow("one", "curvature", "key-of-curvature-1")
    store.forget("one", ["ranking", "evaluation"])
    assert foreign.items() <= files(store.root).items()
    ours = {f"one/{entry.file}" for entry in store.manifest("one").entries.values()}
    assert {name for name in files(store.root) if name.startswith("one/")} == {*ours, *foreign, "one/manifest.json"}


def test_deleting_a_run_leaves_a_foreign_file_and_its_folder(store):
    foreign, other = put_foreign(store), files(store.root / "two")
    (store.root / "one" / ".cka-0.safetensors.0.part").write_bytes(b"half a file")
    store.delete("one")
    assert files(store.root) == foreign | {f"two/{name}": raw for name, raw in other.items()}
    assert {p.name for p in (store.root / "one").iterdir()} == set(FOREIGN)  # no locks either
    assert names(store) == ["two"]
    add_run(store, "one")
    assert_holds(store, "one", "cka")


def test_a_file_that_two_entries_share_stays_until_both_are_gone(store):
    for name in ("view a/b", "view a?b"):  # both become the same file name
        store.save("one", name, "k", artifact("cka", 4))
    assert path_of(store, "one", "view a/b") == path_of(store, "one", "view a?b")
    store.forget("one", ["view a/b"])
    assert store.load("one", "view a?b", CkaMap).images == 24
    shared = path_of(store, "one", "view a?b")
    store.forget("one", ["view a?b", "never there"])
    assert not shared.exists()


@pytest.mark.parametrize("name", ["../two/cka", "/etc/cka", "a" * 300, "cka\n", "..", "Übersicht (0.5, 0.2)"])
def test_any_name_of_an_artifact_stays_in_the_run_s_folder(store, name):
    before = files(store.root / "two")
    store.save("one", name, "k", artifact("cka", 6))
    assert store.load("one", name, CkaMap, "k").images == 26
    assert path_of(store, "one", name).resolve().parent == (store.root / "one").resolve()
    assert files(store.root / "two") == before


@pytest.mark.parametrize("run", ["", ".", "..", "../outside", "a/b", "a\0b"])
def test_no_run_is_made_or_read_outside_the_cache(store, run):
    for write in (
        lambda: store.create(run, REQUEST, FACTS, NODES),
        lambda: store.save(run, "cka", "k", artifact("cka")),
        lambda: store.computing(run).__enter__(),
    ):
        with pytest.raises(InputError, match="cannot be the name of a run"):
            write()
    assert store.manifest(run) is None
    assert store.load(run, "cka", CkaMap) is None
    assert {p.name for p in store.root.parent.iterdir()} == {"cache"}


def test_writing_to_a_run_that_is_gone_makes_no_folder(store):
    with pytest.raises(StoreError, match="run three vanished"):
        store.save("three", "cka", "k", artifact("cka"))
    assert not (store.root / "three").exists()


# Reading


def test_an_artifact_is_read_from_disk_once(store, monkeypatch):
    read = Path.read_bytes

    def read_and_remove(path: Path) -> bytes:
        raw = read(path)
        path.unlink()
        return raw

    monkeypatch.setattr(Path, "read_bytes", read_and_remove)
    assert_holds(store, "one", "curvature")


@pytest.mark.parametrize("fits", [lambda cka: cka.values.shape == (9, 9), lambda cka: cka.values.shape[2] == 9])
def test_an_artifact_of_other_shapes_than_the_run_s_is_damaged(store, fits):
    assert store.load("one", "cka", CkaMap, fits=lambda cka: cka.values.shape == (8, 8)) is not None
    assert store.problems == ()
    assert store.load("one", "cka", CkaMap, fits=fits) is None
    where = f"one/{path_of(store, 'one', 'cka').name}"
    assert store.problems == (
        f"{where} cannot be used: it does not fit the run: it has other shapes, or numbers that are not finite.",
    )


def test_a_problem_ends_with_what_replaces_its_file(store):
    other = Store(store.root)
    for stage in ("cka", "curvature"):
        path_of(store, "one", stage).write_bytes(b"damaged")
        assert store.load("one", stage, KINDS[stage]) is None
    assert len(store.problems) == 2
    store.save("one", "cka", "k", artifact("cka", 0))  # the same file again
    assert complaints(store) == [f"one/{path_of(store, 'one', 'curvature').name}"]
    other.save("one", "curvature", "k", artifact("curvature", 8))
    assert_holds(store, "one", "curvature", 8)
    assert store.problems == ()


# The list


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of runs, one for each time that a manifest is parsed; files count as settled at once."""
    runs, parse = [], listing.parse
    monkeypatch.setattr(listing, "parse", lambda raw, run: runs.append(run) or parse(raw, run))
    monkeypatch.setattr(listing, "TICK_NS", 0)
    return runs


def test_a_manifest_is_parsed_again_only_when_its_file_changed(store, parsed):
    reader = Store(store.root)
    for _ in range(3):
        assert names(reader) == ["two", "one"]
        assert reader.former() == []
        assert reader.entry("one", "cka") is not None
    assert sorted(parsed) == ["one", "two"]
    parsed.clear()
    store.save("one", "cka", "new key", artifact("cka", 3))
    parsed.clear()
    assert reader.entry("one", "cka").key == "new key"
    assert names(reader) == ["two", "one"]
    assert parsed == ["one"]


def test_a_damaged_manifest_is_reported_once_and_read_again_when_it_changed(store, parsed):
    path = store.root / "one" / "manifest.json"
    good = path.read_bytes()
    path.write_bytes(b"{")
    assert names(store) == names(store) == ["two"]
    assert (parsed.count("one"), len(store.problems)) == (1, 1)
    path.write_bytes(good)
    assert names(store) == ["two", "one"]
    assert store.problems == ()


def test_what_another_process_deletes_is_no_problem_any_more(store):
    path_of(store, "one", "cka").write_bytes(b"damaged")
    assert store.load("one", "cka", CkaMap) is None
    shutil.rmtree(store.root / "one")
    assert names(store) == ["two"]
    assert store.problems == ()


def test_a_change_that_leaves_the_stamp_is_seen_while_it_can_happen(store, monkeypatch):
    """Within one tick of the file system's clock a manifest can change and look the same."""
    monkeypatch.setattr(listing, "_stamp", lambda status: (0, 0, 0, 0))
    monkeypatch.setattr(listing, "TICK_NS", 10**12)
    assert store.entry("one", "cka").key == "key-of-cka-0"
    edit_manifest(store, "one", lambda m: m["entries"]["cka"].update(key="key-of-cka-7"))
    assert store.entry("one", "cka").key == "key-of-cka-7"


def test_a_change_starts_from_the_file_and_never_from_memory(store, monkeypatch):
    monkeypatch.setattr(listing, "TICK_NS", 0)
    monkeypatch.setattr(listing, "_stamp", lambda status: (0, 0, 0, 0))  # no change is ever noticed
    other = Store(store.root)
    assert names(store) == names(other)
    other.save("one", "other", "k", artifact("cka", 1))
    store.save("one", "mine", "k", artifact("cka", 2))
    assert {"mine", "other"} <= Store(store.root).manifest("one").entries.keys()
    other.update("one", "rows", CkaMap, "k", lambda found: artifact("cka", 5))
    assert store.update("one", "rows", CkaMap, "k", lambda found: found).images == 25


def test_folders_without_a_manifest_are_no_runs(store):
    for name in ("uploads/set", "images/1", "empty"):
        (store.root / name).mkdir(parents=True)
        (store.root / name / "picture.png").write_bytes(b"")
    os.mkdir(store.root / "odd")
    os.mkdir(store.root / "odd" / "manifest.json")
    assert names(store) == ["two", "one"]
    assert (store.former(), store.problems) == ([], ())
    with pytest.raises(StoreError, match="--cache"):
        store.create("odd", REQUEST, FACTS, NODES)
    assert (store.root / "odd" / "manifest.json").is_dir()


# Runs of an earlier version


def test_a_run_of_an_earlier_version_is_listed_and_no_problem(store):
    created = store.manifest("one").created
    make_former(store, "one")
    before = files(store.root)
    (former,) = store.former()
    assert (former.run, former.created, former.request) == ("one", created, REQUEST)
    assert names(store) == ["two"]
    assert store.manifest("one") is None
    assert store.load("one", "cka", CkaMap) is None
    assert not store.borrow("two", "cka", "key-of-cka-0")
    assert store.beginning("two", "cka", CkaMap, "root") is None
    with pytest.raises(StoreError, match="manifest of run one"):
        store.save("one", "cka", "k", artifact("cka"))
    store.forget("one", ["cka"])
    assert store.problems == ()
    assert files(store.root) == before


def test_a_run_started_anew_over_a_former_one_keeps_all_its_files(store):
    for kept in ("manifest.former.json", "manifest.former-1.json"):
        make_former(store, "one")
        before = files(store.root / "one")
        store.create("one", {"new": 1}, None, NODES)
        after = files(store.root / "one")
        assert after[kept] == before.pop("manifest.json")
        assert before.items() <= after.items()
        assert store.manifest("one").entries == {}
        assert store.former() == []
        store.save("one", "cka", "k", artifact("cka", 8))
    store.delete("one")
    assert files(store.root / "one").items() >= {kept: after[kept]}.items()
    assert len(list((store.root / "one").glob("*.safetensors"))) == len(KINDS)
    assert names(store) == ["two"]


def test_a_former_run_is_deleted_when_somebody_says_so(store):
    make_former(store, "one")
    store.delete("one")
    assert not (store.root / "one").exists()
    assert (store.former(), names(store)) == ([], ["two"])


# Rows and beginnings


def test_an_update_starts_from_nothing_where_there_is_nothing_of_its_key(store):
    seen = []

    def add(found: CkaMap | None) -> CkaMap:
        seen.append(found and found.images)
        return artifact("cka", (0 if found is None else found.images - 20) + 1)

    for key, want in (("a", 21), ("a", 22), ("b", 21)):
        assert store.update("one", "rows", CkaMap, key, add, seconds=0.25, root=f"root of {key}").images == want
        assert store.load("one", "rows", CkaMap, key).images == want
    assert seen == [None, 21, None]
    entry = store.entry("one", "rows")
    assert (entry.key, entry.complete, entry.seconds, entry.root) == ("b", False, 0.25, "root of b")


def test_an_update_keeps_what_it_does_not_say(store):
    def same(found: CkaMap | None) -> CkaMap:
        return artifact("cka", 5)

    store.update("one", "rows", CkaMap, "a", same, complete=True, seconds=2, root="root")
    store.update("one", "rows", CkaMap, "a", same, seconds=0.5)
    entry = store.entry("one", "rows")
    assert (entry.complete, entry.seconds, entry.root) == (True, 2.5, "root")
    store.update("one", "rows", CkaMap, "a", same, complete=False)
    assert not store.entry("one", "rows").complete


def test_rows_that_were_damaged_are_not_called_complete(store):
    path_of(store, "one", "cka").write_bytes(b"damaged")
    store.update("one", "cka", CkaMap, "key-of-cka-0", lambda found: artifact("cka", 1 if found is None else 2))
    assert_holds(store, "one", "cka", 1)
    assert (store.entry("one", "cka").complete, store.entry("one", "cka").seconds) == (False, 0)


def test_a_change_that_fails_leaves_everything(store):
    before = files(store.root)
    with pytest.raises(ZeroDivisionError):
        store.update("one", "cka", CkaMap, "key-of-cka-0", lambda found: 1 / 0)
    with pytest.raises(FileNotFoundError):  # not the cache's own
        store.update("one", "cka", CkaMap, "key-of-cka-0", lambda found: os.stat("nowhere"))
    assert files(store.root) == before
    store.save("one", "cka", "k", artifact("cka", 2))


def test_a_run_goes_on_from_its_own_beginning_first_then_from_the_longest(store):
    for run in ("three", "four"):
        store.create(run, REQUEST, FACTS, NODES)
    store.save("one", "cka", "30 generations", artifact("cka", 1), seconds=30, root="root")
    store.save("two", "cka", "90 generations", artifact("cka", 2), complete=False, seconds=90, root="root")
    store.save("three", "cka", "99 generations", artifact("cka", 3), seconds=99, root="another")
    assert store.beginning("four", "cka", CkaMap, "root").images == 22
    assert store.beginning("three", "cka", CkaMap, "root").images == 22
    assert store.beginning("one", "cka", CkaMap, "root").images == 21
    path_of(store, "two", "cka").write_bytes(b"damaged")
    assert store.beginning("four", "cka", CkaMap, "root").images == 21
    assert store.problems == ()  # who uses run two will be told
    assert store.beginning("two", "cka", CkaMap, "root").images == 21
    assert complaints(store) == [f"two/{path_of(store, 'two', 'cka').name}"]
    assert store.beginning("four", "cka", CkaMap, "no such root") is None
    assert store.beginning("four", "curvature", Curvature, "") is None  # no root is no common root
    assert store.entry("four", "cka") is None


def test_what_is_borrowed_keeps_its_root_and_seconds(store):
    store.save("two", "cka", "k", artifact("cka", 2), seconds=90, root="root")
    assert store.borrow("one", "cka", "k")
    assert store.entry("one", "cka") == store.entry("two", "cka")


# Keys


def test_a_key_is_of_all_that_it_is_made_from_and_of_nothing_else():
    parts = {"name": "cka", "schema": 2, "settings": {"a": 1, "b": [2.5, None]}, "args": [0.5], "parents": ["p", "q"]}
    same = parts | {"settings": {"b": (2.5, None), "a": 1}, "args": (0.5,), "parents": ("p", "q")}
    others = [
        {"name": "cka2"},
        {"schema": 3},
        {"settings": {"a": 2, "b": [2.5, None]}},
        {"settings": {"a": 1}},
        {"settings": {}},
        {"args": [0.25]},
        {"args": []},
        {"parents": ["q", "p"]},
        {"args": [0.5, "p"], "parents": ["q"]},
    ]
    keys = [stage_key(**(parts | other)) for other in others]
    assert stage_key(**parts) == stage_key(**same)
    assert len({stage_key(**parts), *keys}) == len(others) + 1
    assert all(len(key) == 20 and set(key) <= set("0123456789abcdef") for key in keys)


def test_a_node_s_key_is_of_its_content():
    assert node_key({"a": 1, "b": {"d": 1, "c": 2}}) == node_key({"b": {"c": 2, "d": 1}, "a": 1})
    assert len({node_key(x) for x in (None, 0, "0", [], {}, [0], "", False, {"a": 0})}) == 9
    for bad in (float("nan"), np.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            node_key({"a": bad})
