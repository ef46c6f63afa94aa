"""What sharing a run costs: two processes of one thread each against one of two threads, which have the same cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import Line, compare

ROOT = Path(__file__).parents[1]
# Enough of every stage for several rounds of both.
SETTINGS = (
    "curvature.images=48",
    "cka.images=256",
    "search.generations=2",
    "search.images=64",
    "correction.images=256",
    "evaluation.gallery=1000",
    "evaluation.queries=250",
    "evaluation.points=7",
)
SHARED = ("curvature", "cka", "search", "evaluation", "correction", "evaluation-corrected")


def two_processes(pairs: int = 3) -> Line:
    """Seconds of the shared stages, as the manifest has them: without starting Python and loading the model twice."""
    result = compare(lambda: _seconds(2), lambda: _seconds(1), pairs, warmup=0)
    return Line(
        subject="a run by two processes, to one of as many threads",
        value=result.ratio,
        unit="x",
        target=1.15,
        times=(("two processes, one thread each", result.ours), ("one process, two threads", result.bare)),
        note=", ".join(SHARED),
    )


def _seconds(processes: int) -> float:
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if processes > 1 else []
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    with tempfile.TemporaryDirectory() as cache:
        subprocess.run(
            [sys.executable, *start, "-m", "snapvit", "run", "--cache", cache, *settings],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": str(2 // processes), "OMP_WAIT_POLICY": "PASSIVE"},
            capture_output=True,
            check=True,
        )
        (manifest,) = Path(cache).glob("*/manifest.json")
        entries = json.loads(manifest.read_text())["entries"]
    return sum(entries[name]["seconds"] for name in SHARED)
