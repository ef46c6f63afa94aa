"""Peak resident memory of whole runs, each in a process of its own."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.subjects import VIT_B, VIT_L, bundled_split, random_vit
from benchmarks.timing import Line
from snapvit.data.sources import open_source
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.config import (
    PRESETS,
    CkaConfig,
    CorrectionConfig,
    CurvatureConfig,
    EvaluationConfig,
    RunConfig,
    RunRequest,
    SearchConfig,
)
from snapvit.pipeline.progress import Event, Reporter
from snapvit.pipeline.running import complete_run, run_wants
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.table import stages_for
from snapvit.pipeline.workspace import Workspace
from snapvit.store.codec import encode
from snapvit.store.store import Store

ROOT = Path(__file__).parents[1]
FEW = RunConfig(  # enough images to fill one batch of every stage
    curvature=CurvatureConfig(images=7),
    cka=CkaConfig(images=64),
    search=SearchConfig(generations=1, population=2, images=16),
    correction=CorrectionConfig(images=64),
    evaluation=EvaluationConfig(gallery=64, queries=16, points=2),
)
FEWEST = RunConfig(  # of a model of which one view of one image is a batch
    curvature=CurvatureConfig(images=1, local_views=0),
    search=SearchConfig(generations=1, population=2, images=2, pairs=((0.65, 0.5),)),
    evaluation=EvaluationConfig(k=2, gallery=3, queries=2, points=2),
)


def bundled_run() -> Line:
    """The quick preset of the bundled model, from loading to the last measured cut."""
    return _line("memory, bundled run", "quick", 1.5, "quick preset")


def vit_b_run() -> Line:
    """All stages of a ViT-B/16 at 224 pixels on few images; their batches are as large as in a long run."""
    return _line("memory, ViT-B/16 pipeline", "vit_b", 4.0, "every stage, few images")


def vit_l_run() -> Line:
    """Curvature, search and evaluation of a ViT-L/14 at 518 pixels, S = 408, on the fewest images there can be."""
    return _line("memory, ViT-L/14 at 518 px", "vit_l", 6.0, "curvature, search, evaluation of 2 to 5 images")


def _line(subject: str, which: str, target: float, note: str) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", which, folder],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    peaks = json.loads(answer.stdout)
    stages = ", ".join(f"{stage} {peak:.2f}" for stage, peak in peaks.items())
    return Line(subject, max(peaks.values()), "GB", target, note=f"{note}; peak so far at the end of {stages}")


def main(which: str, folder: str) -> None:
    """Run one pipeline here and print, as JSON, the peak so far at the end of each stage (GB)."""
    peaks, stage = {}, "loading"

    def watch(event: Event) -> None:
        nonlocal stage
        if event.kind == "stage":
            peaks[stage] = peak_gigabytes()
            stage = event.text.split()[0]

    store, reporter = Store(Path(folder)), Reporter(watch)
    if which == "quick":
        complete_run(Workspace.open(RunRequest(config=PRESETS["quick"])), store, reporter)
    elif which == "vit_b":
        complete_run(_opened(VIT_B, 224, FEW), store, reporter)
    else:
        workspace = _opened(VIT_L, 518, FEWEST)
        request = workspace.request
        store.create(request.run, encode(request)[1], workspace.facts, workspace.nodes)
        run_wants(workspace, store, reporter, list(map(Want, stages_for(request, [EVALUATION]))))
    peaks[stage] = peak_gigabytes()
    print(json.dumps(peaks))


def _opened(name: str, image_size: int, config: RunConfig) -> Workspace:
    """A model with random weights, and the bundled images."""
    loaded, cpu = random_vit(name, image_size), torch.device("cpu")
    return Workspace(RunRequest(ModelSpec(name), config=config), loaded, open_source("bundled"), bundled_split(), cpu)


def peak_gigabytes() -> float:
    """Most memory that was ever resident in this process, in GB of 10^9 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage may name the parent's peak here: Linux hands it on to a child
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024 / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


if __name__ == "__main__":
    main(*sys.argv[1:])
