"""One worker thread a process: jobs queue up, one runs, pages read frozen snapshots. Knows nothing of Streamlit."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from snapvit.environment import settle
from snapvit.errors import Cancelled, InputError
from snapvit.jobs.tasks import RunTask, Task, Workbench
from snapvit.pipeline.progress import Event, Progress, Reporter
from snapvit.store.store import Store

log = logging.getLogger(__name__)


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def active(self) -> bool:
        """Queued or running."""
        return self in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class JobSnapshot:
    """A job as it was at one moment."""

    id: int
    task: Task
    state: JobState
    progress: Progress
    events: tuple[Event, ...]
    error: str | None  # one sentence, of a failed job
    submitted: float  # seconds since 1970


class _Job:
    def __init__(self, number: int, task: Task) -> None:
        self.id, self.task = number, task
        self.state = JobState.QUEUED
        self.error: str | None = None
        self.reporter = Reporter()
        self.submitted = time.time()

    def snapshot(self) -> JobSnapshot:
        reporter = self.reporter
        return JobSnapshot(
            self.id, self.task, self.state, reporter.progress, reporter.events, self.error, self.submitted
        )


@cache
def _load_engine() -> None:
    """Import torch and all that computes, so that what a job leaves in memory afterwards is its own."""
    import snapvit.pipeline.measure
    import snapvit.pipeline.running  # noqa: F401

    settle()


class JobManager:
    """Owns the pipeline of this process. All methods may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._bench = Workbench(store)
        self._jobs: dict[int, _Job] = {}
        self._numbers = itertools.count(1)
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="snapvit-worker", daemon=True)
        self._thread.start()

    def submit(self, task: Task) -> int:
        """Queue a task and return its job's id; one that is queued or running and not being stopped keeps its job."""
        with self._lock:
            for job in self._jobs.values():
                if job.state.active and job.task == task and not job.reporter.cancelled:
                    return job.id
            job = _Job(next(self._numbers), task)
            self._jobs[job.id] = job
        self._queue.put(job)
        return job.id

    def cancel(self, job_id: int) -> None:
        """Ask a job to stop; a queued one never starts. Harmless for an ended or unknown one, and when repeated."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                return
            if job.state is JobState.QUEUED:
                job.state = JobState.CANCELLED
        job.reporter.cancel()

    def snapshot(self, job_id: int) -> JobSnapshot | None:
        """The job now; None for an unknown one."""
        job = self._jobs.get(job_id)
        return job.snapshot() if job else None

    def snapshots(self) -> list[JobSnapshot]:
        """All jobs of this process, newest first."""
        return [job.snapshot() for job in sorted(self._jobs.values(), key=lambda j: -j.id)]

    def current(self) -> JobSnapshot | None:
        """The job that runs, else the first that waits, else None."""
        active = [job for job in self.snapshots() if job.state.active]
        running = [job for job in active if job.state is JobState.RUNNING]
        return (running or active[::-1] or [None])[0]

    def last_run(self) -> JobSnapshot | None:
        """The newest job that computes a run."""
        return next((job for job in self.snapshots() if isinstance(job.task, RunTask)), None)

    def close(self) -> None:
        """Stop everything and end the thread."""
        for job in self.snapshots():
            self.cancel(job.id)
        self._queue.put(None)
        self._thread.join(timeout=60)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._lock:
                if job.state is not JobState.QUEUED:
                    continue
                job.state = JobState.RUNNING
            state = self._run(job)
            with self._lock:
                job.state = state

    def _run(self, job: _Job) -> JobState:
        self._bench.reporter = job.reporter
        try:
            _load_engine()
            job.task.perform(self._bench)
        except Cancelled:
            return JobState.CANCELLED
        except InputError as error:
            job.error = str(error)
            return JobState.FAILED
        except Exception as error:  # a thread's exception would otherwise be seen by nobody
            log.exception("job %d failed", job.id)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            job.error = f"The job stopped on an error the explorer did not foresee ({reason})."
            return JobState.FAILED
        return JobState.FINISHED
