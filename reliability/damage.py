"""Damage to the files of a finished run, one at a time: what is read is what was written, or it is named."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reliability.sample_run import finished_sample, sample_request
from reliability.verdict import Verdict
from snapvit.errors import InputError
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun, list_runs
from snapvit.pipeline.running import open_workspace, run_wants
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.attention import ATTENTION, EXAMPLES
from snapvit.pipeline.stages.cka import CUT_CKA
from snapvit.pipeline.table import TABLE
from snapvit.store.codec import encode
from snapvit.store.store import Store

PAGE = 4096  # bytes


def damage(count: int = 4000, seed: int = 0) -> Verdict:
    """`count` damages to a run that holds results of the main path and derived ones."""
    verdict, draw, run = Verdict("damage"), random.Random(seed), sample_request().run
    with tempfile.TemporaryDirectory() as folder:
        store = finished_sample(Path(folder))
        run_wants(
            open_workspace(store, run),
            store,
            Reporter(),
            [Want(CUT_CKA, (0.35, 0.2)), Want(ATTENTION, (0.0, 0.0, EXAMPLES))],
        )
        home = Path(folder) / run
        want = _read(Store(folder), run)
        good = {path: path.read_bytes() for path in sorted(home.iterdir()) if path.suffix in (".json", ".safetensors")}
        for _ in range(count):
            name, touched = draw.choice(list(KINDS)), draw.sample(sorted(good), 2)
            KINDS[name](draw, touched)
            changed = [path for path in touched if not path.exists() or path.read_bytes() != good[path]]
            reader = Store(folder)
            found = _read(reader, run)
            silent = [key for key, value in found.items() if value != want.get(key)]
            lost = want.keys() - found.keys()
            fault = f"{name} of {changed[0].name}: {silent[0]} reads otherwise" if silent else None
            if lost and not reader.problems:
                fault = f"{name} of {changed[0].name}: {min(lost)} is gone without a word"
            verdict.add(f"{name}: {'named' if reader.problems else 'harmless'}", fault)
            for path in touched:
                path.write_bytes(good[path])
    return verdict


def _flip(draw: random.Random, paths: list[Path]) -> None:
    raw = bytearray(paths[0].read_bytes())
    raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    paths[0].write_bytes(raw)


def _truncate(draw: random.Random, paths: list[Path]) -> None:
    raw = paths[0].read_bytes()
    paths[0].write_bytes(raw[: draw.randrange(len(raw))])


def _zero(draw: random.Random, paths: list[Path]) -> None:
    raw = bytearray(paths[0].read_bytes())
    start = draw.randrange(0, len(raw), PAGE)
    raw[start : start + PAGE] = bytes(len(raw[start : start + PAGE]))
    paths[0].write_bytes(raw)


def _swap(_: random.Random, paths: list[Path]) -> None:
    a, b = (path.read_bytes() for path in paths)
    paths[0].write_bytes(b)
    paths[1].write_bytes(a)


def _remove(_: random.Random, paths: list[Path]) -> None:
    """Of an artifact: without its manifest there is no run, which any reader says."""
    next(path for path in paths if path.suffix == ".safetensors").unlink()


KINDS: dict[str, Callable[[random.Random, list[Path]], None]] = {
    "a flipped bit": _flip,
    "a truncation": _truncate,
    "a zeroed page": _zero,
    "a swap": _swap,
    "a lost file": _remove,
}


def _read(store: Store, run: str) -> dict[str, object]:
    """All that readers can get of a run: the summary, what it was asked for, its facts and every artifact's numbers."""
    found: dict[str, object] = {}
    with contextlib.suppress(InputError):
        found["summary"] = {summary.run: str(summary) for summary in list_runs(store)}.get(run)
        stored = StoredRun.open(store, run)
        found |= {
            "request": str(stored.request),
            "facts": str(stored.manifest.facts),
            "nodes": str(stored.manifest.nodes),
        }
        for name in stored.manifest.entries:
            for stage in TABLE.values():
                args = stage.asked_for(name)
                artifact = None if args is None else stored.load(stage, *args)
                if artifact is not None:
                    arrays, values = encode(artifact)
                    found[name] = ({key: _bytes(array) for key, array in arrays.items()}, str(values))
    return {key: value for key, value in found.items() if value is not None}


def _bytes(array: np.ndarray) -> tuple[str, bytes]:
    return f"{array.dtype}{array.shape}", array.tobytes()
