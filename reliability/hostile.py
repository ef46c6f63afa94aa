"""Spoilt score files, checkpoints, pictures and zips: each is taken or refused in one sentence, soon and for little
memory, and nothing in it is run."""

from __future__ import annotations

import json
import pickle
import random
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reliability.hostile_seeds import seeds, spoilt, written
from reliability.verdict import Verdict

ROOT = Path(__file__).parents[1]
LONGEST = 20.0  # seconds that a file may take
MOST = 1024.0  # MB that it may take


class Touch:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


class Worker:
    """A process that opens files; a new one takes its place where it died, hung or grew."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._base = 0.0

    def open(self, kind: str, path: Path) -> tuple[str, str | None]:
        """What came of a file: the outcome, and the fault in it, if there is one."""
        if self._process is None:
            command = [sys.executable, "-m", "reliability.hostile_worker"]
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        self._process.stdin.write(json.dumps({"kind": kind, "path": str(path)}) + "\n")
        self._process.stdin.flush()
        started = time.monotonic()
        ready, _, _ = select.select([self._process.stdout], [], [], LONGEST + (0 if self._base else 60))
        seconds = time.monotonic() - started
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.stop()
            return ("killed", "it killed the process") if ready else ("hung", f"it took more than {seconds:.0f} s")
        answer = json.loads(line)
        grown = answer["peak"] - self._base if self._base else 0.0
        self._base = self._base or answer["peak"]
        if grown > MOST:
            self.stop()
            return "large", f"it took {grown:.0f} MB"
        outcome = answer["outcome"]
        return (outcome, None) if not outcome.startswith("crash") else ("crash", outcome)

    def stop(self) -> None:
        """End this very process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process, self._base = None, 0.0


def hostile(count: int = 10_000, seed: int = 0, keep: Path | None = None) -> Verdict:
    """`count` spoilt files; those that showed a fault are kept in the folder `keep`."""
    verdict, draw, sound, worker = Verdict("hostile"), random.Random(seed), seeds(), Worker()
    others = [raw for _, _, raw in sound]
    with tempfile.TemporaryDirectory() as text:
        folder, slowest = Path(text), 0.0
        mark = folder / "was-run"
        payload = pickle.dumps({"state_dict": Touch(mark)}, protocol=2)
        for kind, name, raw in sound:  # and so that a worker's first file, which loads libraries, is a sound one
            outcome, fault = worker.open(kind, written(folder, name, raw))
            verdict.add(
                f"{kind}: {outcome}", fault or (f"the sound {name} is {outcome}" if outcome != "taken" else None)
            )
        for number in range(count):
            kind, name, raw = draw.choice(sound)
            raw = spoilt(draw, raw, others, payload)
            started = time.monotonic()
            outcome, fault = worker.open(kind, written(folder, name, raw))
            slowest = max(slowest, time.monotonic() - started)
            if mark.exists():
                mark.unlink()
                fault = "an instruction in it was run"
            verdict.add(f"{kind}: {outcome}", fault and f"file {number}, {name}: {fault}")
            if fault and keep is not None:
                (keep / f"{number}-{name}").write_bytes(raw)
        verdict.notes.append(f"the slowest took {slowest:.1f} s")
    worker.stop()
    return verdict
