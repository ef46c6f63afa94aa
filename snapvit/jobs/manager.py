"""The jobs of a process: they queue up, one computes at a time, pages read frozen snapshots. No Streamlit.

A brief job does not wait for the end of a long one: the long one rests between two of its batches while a second
thread, with a model of its own, performs the brief one. Never do both compute: the number of torch's threads belongs to
the process, and so does the processor.
"""

from __future__ import annotations

import itertools
import logging
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
    def __init__(self, number: int, task: Task, reporter: Reporter) -> None:
        self.id, self.task, self.reporter = number, task, reporter
        self.state = JobState.QUEUED
        self.error: str | None = None
        self.patient = False  # whether it waits for the long job before it
        self.submitted = time.time()

    def wait_for_the_run(self) -> None:
        """Asked too early about a run that is under way: it may have what is missing in the end."""
        self.state, self.error, self.patient, self.reporter = JobState.QUEUED, None, True, Reporter()

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
        self._store = store
        self._jobs: dict[int, _Job] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # what follows, or the state of a job
        self._first_job: _Job | None = None  # what the first thread performs
        self._resting = False  # whether it rests between two batches
        self._asked = False  # whether the second thread performs something, or waits for the first one to rest
        self._closing = False
        self._threads = [
            threading.Thread(target=work, name="snapvit-worker", daemon=True) for work in (self._work, self._answer)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> int:
        """Queue a task and return its job's id; one that is queued or running and not being stopped keeps its job.

        Raises InputError where the store is only to be read.
        """
        self._store.check_writable()
        with self._lock:
            for job in self._jobs.values():
                if job.state.active and job.task == task and not job.reporter.cancelled:
                    return job.id
            reporter = Reporter() if task.brief else Reporter(give_way=self._give_way)
            job = _Job(next(self._numbers), task, reporter)
            self._jobs[job.id] = job
            self._changed.notify_all()
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
        """The newest job that runs, else the first that waits, else None."""
        return next(iter(self.active()), None)

    def active(self) -> list[JobSnapshot]:
        """Jobs that run, newest first: a long one, and a brief one for which it rests. Then those that wait, in their
        order."""
        active = [job for job in self.snapshots() if job.state.active]
        running = [job for job in active if job.state is JobState.RUNNING]
        return running + [job for job in active[::-1] if job.state is JobState.QUEUED]

    def last_run(self) -> JobSnapshot | None:
        """The newest job that computes a run."""
        return next((job for job in self.snapshots() if isinstance(job.task, RunTask)), None)

    def close(self) -> None:
        """Stop everything and end the threads."""
        for job in self.snapshots():
            self.cancel(job.id)
        with self._lock:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=60)

    def _work(self) -> None:
        """Perform the jobs in their order."""
        bench = Workbench(self._store)
        while True:
            with self._lock:
                self._changed.wait_for(lambda: self._closing or (not self._asked and self._first()))
                job = self._first()
                if job is None:
                    return
                self._first_job, job.state = job, JobState.RUNNING
            self._perform(job, bench)
            with self._lock:
                self._first_job = None
                self._changed.notify_all()

    def _answer(self) -> None:
        """Perform brief jobs for as long as a long one is under way."""
        bench = Workbench(self._store)
        while True:
            with self._lock:
                self._changed.wait_for(lambda: self._closing or self._brief())
                if self._closing:
                    return
                self._asked = True
                self._changed.wait_for(lambda: self._resting or self._first_job is None)
                job = self._first(brief=True)  # who waited may have been cancelled meanwhile
                if job is not None:
                    job.state = JobState.RUNNING
            if job is not None:
                self._perform(job, bench)
            with self._lock:
                self._asked = False
                if job is not None and self._too_early(job):
                    job.wait_for_the_run()
                more = self._brief() is not None
                self._changed.notify_all()
            if not more:
                bench.clear()  # one model beside the long job's is enough, and only while it is asked about

    def _brief(self) -> _Job | None:
        """The first brief job, where a long one is in its way."""
        is_long = self._first_job is not None and not self._first_job.task.brief
        return self._first(brief=True) if is_long else None

    def _too_early(self, job: _Job) -> bool:
        """Whether it failed for what the run under way may have in the end."""
        long = self._first_job
        return job.state is JobState.FAILED and long is not None and job.task.run == long.task.run

    def _first(self, brief: bool = False) -> _Job | None:
        """The first job that waits, of the brief ones alone where those are asked for."""
        waiting = (job for job in self._jobs.values() if job.state is JobState.QUEUED)
        return next((job for job in waiting if not brief or (job.task.brief and not job.patient)), None)

    def _give_way(self) -> None:
        """Rest while a brief job is performed; called by a long one between two batches."""
        if not self._asked:
            return
        with self._lock:
            self._resting = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._asked)
            self._resting = False

    def _perform(self, job: _Job, bench: Workbench) -> None:
        state = self._run(job, bench)
        with self._lock:
            job.state = state

    def _run(self, job: _Job, bench: Workbench) -> JobState:
        bench.reporter = job.reporter
        try:
            _load_engine()
            job.task.perform(bench)
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
