"""The cache with several at work: threads, processes, and runs that vanish under a reader's hands."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from store_samples import FACTS, NODES, REQUEST, artifact, assert_holds, names

from snapvit.artifacts import CkaMap
from snapvit.errors import InputError
from snapvit.store import store as store_module
from snapvit.store.store import Store, StoreError
from snapvit.tables import Measurements

ROOT = Path(__file__).parents[1]


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
    assert reader.problems == ()


def test_a_file_replaced_between_manifest_and_reading_is_no_problem(store, monkeypatch):
    stale = iter([store.entry("one", "cka")])
    store.save("one", "cka", "k", artifact("cka", 7), True, 0.0)
    entry = Store.entry
    monkeypatch.setattr(Store, "entry", lambda self, *where: next(stale, None) or entry(self, *where))
    assert_holds(store, "one", "cka", 7)
    assert store.problems == ()


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


ADD_ROWS = """
import sys
import numpy as np
from snapvit.artifacts import CkaMap
from snapvit.store.store import Store

root, first = sys.argv[1], int(sys.argv[2])
store = Store(root)
print("ready", flush=True)
sys.stdin.readline()
for row in range(first, first + 20):
    old = lambda found: np.zeros(0, np.float32) if found is None else found.values
    add = lambda found: CkaMap(np.append(old(found), np.float32(row)), 0)
    store.update("one", "rows", CkaMap, "k", add, seconds=0.5)
