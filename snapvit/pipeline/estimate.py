"""What a run will take on this machine, asked for before it is started.

No torch here, so that pages can hold estimates; `trial` measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snapvit.pipeline.config import STAGES, RunRequest
from snapvit.pipeline.jobs import JobManager, JobSnapshot
from snapvit.pipeline.tasks import Workbench

EVENT = "estimate"  # kind of the event that carries the numbers


@dataclass(frozen=True)
class Estimate:
    """Sizes of the model, and what a run of nothing cached takes here."""

    parameters: int
    tokens: int  # of one image
    memory: float  # bytes, most that is resident at once
    seconds: Mapping[str, float]  # by stage

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    def as_values(self) -> dict[str, float]:
        """The numbers of an event."""
        stages = {f"{stage} seconds": seconds for stage, seconds in self.seconds.items()}
        return {"parameters": self.parameters, "tokens": self.tokens, "memory": self.memory} | stages

    @classmethod
    def from_values(cls, values: Mapping[str, float]) -> Estimate:
        """The other way."""
        seconds = {stage: values[f"{stage} seconds"] for stage in STAGES if f"{stage} seconds" in values}
        return cls(int(values["parameters"]), int(values["tokens"]), values["memory"], seconds)


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
