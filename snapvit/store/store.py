"""The cache on disk: one folder a run, with a manifest and the artifacts' arrays as safetensors.

- An artifact is found by its key, which is made from exactly what it depends on; a run that needs what another run has
  already finished takes a copy of it.
- A file is written under a temporary name and renamed, then the manifest likewise, so a crash at any moment leaves
  the old state or the new one. What the manifest does not name is left alone.
- The manifest names the digest of every file. A file that does not match is reported in `Store.problems` and
  counts as absent; it is computed again, never trusted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from snapvit.artifacts import RunFacts
from snapvit.errors import InputError
from snapvit.paths import absolute, unquoted, user_data
from snapvit.store.files import (
    STALE_SECONDS,
    StoreError,
    is_plain_name,
    naming_failures,
    remove,
    temporary_files,
    write_whole,
)
from snapvit.store.listing import Manifests
from snapvit.store.manifest import MANIFEST, SUFFIX, Entry, FormerRun, Manifest, serialise
from snapvit.store.packing import DamagedError, digest, pack, unpack
from snapvit.store.problems import Problems

COMPUTING_LOCK, MANIFEST_LOCK = ".lock", ".manifest.lock"
ONLY_SHOWN = "What is here can only be looked at, as whoever started this wanted it."
LOCK_SECONDS = 30  # a change takes milliseconds; who waits longer waits for a process that hangs
A = TypeVar("A")


def default_root() -> Path:
    """SNAPVIT_CACHE; else a checkout's own `cache`, and of an installed package a folder in the user's data."""
    beside = Path(__file__).parents[2]
    usual = beside / "cache" if (beside / "pyproject.toml").is_file() else user_data() / "runs"
    return absolute(os.environ.get("SNAPVIT_CACHE") or usual)


class Store:
    """Runs under one folder. Reading never writes; every write is whole or not at all. Any thread may use it."""

    def __init__(self, root: Path | str | None = None, read_only: bool = False, lender: Store | None = None) -> None:
        """root: None for the usual one. read_only: every change is refused, with an InputError. lender: whose runs can
        be borrowed from and gone on with too; nothing is written there."""
        self.root = default_root() if root is None else absolute(root)
        self.read_only, self._lender = read_only, lender
        self._problems = Problems()
        self._manifests = Manifests(self.root, self._problems)

    # Problems

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each thing that could not be used, as it is known now."""
        return self._problems.sentences()

    def report(self, where: str, sentence: str) -> None:
        """Add to `problems`, or replace what was said of the same place (`run/file`, or any other name)."""
        self._problems.add(where, sentence)

    def check_writable(self) -> None:
        """Raises InputError where this store is only to be read."""
        if self.read_only:
            raise InputError(f"{ONLY_SHOWN} Nothing can be computed, changed, deleted or brought in.")

    # Runs

    def manifests(self) -> list[Manifest]:
        """Those that can be read, newest first."""
        return [found for found in self._manifests.all() if isinstance(found, Manifest)]

    def former(self) -> list[FormerRun]:
        """Runs that an earlier version left, newest first."""
        return [found for found in self._manifests.all() if isinstance(found, FormerRun)]

    def manifest(self, run: str) -> Manifest | None:
        """The manifest of a run; None where there is none, an earlier version's, or a damaged one (then reported)."""
        found = self._manifests.get(run)
        return found if isinstance(found, Manifest) else None

    def run_named(self, text: str) -> str:
        """The name of the run that a person means by its name or by the path of its folder in this cache.

        Raises InputError for the path of a run in another cache; whether there is such a run is seen when it is read.
        """
        plain, path = unquoted(text), absolute(text)
        if os.sep not in plain.rstrip(os.sep):
            return plain.rstrip(os.sep)
        if path.parent.resolve() == self.root.resolve():
            return path.name
        if (path / MANIFEST).is_file():
            raise InputError(f"{path} is no run of the cache {self.root}; name its own with --cache {path.parent}.")
        return plain

    def create(self, run: str, request: Mapping[str, Any], facts: RunFacts | None, nodes: Mapping[str, str]) -> None:
        """Make the run's folder and manifest, or bring request, facts and nodes of an existing one up to date.

        A manifest that this version cannot read is kept under another name, and so are the files beside it.
        """
        with self._changing(run, new=True):
            old = self._manifests.read(run)
            if not isinstance(old, Manifest):
                self._set_aside(run, "unreadable" if old is None else "former")
                old = Manifest(run, time.time(), {}, None, {}, {})
            new = dataclasses.replace(old, request=dict(request), facts=facts, nodes=dict(nodes))
            self._write_manifest(new)

    def rename(self, run: str, name: str) -> None:
        """Give the run a name for people, or take it away where that is empty. What the run is stays the same."""
        with self._changing(run):
            self._write_manifest(dataclasses.replace(self._writable(run), name=" ".join(name.split())))

    def delete(self, run: str) -> None:
        """Remove a run: its manifest, the files that names, and the folder where nothing else lies in it.

        Raises InputError for no run, or one that is being computed.
        """
        folder = self.root / run
        if is_plain_name(run) and folder.is_dir() and not (folder / MANIFEST).exists():
            with self.computing(run):  # leaving it takes away what a change that came too late may have left
                remove(temporary_files(folder))
            if not folder.exists():
                return
        if not is_plain_name(run) or not (folder / MANIFEST).is_file():
            raise InputError(f"There is no run named {run!r} in the cache.")
        locks = [folder / COMPUTING_LOCK, folder / MANIFEST_LOCK]
        with self.computing(run), self._changing(run):
            found = self._manifests.read(run)
            with naming_failures(self.root):
                for file in () if found is None else found.files:
                    (folder / file).unlink(missing_ok=True)
                (folder / MANIFEST).unlink(missing_ok=True)  # last: until then it can be deleted again
            # Locks while they are held: who waits for one sees that its file is gone and makes another, and that one is
            # not ours to remove. Where the system removes no held file, they go afterwards.
            remove([*temporary_files(folder), *locks])
            left = [lock for lock in locks if lock.exists()]
        remove(left)
        with contextlib.suppress(OSError):
            folder.rmdir()
        self._problems.drop(lambda where: where.startswith(f"{run}/"))

    # Artifacts

    def entry(self, run: str, name: str) -> Entry | None:
        """What the manifest says of an artifact."""
        manifest = self.manifest(run)
        return manifest.entries.get(name) if manifest else None

    def load(
        self,
        run: str,
        name: str,
        kind: type[A],
        key: str | None = None,
        fits: Callable[[A], bool] | None = None,
    ) -> A | None:
        """The artifact; None where it is absent, of another key, or damaged (then reported).

        `fits` says whether its shapes are the run's; one that does not fit is damaged.
        """
        entry = self.entry(run, name)
        while entry is not None and key in (None, entry.key):
            try:
                return self._open(run, entry, kind, fits)
            except FileNotFoundError as error:
                newest = self._newest_entry(run, name)
                if newest == entry:
                    self._report_file(run, entry, error.strerror)
                    return None
                entry = newest  # it was replaced since the manifest was read
            except (OSError, DamagedError) as error:
                self._report_file(run, entry, getattr(error, "strerror", None) or str(error))
                return None
        return None

    def save(
        self,
        run: str,
        name: str,
        key: str,
        artifact: Any,
        complete: bool = True,
        seconds: float = 0.0,
        root: str = "",
    ) -> None:
        """Write an artifact and name it in the manifest; the file it replaces is removed afterwards."""
        raw = pack(artifact)
        with self._changing(run):
            self._put(run, name, raw, _new_entry(name, key, raw, complete, seconds, root))

    def update(
        self,
        run: str,
        name: str,
        kind: type[A],
        key: str,
        change: Callable[[A | None], A],
        complete: bool | None = None,
        seconds: float = 0.0,
        root: str = "",
    ) -> A:
        """Read, change and write an artifact while nobody else can: rows that several add at once are all kept.

        change: given the artifact, or None where there is none of this key, returns the new one. It must be quick and
        must not write to the same run. complete: None keeps what the entry says, False for a new one. seconds: added
        to the entry's. root: kept where it is empty. Returns what was written.
        """
        with self._changing(run):
            entry = self._newest_entry(run, name)
            known = None
            if entry is not None and entry.key == key:
                try:
                    known = self._open(run, entry, kind)
                except (OSError, DamagedError) as error:
                    self._report_file(run, entry, getattr(error, "strerror", None) or str(error))
            before = Entry(key, "", "", False, 0.0) if known is None else entry
            artifact = change(known)
            raw = pack(artifact)
            complete = before.complete if complete is None else complete
            seconds, root = before.seconds + seconds, root or before.root
            self._put(run, name, raw, _new_entry(name, key, raw, complete, seconds, root))
        return artifact

    def borrow(self, run: str, name: str, key: str) -> bool:
        """Copy a complete artifact with this key from another run. False where there is none."""
        for store, other, entry in self._elsewhere(run, name):
            if entry.key != key or not entry.complete:
                continue
            try:
                raw = store._read(other, entry)
            except (OSError, DamagedError):  # deleted meanwhile, or no use
                continue
            with self._changing(run):
                self._put(run, name, raw, _new_entry(name, key, raw, True, entry.seconds, entry.root))
            return True
        return False

    def beginning(self, run: str, name: str, kind: type[A], root: str) -> A | None:
        """The artifact with this root to go on from: the run's own, complete or not, else the other run's that took
        the most seconds. None where there is none that can be read."""
        if not root:
            return None
        own = self.entry(run, name)
        if own is not None and own.root == root:
            found = self.load(run, name, kind)
            if found is not None:
                return found
        others = [found for found in self._elsewhere(run, name) if found[2].root == root]
        for store, other, entry in sorted(others, key=lambda found: -found[2].seconds):
            with contextlib.suppress(OSError, DamagedError):
                return store._open(other, entry, kind)
        return None

    def _elsewhere(self, run: str, name: str) -> Iterator[tuple[Store, str, Entry]]:
        """The artifact of this name in each other run, the lender's too: where it lies, the run, what is said of it."""
        for store in (self, self._lender) if self._lender is not None else (self,):
            for manifest in store.manifests():
                if (store is not self or manifest.run != run) and (entry := manifest.entries.get(name)) is not None:
                    yield store, manifest.run, entry

    def forget(self, run: str, names: Iterable[str]) -> None:
        """Remove artifacts that no longer belong to the run, and their files, so that nobody reads them."""
        gone = set(names)
        manifest = self.manifest(run)
        if manifest is None or not gone & manifest.entries.keys():
            return
        with self._changing(run):
            manifest = self._writable(run)
            entries = {name: entry for name, entry in manifest.entries.items() if name not in gone}
            self._write_manifest(dataclasses.replace(manifest, entries=entries), manifest)

    # One at a time

    @contextlib.contextmanager
    def computing(self, run: str) -> Iterator[None]:
        """Hold the run for one process. Raises InputError where another one computes it now."""
        busy = InputError(f"Run {run} is being computed by another process; wait for it or stop it.")
        with self._holding(run, COMPUTING_LOCK, 0, busy):
            yield

    @contextlib.contextmanager
    def _changing(self, run: str, new: bool = False) -> Iterator[None]:
        """Hold the manifest for one change of a run that must be there, or may be `new`."""
        if not new and is_plain_name(run) and not os.path.exists(self.root / run / MANIFEST):
            raise _vanished(run)
        busy = StoreError(
            f"Run {run} in the cache {self.root} has been held by another process for {LOCK_SECONDS} s; stop that one. "
            "What was computed before is kept."
        )
        with self._holding(run, MANIFEST_LOCK, LOCK_SECONDS, busy):
            yield

    @contextlib.contextmanager
    def _holding(self, run: str, lock_file: str, timeout: float, busy: InputError) -> Iterator[None]:
        self.check_writable()
        if not is_plain_name(run):
            raise InputError(f"{run!r} cannot be the name of a run; it must be the name of one folder in the cache.")
        with naming_failures(self.root):
            (self.root / run).mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / run / lock_file, timeout=timeout)
            try:
                lock.acquire(poll_interval=0.01)
            except Timeout as error:
                raise busy from error
        try:
            yield
        finally:
            self._leave_nothing(run, lock_file)
            lock.release()

    def _leave_nothing(self, run: str, held: str) -> None:
        """Take away the locks, and the folder, of a run that was deleted while a change waited, or never came to be."""
        folder = self.root / run
        if not folder.is_dir() or (folder / MANIFEST).exists():
            return
        other = FileLock(folder / (MANIFEST_LOCK if held == COMPUTING_LOCK else COMPUTING_LOCK), timeout=0)
        with contextlib.suppress(OSError, Timeout), other:  # somebody else may be making the run just now
            if not (folder / MANIFEST).exists():
                remove([folder / COMPUTING_LOCK, folder / MANIFEST_LOCK])
                folder.rmdir()

    # Files

    def _path(self, run: str, entry: Entry) -> Path:
        return self.root / run / Path(entry.file).name

    def _read(self, run: str, entry: Entry) -> bytes:
        raw = self._path(run, entry).read_bytes()
        if digest(raw) != entry.sha256:
            raise DamagedError("its content is not what the manifest says")
        return raw

    def _open(self, run: str, entry: Entry, kind: type[A], fits: Callable[[A], bool] | None = None) -> A:
        """Raises OSError or DamagedError."""
        artifact = unpack(kind, self._read(run, entry))
        if fits is not None and not _fits(fits, artifact):
            raise DamagedError("it does not fit the run: it has other shapes, or numbers that are not finite")
        return artifact

    def _newest_entry(self, run: str, name: str) -> Entry | None:
        """As `entry`, from the file and never from memory."""
        found = self._manifests.read(run)
        return found.entries.get(name) if isinstance(found, Manifest) else None

    def _writable(self, run: str) -> Manifest:
        found = self._manifests.read(run)
        if not isinstance(found, Manifest):
            raise _vanished(run)
        return found

    def _put(self, run: str, name: str, raw: bytes, entry: Entry) -> None:
        """Write an artifact's file, name it, and remove what it replaces; the run's manifest must be held."""
        manifest = self._writable(run)
        path = self._path(run, entry)
        with naming_failures(self.root):
            remove(temporary_files(path.parent, STALE_SECONDS))
            write_whole(path, raw)
        try:
            self._write_manifest(dataclasses.replace(manifest, entries=manifest.entries | {name: entry}), manifest)
        except StoreError:
            if path.name not in manifest.files:
                remove([path])
            raise
        self._problems.drop(lambda where: where == f"{run}/{path.name}")

    def _write_manifest(self, manifest: Manifest, before: Manifest | None = None) -> None:
        """Write it, then remove the files that only the one `before` it named."""
        folder = self.root / manifest.run
        with naming_failures(self.root):
            write_whole(folder / MANIFEST, serialise(manifest))
        replaced = before.files - manifest.files if before else frozenset()
        remove([folder / file for file in replaced])
        settled = {f"{manifest.run}/{file}" for file in (*replaced, MANIFEST)}
        self._problems.drop(lambda where: where in settled)

    def _set_aside(self, run: str, why: str) -> None:
        """Keep a manifest that this version cannot read under a name that it does not use."""
        path = self.root / run / MANIFEST
        count = 0
        while (kept := path.with_name(f"manifest.{why}{f'-{count}' if count else ''}.json")).exists():
            count += 1
        with naming_failures(self.root), contextlib.suppress(FileNotFoundError):
            path.read_bytes()  # one that the disk does not give may be sound: then nothing is changed
            os.replace(path, kept)

    def _report_file(self, run: str, entry: Entry, reason: str | None) -> None:
        where = f"{run}/{Path(entry.file).name}"
        self.report(where, f"{where} cannot be used: {reason}.")


def _new_entry(name: str, key: str, raw: bytes, complete: bool, seconds: float, root: str) -> Entry:
    sha256 = digest(raw)
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80]
    return Entry(key, f"{readable}-{sha256[:12]}{SUFFIX}", sha256, complete, round(seconds, 6), root)


def _vanished(run: str) -> StoreError:
    return StoreError(f"The manifest of run {run} vanished or was damaged while it was being computed; run it again.")


def _fits(fits: Callable[[A], bool], artifact: A) -> bool:
    try:
        return fits(artifact)
    except (AttributeError, IndexError, TypeError, ValueError):  # asked of an array what only another kind has
        return False