"""


def test_rows_that_two_processes_add_at_once_are_all_kept(store):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", ADD_ROWS, str(store.root), str(first)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (0, 20)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    np.testing.assert_array_equal(np.sort(store.load("one", "rows", CkaMap, "k").values), np.arange(40))
    assert store.entry("one", "rows").seconds == 20
    assert len(list((store.root / "one").glob("rows-*"))) == 1


def test_rows_that_threads_add_at_once_are_all_kept(store):
    def add(first: int) -> None:
        for row in range(first, first + 10):
            store.update(
                "one", "cka", CkaMap, "key-of-cka-0", lambda old, row=row: CkaMap(np.append(old.values, row), 0)
            )

    before = store.load("one", "cka", CkaMap).values.size
    adders = [threading.Thread(target=add, args=(first,)) for first in (100, 200, 300)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()
    want = [first + i for first in (100, 200, 300) for i in range(10)]
    assert sorted(store.load("one", "cka", CkaMap).values[before:]) == want


def test_a_run_that_another_process_never_lets_go_is_named(store, monkeypatch):
    monkeypatch.setattr(store_module, "LOCK_SECONDS", 0.05)
    with (
        FileLock(store.root / "one" / ".manifest.lock"),
        pytest.raises(StoreError, match=r"Run one in .* held by another process"),
    ):
        store.save("one", "cka", "k", artifact("cka", 3))
    assert_holds(store, "one", "cka")


@pytest.mark.parametrize("moment", ["listed", "about to be read"])
@pytest.mark.parametrize("take", ["borrow", "beginning"])
def test_a_run_deleted_while_others_take_from_it_is_passed_over(store, monkeypatch, take, moment):
    store.save("two", "cka", "k", artifact("cka", 1), seconds=9, root="root")
    store.save("one", "cka", "k", artifact("cka", 1), seconds=1, root="root")
    store.create("three", REQUEST, FACTS, NODES)
    owner, name = (Store, "manifests") if moment == "listed" else (Store, "_read")
    original, deleting = getattr(owner, name), Store(store.root)

    def vanishing(self: Store, *where: object) -> object:
        found = original(self) if moment == "listed" else None
        if self is store and "two" in names(deleting):
            deleting.delete("two")
        return original(self, *where) if found is None else found

    monkeypatch.setattr(owner, name, vanishing)
    if take == "borrow":
        assert store.borrow("three", "cka", "k")
    else:
        assert store.beginning("three", "cka", CkaMap, "root").images == 21
    assert names(deleting) == (["three", "one"])
    deleting.delete("one")
    assert not store.borrow("three", "cka", "key of nobody")
    assert store.beginning("three", "ranking", CkaMap, "root") is None
    assert store.problems == ()


def test_borrowing_goes_on_while_another_process_makes_and_deletes_the_run(store):
    code = (
        "import sys; from snapvit.store.store import Store; from snapvit.artifacts import CkaMap; import numpy as np\n"
        "store = Store(sys.argv[1]); print('ready', flush=True)\n"
        "for turn in range(60):\n"
        "    store.create('passing', {}, None, {})\n"
        "    store.save('passing', 'cka', 'k', CkaMap(np.ones((8, 8), np.float32), turn), seconds=5, root='root')\n"
        "    store.delete('passing')\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(store.root)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "ready\n"
    while other.poll() is None:
        store.borrow("one", "cka", "k")
        assert isinstance(store.beginning("two", "cka", CkaMap, "root"), CkaMap | None)
        assert store.load("one", "cka", CkaMap) is not None
    other.communicate()
    assert other.returncode == 0
    assert not (store.root / "passing").exists()
    assert store.problems == ()


def test_problems_can_be_read_while_more_are_reported(store):
    for i in range(3):
        store.report(f"one/file{i}", f"file{i} cannot be used: no reason.")
    for i, _ in enumerate(store.problems):
        store.report(f"one/more{i}", "more of them")
    assert len(store.problems) == 6
    done = threading.Event()

    def report() -> None:
        for i in range(20_000):
            store.report(f"two/{i}", "one more")
        done.set()

    reporter = threading.Thread(target=report)
    reporter.start()
    while not done.is_set():
        assert all(isinstance(sentence, str) for sentence in store.problems)
    reporter.join()
    assert len(store.problems) == 20_006


def test_a_change_that_comes_after_a_delete_leaves_no_folder(store, monkeypatch):
    """`delete` goes on while a change waits for the manifest that it is about to remove."""
    exists = os.path.exists

    def then_deleted(path: object) -> bool:
        monkeypatch.undo()
        Store(store.root).delete("one")
        return not exists(path)

    monkeypatch.setattr(os.path, "exists", then_deleted)
    with pytest.raises(StoreError, match="vanished"):
        store.update("one", "cka", CkaMap, "k", lambda _: artifact("cka", 1))
    assert sorted(p.name for p in store.root.iterdir()) == ["two"]


def test_a_run_that_never_came_to_be_leaves_no_folder(store):
    with pytest.raises(ZeroDivisionError), store.computing("three"):
        raise ZeroDivisionError
    assert sorted(p.name for p in store.root.iterdir()) == ["one", "two"]


def test_what_is_left_of_a_deleted_run_can_be_deleted(store):
    folder = store.root / "three"
    folder.mkdir()
    (folder / ".manifest.lock").touch()
    (folder / ".cka.safetensors.0.part").touch()
    store.delete("three")
    assert not folder.exists()
    folder.mkdir()
    (folder / "mine.txt").touch()
    with pytest.raises(InputError, match="no run named 'three'"):
        store.delete("three")
    assert [p.name for p in folder.iterdir()] == ["mine.txt"]


def test_one_cut_measured_by_four_processes_is_one_row(finished, small_request):
    code = (
        "import sys; from snapvit.store.store import Store; from snapvit.pipeline.measure import measure_cut\n"
        "from snapvit.pipeline.progress import Reporter\n"
        "print(measure_cut(Store(sys.argv[1]), sys.argv[2], 0.41, 0.27, Reporter()).cosine)\n"
    )
    command = [sys.executable, "-c", code, str(finished.root), small_request.run]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate()[0] for process in processes}
    assert len(said) == 1
    table = Store(finished.root).load(small_request.run, "evaluation", Measurements)
    assert int(((abs(table.mlp - 0.41) < 1e-9) & (abs(table.heads - 0.27) < 1e-9)).sum()) == 1
