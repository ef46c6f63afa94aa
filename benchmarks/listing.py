"""Listing a cache of many runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.timing import Line, Spread, percentile_95, seconds
from snapvit.artifacts import CostModel, RunFacts, Topology
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.results import list_runs
from snapvit.store.codec import encode
from snapvit.store.manifest import MANIFEST, Entry, Manifest, serialise
from snapvit.store.store import Store

RUNS, ENTRIES = 1000, 20
FACTS = RunFacts("model", "images", Topology(12, 6, 576, 144, 24, 17), CostModel(1, 2, 3, 4, 5, 6), tuple("abcdefghij"))


def runs(repeats: int = 60) -> Line:
    """Summaries of 1,000 runs from a store that has listed them before, as a page asks for at every rerun."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(RUNS):
            _write_run(Path(folder), number)
        first = [seconds(lambda: list_runs(Store(folder))) for _ in range(5)]
        store = Store(folder)
        assert len(list_runs(store)) == RUNS
        again = [seconds(lambda: list_runs(store)) for _ in range(repeats)]
    return Line(
        subject="list of 1,000 runs",
        value=1000 * percentile_95(again),
        unit="ms",
        target=50.0,
        times=(("again", Spread.of(again)), ("by a new process", Spread.of(first))),
        note=f"95th percentile of {repeats}; manifests of {ENTRIES} entries in a temporary folder",
    )


def _write_run(root: Path, number: int) -> None:
    entries = {f"entry-{i}": Entry(f"{i:020x}", f"e{i}.safetensors", f"{i:064x}", True, 1.5) for i in range(ENTRIES)}
    request = RunRequest(data=f"folder:/images/{number}")
    manifest = Manifest(request.run, float(number), encode(request)[1], FACTS, {"model": "0" * 20}, entries)
    (root / manifest.run).mkdir()
    (root / manifest.run / MANIFEST).write_bytes(serialise(manifest))
