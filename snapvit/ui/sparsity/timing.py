"""The offer to time the cuts on this computer, where what is shown was timed on another one, or not at all."""

from __future__ import annotations

from snapvit.devices import is_here, timing_machine
from snapvit.environment import only_shows
from snapvit.jobs.tasks import StageTask
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.ui.offer import offer


def timing_offer(results: RunResults) -> None:
    """A button that times the path's cuts here; nothing where that is done, or cannot or must not be done."""
    kind = results.request.device
    if results.imported or only_shows() or not is_here(kind):
        return
    here = timing_machine(kind)
    if results.stored.is_whole(LATENCY, here.id):
        return
    there = results.latencies
    what = "No latency of this run is known yet."
    if there is not None and not results.timed_here:
        what = f"Latencies shown were measured on another computer ({there.machine.label}); this one may differ."
    elif there is not None:
        what = "Not all cuts of the path are timed on this computer yet."
    offer(
        StageTask(results.summary.run, (Want(LATENCY, (here.id,)),)),
        f"{what} Timing every cut of the path beside the full model takes about half a minute for the bundled model; "
        "nothing else should be busy meanwhile.",
        "Measure here",
        icon=":material/timer:",
        key="time_here",
    )
