"""Computes what is missing of the run that ships in `cache/`, and what its pages show at first sight."""

from __future__ import annotations

from pathlib import Path

from snapvit.pipeline.config import PRESETS, RunRequest
from snapvit.pipeline.embedding_map import SHIPPED, EmbeddingTask
from snapvit.pipeline.lessons import GradientsTask
from snapvit.pipeline.store import Store
from snapvit.pipeline.tasks import RunTask, Workbench

REQUEST = RunRequest(config=PRESETS["paper"])
TASKS = (
    RunTask(REQUEST),
    GradientsTask(REQUEST.run, REQUEST.config.curvature.images),
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
