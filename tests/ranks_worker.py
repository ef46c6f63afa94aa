"""What the tests of several processes run in each of them: every stage that is shared, with many small items of work.

`python -m torch.distributed.run ... ranks_worker.py CACHE [CACHE ...]` makes everything in each cache, or goes on with
it; words that begin with `run` are a command of the explorer's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from snapvit import cli
from snapvit.elastic import latency
from snapvit.pipeline import effort
from snapvit.pipeline.agreements import wants_of
from snapvit.pipeline.comparing import compare_rankings
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.contenders import Contender
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.running import run_pipeline, run_wants, take_part
from snapvit.ranks import joining
from snapvit.ranks.ranks import Ranks
from snapvit.store.store import Store

SETTINGS = (
    "curvature.images=7",
    "curvature.local_views=1",
    "cka.images=21",
    "search.generations=6",
    "search.population=5",
    "search.images=9",
    "search.pairs=[[0.35, 0.2], [0.65, 0.5]]",
    "search.start=displacement",
    "correction.images=27",
    "evaluation.k=5",
    "evaluation.gallery=40",
    "evaluation.queries=20",
    "evaluation.points=5",
    "interactions.images=6",
    "interactions.probes=2",
)
CONTENDERS = (
    "snip",
    "variance",
    "gauss-newton-unexplained",
    "snapvit curvature.criterion=accumulated search.generations=1",
)


def small_items() -> None:
    """A few images a batch, so that few images make enough batches for several processes."""
    torch.set_num_threads(1)
    latency.LEAST_ROUNDS = latency.MOST_ROUNDS = 1
    effort.FORWARD_BATCH, effort.VIEW_TOKENS = 4, 300
    from snapvit.method import curvature

    curvature.SUMMED_IMAGES = 3


def request() -> RunRequest:
    return RunRequest(config=with_settings(PRESETS["quick"], list(SETTINGS)))


def everything(root: Path, ranks: Ranks, reporter: Reporter | None = None) -> None:
    """A run, its interactions and a comparison."""
    store, asked = Store(root), request()
    workspace = run_pipeline(asked, store, reporter or Reporter(), ranks=ranks)
    if ranks.first:
        run_wants(workspace, store, Reporter(), wants_of(StoredRun.open(store, asked.run), 40))
    else:
        take_part(workspace)
    contenders = [Contender.parse(text) for text in CONTENDERS]
    compare_rankings(store, asked.run, contenders, 1, Reporter(), workspace, points=(0.5, 0.8), ranks=ranks)


def main(words: list[str]) -> int:
    small_items()
    joining.SILENT_SECONDS = float(os.environ.get("SILENT_SECONDS", joining.SILENT_SECONDS))
    if words[0] == "run":
        return cli.main(words)
    with joining.joined() as crew:
        for root in words:
            everything(Path(root), crew.ranks)
        return crew.leave(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
