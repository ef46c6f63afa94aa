"""Computes what is missing of the run that ships in `cache/`, and what its pages show at first sight."""

from __future__ import annotations

from pathlib import Path

from snapvit.jobs.tasks import MeasureTask, RunTask, StageTask, Workbench
from snapvit.pipeline.agreements import wants_of
from snapvit.pipeline.config import PRESETS, RunRequest, path_pair
from snapvit.pipeline.grid import FINE, grid_pairs
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.attention import ATTENTION, EXAMPLES, FULL
from snapvit.pipeline.stages.cka import CUT_CKA, MAIN_DIRECTIONS
from snapvit.pipeline.stages.correction import CORRECTION
from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION, SHIPPED
from snapvit.pipeline.stages.lessons import HEAD_GRADIENTS, IMAGE_LESSON, READY_IMAGES
from snapvit.pipeline.stages.pixel_knn import PIXEL_KNN
from snapvit.pipeline.stages.search import NULL_SEARCH
from snapvit.pipeline.table import CORRECTED
from snapvit.store.store import Store

REQUEST = RunRequest(config=PRESETS["paper"])
FIRST_CUT = path_pair(0.5)  # where a first visitor's slider stands
GRADIENTS = Want(HEAD_GRADIENTS, (REQUEST.config.curvature.images,))
WANTS = (
    GRADIENTS,
    Want(PIXEL_KNN),
    Want(MAIN_DIRECTIONS),
    Want(NULL_SEARCH, (REQUEST.config.search.generations,)),
    Want(CUT_CKA, FIRST_CUT),
    *(Want(ATTENTION, (*pair, EXAMPLES)) for pair in (FULL, FIRST_CUT)),
    *(Want(EMBEDDING_PROJECTION, pair) for pair in SHIPPED),
    Want(CORRECTED["cka-cut"], FIRST_CUT),
    Want(CORRECTED["attention"], (*FIRST_CUT, EXAMPLES)),
    *(Want(CORRECTED["embedding-projection"], pair) for pair in SHIPPED),
)


def main() -> None:
    """Perform every task in turn."""
    bench = Workbench(Store(Path(__file__).parents[1] / "cache"))
    for task in (
        RunTask(REQUEST),
        *(MeasureTask(REQUEST.run, tuple(grid_pairs(FINE)), correct) for correct in (False, True)),
        *(StageTask(REQUEST.run, (want,)) for want in WANTS),
    ):
        print(task.label, flush=True)
        task.perform(bench)
    stored = StoredRun.open(bench.store, REQUEST.run)
    StageTask(REQUEST.run, tuple(wants_of(stored))).perform(bench)  # interactions, measured and estimated
    images = stored.need(GRADIENTS.stage, *GRADIENTS.args).ids[:READY_IMAGES]
    StageTask(REQUEST.run, tuple(Want(IMAGE_LESSON, (str(image),)) for image in images)).perform(bench)
    # Large, and collected again in a second or two when somebody asks for a cut that is not measured.
    bench.store.forget(REQUEST.run, [CORRECTION.name])


if __name__ == "__main__":
    main()
