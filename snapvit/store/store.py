"""The cache on disk: one folder a run, with a manifest and the stages' arrays as safetensors.

- A stage's file is found by its key, which is made from exactly what the stage depends on; a run that needs a stage
  which another run has already finished takes a copy of it.
- A file is written under a temporary name and renamed, then the manifest likewise, so a crash at any moment leaves
  the old state or the new one.
- The manifest names the digest of every file. A file that does not match is reported in `Store.problems` and
  counts as absent; it is computed again, never trusted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import safetensors.numpy
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from snapvit.artifacts import RunFacts
from snapvit.errors import InputError
from snapvit.store.codec import decode, encode

MANIFEST, MANIFEST_SCHEMA = "manifest.json", 1
VALUES = "values"  # the one entry of a file's metadata: the artifact's plain values as JSON
STALE_SECONDS = 3600  # a temporary file older than this was left by a crash
A = TypeVar("A")


class StoreError(InputError):
    """The cache cannot be written. What was computed before stays where it is."""


def default_root() -> Path:
    """SNAPVIT_CACHE, or `cache` beside the package, where the bundled run lies."""
    return Path(os.environ.get("SNAPVIT_CACHE") or Path(__file__).parents[2] / "cache")


@dataclass(frozen=True)
class StageEntry:
    """What the manifest says of one stage's file."""

    key: str
    file: str
    sha256: str
    complete: bool  # False: a checkpoint to go on from
    seconds: float  # spent on it so far


@dataclass(frozen=True)
class Manifest:
    """What a run is and what of it is done."""

    run: str
    created: float  # seconds since 1970
    request: dict[str, Any]  # the RunRequest, encoded
    facts: RunFacts | None  # known once the model was loaded
    stages: dict[str, StageEntry]


