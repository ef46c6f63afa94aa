"""Waiting for a job that another thread performs, and giving up where it hangs."""

from __future__ import annotations

import time
from collections.abc import Callable

from snapvit.jobs.manager import JobManager, JobSnapshot

PATIENCE = 60  # seconds until a test gives up


def wait_for(said: Callable[[], object]) -> object:
    """What `said` returns once it is true. Fails after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not (value := said()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)
    return value


def ended(manager: JobManager, job: int) -> JobSnapshot:
    """How a job ends; it is waited for."""

    def over() -> JobSnapshot | None:
        snapshot = manager.snapshot(job)
        return None if snapshot.state.active else snapshot

    return wait_for(over)
