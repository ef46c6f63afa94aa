"""What the tests of several processes run in each of them: every stage that is shared, with many small items of work.

`python -m torch.distributed.run ... ranks_worker.py CACHE [CACHE ...]` makes everything in the first cache, and makes
or goes on with a run in the others; words that begin with `run` are a command of the explorer's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from scripts.communication import Shared
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
from snapvit.ranks.ranks import Ranks, Sum
from snapvit.store.store import Store

SETTINGS = (
    "curvature.images=7",
    "curvature.local_views=1",
    "cka.images=21",
    "search.generations=5",
    "search.population=5",
    "search.images=9",
    "search.pairs=[[0.35, 0.2], [0.65, 0.5]]",
    "search.start=displacement",
    "correction.images=27",
    "evaluation.k=5",
    "evaluation.gallery=40",
    "evaluation.queries=20",
    "evaluation.points=3",
    "interactions.images=6",
    "interactions.probes=2",
)
CONTENDERS = (
    "snip",
    "variance",
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


def everything(root: Path, ranks: Ranks, reporter: Reporter | None = None, beside: bool = True) -> None:
    """A run, and beside it its interactions and a comparison."""
    store, asked = Store(root), request()
    workspace = run_pipeline(asked, store, reporter or Reporter(), ranks=ranks)
    if not beside:
        return
    if ranks.first:
        run_wants(workspace, store, Reporter(), wants_of(StoredRun.open(store, asked.run), 12))
    else:
        take_part(workspace)
    contenders = [Contender.parse(text) for text in CONTENDERS]
    compare_rankings(store, asked.run, contenders, 1, Reporter(), workspace, points=(0.5,), ranks=ranks)


def main(words: list[str]) -> int:
    small_items()
    joining.SILENT_SECONDS = float(os.environ.get("SILENT_SECONDS", joining.SILENT_SECONDS))
    if words[0] == "run":
        return cli.main(words)
    with joining.joined() as crew:
        sent_as_the_model_says(crew.ranks)
        for number, root in enumerate(words):
            everything(Path(root), crew.ranks, beside=number == 0)
        return crew.leave(0)


def sent_as_the_model_says(ranks: Ranks) -> None:
    """The bytes that docs/several_processes_model.md is made of are those that are sent."""
    pieces = [Sum(torch.zeros(count)) for count in (30_000, 7_000, 30_000)]

    def work() -> Iterator[None]:
        for item in ranks.share(range(7)):
            for piece in pieces:
                piece.numbers += item
            yield

    ranks.reduce(work(), pieces)
    assert all(torch.equal(piece.numbers, torch.full_like(piece.numbers, 21)) for piece in pieces)
    sent = np.array([getattr(ranks, "sent", 0) / ranks.size])
    total = sum(np.frombuffer(raw)[0] for raw in ranks.gather([sent.tobytes()]))
    model = Shared("", 7, 1.0, tuple(4 * len(piece.numbers) for piece in pieces)).sent(ranks.size)
    assert abs(total - model) <= 0.01 * model, (total, model)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