class Store:
    """Runs under one folder. Reading never writes; every write is whole or not at all."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()
        self.problems: dict[str, str] = {}  # file -> sentence, of what could not be used

    def runs(self) -> list[str]:
        """Names of the runs that have a readable manifest, newest first."""
        folders = sorted(p.parent.name for p in self.root.glob(f"*/{MANIFEST}"))
        manifests = [m for name in folders if (m := self.manifest(name)) is not None]
        return [m.run for m in sorted(manifests, key=lambda m: -m.created)]

    def manifest(self, run: str) -> Manifest | None:
        """The manifest of a run; None where there is none, or where it is damaged (then named in `problems`)."""
        path = self.root / run / MANIFEST
        try:
            content = json.loads(path.read_text())
            if content["schema"] != MANIFEST_SCHEMA or content["run"] != run:
                raise ValueError(f"it is of run {content['run']!r}, schema {content['schema']!r}")
            facts = content["facts"]
            return Manifest(
                run=run,
                created=float(content["created"]),
                request=content["request"],
                facts=None if facts is None else decode(RunFacts, {}, facts),
                stages={name: _stage_entry(entry) for name, entry in content["stages"].items()},
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._report(path, f"it is not a manifest this version can read ({error})")
            return None

    def create(self, run: str, request: dict[str, Any], facts: RunFacts) -> None:
        """Make the run's folder and manifest, or bring the facts of an existing one up to date."""
        with self._changing(run):
            old = self.manifest(run)
            created = old.created if old else time.time()
            self._write_manifest(Manifest(run, created, request, facts, old.stages if old else {}))

    def load(self, run: str, stage: str, kind: type[A], key: str | None = None) -> A | None:
        """The stage's artifact; None where it is absent, of another key, or damaged (then named in `problems`)."""
        manifest = self.manifest(run)
        entry = manifest.stages.get(stage) if manifest else None
        if entry is None or (key is not None and entry.key != key):
            return None
        path = self.root / run / Path(entry.file).name
        try:
            raw = path.read_bytes()
            if hashlib.sha256(raw).hexdigest() != entry.sha256:
                raise ValueError("its content is not what the manifest says")
            with safe_open(path, framework="np") as file:
                values = json.loads((file.metadata() or {})[VALUES])
            return decode(kind, safetensors.numpy.load(raw), values)
        except FileNotFoundError as error:
            if self.entry(run, stage) not in (None, entry):  # replaced by a writer since the manifest was read
                return self.load(run, stage, kind, key)
            self._report(path, error.strerror)
        except KeyError as error:
            self._report(path, f"it lacks {error}")
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            self._report(path, f"{error}")
        return None

    def save(self, run: str, stage: str, key: str, artifact: Any, complete: bool, seconds: float) -> None:
        """Write a stage's artifact and name it in the manifest; the file it replaces is removed afterwards."""
        arrays, values = encode(artifact)
        raw = safetensors.numpy.save(arrays, metadata={VALUES: json.dumps(values)})
        digest = hashlib.sha256(raw).hexdigest()
        name = f"{stage}-{digest[:12]}.safetensors"
        with self._changing(run):
            self._write_file(self.root / run / name, raw)
            self._set_entry(run, stage, StageEntry(key, name, digest, complete, round(seconds, 3)))

    def borrow(self, run: str, stage: str, key: str) -> bool:
        """Copy a finished stage with this key from another run. False where there is none."""
        for other in self.runs():
            entry = self.manifest(other).stages.get(stage)
            if other == run or entry is None or entry.key != key or not entry.complete:
                continue
            path = self.root / other / Path(entry.file).name
            with contextlib.suppress(FileNotFoundError):
                raw = path.read_bytes()
                if hashlib.sha256(raw).hexdigest() == entry.sha256:
                    with self._changing(run):
                        self._write_file(self.root / run / path.name, raw)
                        self._set_entry(run, stage, entry)
                    return True
        return False

    def forget(self, run: str, stage: str) -> None:
        """Remove a stage that no longer belongs to the run, so that nobody reads it."""
        with self._changing(run):
            manifest = self.manifest(run)
            entry = manifest.stages.get(stage) if manifest else None
            if entry is not None:
                stages = {name: kept for name, kept in manifest.stages.items() if name != stage}
                self._write_manifest(dataclasses.replace(manifest, stages=stages))

    def entry(self, run: str, stage: str) -> StageEntry | None:
        """What the manifest says of a stage."""
        manifest = self.manifest(run)
        return manifest.stages.get(stage) if manifest else None

    def delete(self, run: str) -> None:
        """Remove a run and its files, damaged ones too. Raises InputError for no run, or one that is being computed."""
        folder = self.root / run
        if Path(run).name != run or not (folder / MANIFEST).is_file():
            raise InputError(f"There is no run named {run!r} in the cache.")
        with self.computing(run):
            pass  # only to know that nobody else does; a held lock file cannot be removed everywhere
        with _naming_failures(self.root):
            shutil.rmtree(folder)
        self.problems = {file: text for file, text in self.problems.items() if not file.startswith(f"{run}/")}

    @contextlib.contextmanager
    def computing(self, run: str) -> Iterator[None]:
        """Hold the run for one process. Raises InputError where another one computes it now."""
        with _naming_failures(self.root):
            (self.root / run).mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / run / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise InputError(f"Run {run} is being computed by another process; wait for it or stop it.") from error
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _changing(self, run: str) -> Iterator[None]:
        """Hold the run's manifest for one change."""
        with _naming_failures(self.root):
            (self.root / run).mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / run / ".manifest.lock", timeout=30):
                yield

    def _set_entry(self, run: str, stage: str, entry: StageEntry) -> None:
        manifest = self.manifest(run)
        if manifest is None:
            raise StoreError(f"The manifest of run {run} vanished or was damaged while it was being computed.")
        self._write_manifest(dataclasses.replace(manifest, stages=manifest.stages | {stage: entry}))

    def _write_manifest(self, manifest: Manifest) -> None:
        content = dataclasses.asdict(manifest) | {"schema": MANIFEST_SCHEMA}
        content["facts"] = None if manifest.facts is None else encode(manifest.facts)[1]
        self._write_file(self.root / manifest.run / MANIFEST, json.dumps(content, indent=1, sort_keys=True).encode())
        # What no manifest names any more was replaced, or was left by a crash between its writing and this.
        named = {Path(entry.file).name for entry in manifest.stages.values()}
        for path in (self.root / manifest.run).glob("*.safetensors"):
            if path.name not in named:
                path.unlink(missing_ok=True)

    def _write_file(self, path: Path, raw: bytes) -> None:
        for stale in path.parent.glob(".*.part"):
            if time.time() - stale.stat().st_mtime > STALE_SECONDS:
                stale.unlink(missing_ok=True)
        part = path.with_name(f".{path.name}.{uuid4().hex}.part")
        try:
            part.write_bytes(raw)
            os.replace(part, path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise

    def _report(self, path: Path, reason: str) -> None:
        where = f"{path.parent.name}/{path.name}"
        self.problems[where] = f"{where} cannot be used: {reason}."


def _stage_entry(content: dict[str, Any]) -> StageEntry:
    entry = StageEntry(**content)
    if not all(isinstance(text, str) for text in (entry.key, entry.file, entry.sha256)):
        raise ValueError(f"{entry.file!r} is no file of a stage")
    return entry


@contextlib.contextmanager
def _naming_failures(root: Path) -> Iterator[None]:
    """A failing disk becomes one sentence that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(
            f"The cache {root} cannot be written ({reason}); free or unlock it, or name another folder with --cache "
            "or SNAPVIT_CACHE. What was computed before is kept."
        ) from error
