"""What tells a run's results from those of other runs and of other times, for what is kept of them."""

from __future__ import annotations

from snapvit.pipeline.results import RunResults
from snapvit.ui.resources import run_stamp, store

RunKey = tuple[str, str, int | None]


def run_key(results: RunResults) -> RunKey:
    """Where the run is, its name, and a number that changes whenever something is added to it."""
    run = results.summary.run
    return str(store().root), run, run_stamp(run)
