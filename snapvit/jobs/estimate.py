"""What a run will take on this machine, asked for before it is started.

No torch here, so that pages can hold estimates; `trial` measures.
"""

from __future__ import annotations

from dataclasses import dataclass

from snapvit.jobs.manager import JobManager, JobSnapshot
from snapvit.jobs.tasks import Workbench
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.effort import Estimate

EVENT = "estimate"  # kind of the event that carries the numbers


@dataclass(frozen=True)
class EstimateTask:
    """Time a few batches of a run, and say what the whole would take. Nothing is stored."""

    request: RunRequest

    @property
    def run(self) -> str:
        """Name of the run that is estimated."""
        return self.request.run

    @property
    def label(self) -> str:
        """What it does, for people."""
        return "Timing a few batches"

    def perform(self, bench: Workbench) -> None:
        """Measure, and leave the numbers as the job's last event."""
        from snapvit.pipeline.trial import estimate_run

        bench.clear()  # one model in memory at a time
        estimate = estimate_run(self.request, bench.reporter, bench.store.root)
        bench.reporter.event(EVENT, f"about {estimate.total / 60:.0f} minutes", **estimate.as_values())


def find_estimate(jobs: JobManager, request: RunRequest) -> tuple[JobSnapshot | None, Estimate | None]:
    """The newest job that estimates this request, and what it found, each if there is one."""
    job = next((job for job in jobs.snapshots() if job.task == EstimateTask(request)), None)
    found = [event.values for event in job.events if event.kind == EVENT] if job else []
    return job, Estimate.from_values(found[-1]) if found else None
