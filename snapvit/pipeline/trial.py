"""Measuring what a run will take: its own batches, a few of each kind, on this machine."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch

from snapvit.data.pixels import HELD_BYTES, pixel_table
from snapvit.data.views import view_batches
from snapvit.devices import device_for
from snapvit.evaluation.features import embeddings
from snapvit.method.curvature import estimate_curvature
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.effort import Estimate
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.pipeline.table import main_stages
from snapvit.pipeline.workspace import Workspace

TRIAL_SECONDS = 3.0  # about as long as one timed forward batch may take
SINGLE_PASSES = 3


def estimate_run(
    request: RunRequest, reporter: Reporter, cache: Path | None = None, device: str | None = None
) -> Estimate:
    """Load the request's model, time some of its batches, and derive seconds by stage and the peak of memory.

    The seconds are those of a run that finds nothing in the cache. Raises InputError as the run itself would, and
    Cancelled between two batches.
    """
    workspace = Workspace.open(request, reporter, cache, device or device_for(request.device))
    workspace.check_computing()
    effort, loaded = workspace.effort, workspace.loaded
    resident = resident_bytes()  # libraries, weights, the images as they are stored
    reporter.plan(4)
    reporter.begin("trial", 4)
    per_decoding, per_pass = _forward_seconds(workspace, reporter)
    per_view = _view_seconds(workspace, reporter)
    per_single = _single_seconds(workspace, reporter)
    seconds = {}
    for stage in (*main_stages(request), LATENCY):
        units = stage.units(effort, {}, None)
        seconds[stage.name] = (
            (units.passes + units.set_up) * per_pass
            + units.views * per_view
            + units.singles * per_single
            + units.decoded * per_decoding
        )
    return Estimate(
        parameters=sum(p.numel() for p in loaded.model.parameters()),
        tokens=effort.topology.tokens,
        memory=resident + effort.pixel_bytes(loaded.preprocess.size, HELD_BYTES) + effort.largest_batch_bytes,
        disk=effort.correction_disk + effort.pixel_disk(loaded.preprocess.size, HELD_BYTES),
        seconds={name: taken for name, taken in seconds.items() if taken},
    )


def _forward_seconds(workspace: Workspace, reporter: Reporter) -> tuple[float, float]:
    """Seconds to decode an image, and for its forward pass in a batch of the run's own size."""
    ids, loaded = workspace.split.calibration, workspace.loaded
    full = workspace.effort.forward_batch

    def decode(count: int) -> torch.Tensor:
        return pixel_table(workspace.source, ids[:count], loaded.preprocess).pixels

    def run(pixels: torch.Tensor) -> float:
        precision = workspace.request.config.precision
        return _timed(lambda: embeddings(loaded.model, [workspace.normalised(pixels)], precision))

    few = decode(2)
    run(few)  # the first pass sets up what later ones reuse
    each = run(few) / len(few)
    reporter.advance(1)
    count = max(2, min(full, len(ids), int(TRIAL_SECONDS / each)))
    decoding = _timed(lambda: decode(count)) / count
    pixels = decode(count)
    run(pixels)
    reporter.check()
    seconds = min(run(pixels) for _ in range(2)) / count
    reporter.advance(1)
    return decoding, seconds


def _view_seconds(workspace: Workspace, reporter: Reporter) -> float:
    """Seconds of one view: cropping, forward, backward, its share of the squared gradients."""
    loaded, views, config = workspace.loaded, workspace.views, workspace.request.config.curvature
    batch, together = workspace.effort.curvature_batch, workspace.effort.views_at_once

    def run(first: int) -> float:
        ids = workspace.ids["curvature"][first : first + batch]
        batches = view_batches(workspace.source, ids, views, loaded.preprocess, config.seed, batch)
        pixels = map(workspace.normalised, islice(batches, 1))
        criterion = config.criterion
        return _timed(
            lambda: estimate_curvature(loaded.model, loaded.anatomy, pixels, views.global_views, criterion, together)
        ) / (len(ids) * views.count)

    first = run(0)
    reporter.check()
    short = first * batch * views.count < TRIAL_SECONDS
    again = run(0) if short else first  # a long batch hides what the first one sets up
    reporter.advance(1)
    return min(first, again)


def _single_seconds(workspace: Workspace, reporter: Reporter) -> float:
    """Seconds of a pass of one image alone on one thread."""
    ids = workspace.ids["queries"][:1]
    pixels = pixel_table(workspace.source, ids, workspace.loaded.preprocess).pixels
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = min(
            _timed(lambda: embeddings(workspace.loaded.model, [workspace.normalised(pixels)]))
            for _ in range(SINGLE_PASSES)
        )
    finally:
        torch.set_num_threads(threads)
    reporter.advance(1)
    return seconds


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()  # what it returns lies on the CPU, so a device has done it
    return time.perf_counter() - start


def resident_bytes() -> float:
    """Memory of this process now; where the system does not say, the most that it ever was."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read_text())[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
