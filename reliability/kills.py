"""SIGKILL at a random moment of a run, again and again, until it is done: the numbers are those of an unbroken run."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reliability.sample_run import contents, sample_arguments, sample_request
from reliability.verdict import Verdict
from snapvit.store.store import Store

ROOT = Path(__file__).parents[1]
KILLED = "killed"
LONGEST = 120.0  # seconds that an unbroken run may take


def kills(count: int = 100, seed: int = 0) -> Verdict:
    """`count` kills, spread over as many runs as that takes."""
    verdict, draw, run = Verdict("kills"), random.Random(seed), sample_request().run
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        _finish(Path(folder) / "unbroken")  # by the same command, for sums depend on the number of threads
        usual, runs = time.monotonic() - started, 0
        want = contents(Store(Path(folder) / "unbroken"), run)
        while verdict.counts.get(KILLED, 0) < count:
            cache, runs = Path(folder) / f"broken-{runs}", runs + 1
            for _ in range(draw.randint(1, 5)):
                killed = _kill_after(cache, draw.uniform(0.0, usual))
                problems = Store(cache).problems
                verdict.add(KILLED if killed else "done before", problems[0] if problems else None)
                if not killed:
                    break
            error = _finish(cache)
            if error:
                verdict.faults.append(f"run {runs} does not go on: {error}")
            found = contents(Store(cache), run)
            others = sorted(name for name in want.keys() | found.keys() if want.get(name) != found.get(name))
            if others and not error:
                verdict.faults.append(f"run {runs} has other numbers than an unbroken one: {', '.join(others)}")
    verdict.notes.append(f"{runs} runs went on to the numbers of an unbroken run, to the last bit")
    return verdict


def _kill_after(cache: Path, seconds: float) -> bool:
    process = subprocess.Popen(_command(cache), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def _finish(cache: Path) -> str:
    """What is wrong with a run that is let go to its end; empty where nothing is."""
    done = subprocess.run(_command(cache), cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    return "" if done.returncode == 0 else done.stderr[-300:]


def _command(cache: Path) -> list[str]:
    return [sys.executable, "-m", "snapvit", *sample_arguments(cache)]
