"""What tells a run's results from those of other runs and of other times, for what is kept of them."""

from __future__ import annotations

from snapvit.pipeline.results import RunResults
from snapvit.ui.resources import store

RunKey = tuple[str, str, bool, tuple[str, ...]]


def run_key(results: RunResults) -> RunKey:
    """Where the run is, its name, how its cuts are looked at, and the digests of all that it held when it was read.

    Not a time of change: what is saved between the reading and the asking would be taken for what was read.
    """
    manifest = results.stored.manifest
    return str(store().root), manifest.run, results.correct, tuple(entry.sha256 for entry in manifest.entries.values())
