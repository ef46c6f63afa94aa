"""Computes what is missing of the run that ships in `cache/`, and what its pages show at first sight."""

from __future__ import annotations

from pathlib import Path

from snapvit.jobs.tasks import RunTask, Workbench
from snapvit.pipeline.attention import AttentionTask
from snapvit.pipeline.config import PRESETS, RunRequest, path_pair
from snapvit.pipeline.embedding_projection import SHIPPED, EmbeddingTask
from snapvit.pipeline.grid import FINE, GridTask
from snapvit.pipeline.lessons import GradientsTask
from snapvit.pipeline.map_tasks import CutCkaTask, NullSearchTask, ProjectionsTask
from snapvit.store.store import Store

REQUEST = RunRequest(config=PRESETS["paper"])
FIRST_CUT = path_pair(0.5)  # where a first visitor's slider stands
TASKS = (
    RunTask(REQUEST),
    GridTask(REQUEST.run, FINE),
    GradientsTask(REQUEST.run, REQUEST.config.curvature.images),
    ProjectionsTask(REQUEST.run),
    NullSearchTask(REQUEST.run),
    CutCkaTask(REQUEST.run, *FIRST_CUT),
    AttentionTask(REQUEST.run, *FIRST_CUT),
    *(EmbeddingTask(REQUEST.run, mlp, heads) for mlp, heads in SHIPPED),
)


def main() -> None:
    """Perform every task in turn."""
    bench = Workbench(Store(Path(__file__).parents[1] / "cache"))
    for task in TASKS:
        print(task.label, flush=True)
        task.perform(bench)


if __name__ == "__main__":
    main()
