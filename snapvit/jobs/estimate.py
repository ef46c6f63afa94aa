"""Finding the estimate of a run among the jobs."""

from __future__ import annotations

from snapvit.jobs.manager import JobManager, JobSnapshot
from snapvit.jobs.tasks import ESTIMATE, EstimateTask
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.effort import Estimate


def find_estimate(jobs: JobManager, request: RunRequest) -> tuple[JobSnapshot | None, Estimate | None]:
    """The newest job that estimates this request, and what it found, each if there is one."""
    job = next((job for job in jobs.snapshots() if job.task == EstimateTask(request)), None)
    found = [event.values for event in job.events if event.kind == ESTIMATE] if job else []
    return job, Estimate.from_values(found[-1]) if found else None
