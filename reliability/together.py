"""Several processes on one cache: every cut that any of them measured is there afterwards, once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from reliability.sample_run import finished_sample, sample_request
from reliability.verdict import Verdict
from snapvit.store.store import Store
from snapvit.tables import Measurements

ROOT = Path(__file__).parents[1]
# Measures its cuts one by one and says what it found; other processes do the same at the same time.
MEASURE = """
import json, sys
from snapvit.pipeline.measure import measure_cut
from snapvit.pipeline.progress import Reporter
from snapvit.store.store import Store
store, run, pairs = Store(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
print(json.dumps([measure_cut(store, run, mlp, heads, Reporter()).cosine for mlp, heads in pairs]))
"""


def together(rounds: int = 10, cuts: int = 8, seed: int = 0) -> Verdict:
    """`rounds` times two and then four processes, each with `cuts` cuts, half of which all of them measure."""
    verdict, draw, run = Verdict("together"), random.Random(seed), sample_request().run
    with tempfile.TemporaryDirectory() as folder:
        store = finished_sample(Path(folder))
        for turn in range(rounds):
            for many in (2, 4):
                shared = [_pair(draw) for _ in range(cuts // 2)]
                asked = [shared + [_pair(draw) for _ in range(cuts - len(shared))] for _ in range(many)]
                said = _measure(store.root, run, asked)
                table = Store(folder).load(run, "evaluation", Measurements)
                for pairs, cosines in zip(asked, said, strict=True):
                    for pair, cosine in zip(pairs, cosines, strict=True):
                        verdict.add(f"cut by {many} processes", _fault(table, pair, cosine, f"round {turn}"))
    return verdict


def _pair(draw: random.Random) -> tuple[float, float]:
    return round(draw.uniform(0, 0.95), 4), round(draw.uniform(0, 0.8), 4)


def _measure(cache: Path, run: str, asked: list[list[tuple[float, float]]]) -> list[list[float]]:
    commands = [[sys.executable, "-c", MEASURE, str(cache), run, json.dumps(pairs)] for pairs in asked]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for command in commands]
    return [json.loads(process.communicate()[0]) for process in processes]


def _fault(table: Measurements, pair: tuple[float, float], cosine: float, where: str) -> str | None:
    rows = [i for i in range(len(table)) if (table.mlp[i], table.heads[i]) == pair]
    if len(rows) != 1:
        return f"{where}: the cut at {pair} has {len(rows)} rows"
    return None if table.cosine[rows[0]] == cosine else f"{where}: the cut at {pair} has another number than was said"
