"""What the worker can be asked to do. Tasks are small and frozen, so that pages can make and compare them.

No torch here: a task imports what computes when it is performed, on the worker's thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.progress import Reporter
from snapvit.store.store import Store

if TYPE_CHECKING:
    from snapvit.pipeline.workspace import Workspace


class Workbench:
    """What a task works with: the store, its own reporter, and the last workspace, kept open between tasks."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reporter = Reporter()
        self._workspace: Workspace | None = None  # one model in memory at a time

    def workspace(self, run: str) -> Workspace:
        """Model and images of a stored run. Raises InputError where they are no longer those of its results."""
        from snapvit.pipeline.measure import check_unchanged, open_workspace

        if self._workspace is None or self._workspace.request.run != run:
            self.clear()
            self._workspace = open_workspace(self.store, run)
        check_unchanged(self.store, run, self._workspace)
        return self._workspace

    def put(self, workspace: Workspace) -> None:
        """Keep a workspace that a task opened itself."""
        self._workspace = workspace

    def clear(self) -> None:
        """Let go of the open workspace."""
        self._workspace = None


class Task(Protocol):
    """One piece of work for the worker. Equal tasks are the same work."""

    @property
    def run(self) -> str:
        """Name of the run that it adds to."""

    @property
    def label(self) -> str:
        """What it does, for people: `Measuring the cut at 20.0%`."""

    def perform(self, bench: Workbench) -> None:
        """Do it. Raises InputError for what cannot be done, Cancelled within one batch of a request to stop."""


@dataclass(frozen=True)
class RunTask:
    """Bring a run to its end."""

    request: RunRequest

    @property
    def run(self) -> str:
        """Name of the run."""
        return self.request.run

    @property
    def label(self) -> str:
        """What it does, for people."""
        return f"Computing run {self.run}"

    def perform(self, bench: Workbench) -> None:
        """Compute every stage that is missing."""
        from snapvit.pipeline import stages

        bench.clear()
        bench.put(stages.run_pipeline(self.request, bench.store, bench.reporter))


@dataclass(frozen=True)
class MeasureTask:
    """Measure one more cut of a run."""

    run: str
    mlp: float
    heads: float

    @property
    def label(self) -> str:
        """What it does, for people."""
        return f"Measuring the cut at {self.mlp:.1%}"

    def perform(self, bench: Workbench) -> None:
        """Measure it and keep the result."""
        from snapvit.pipeline import measure

        workspace = bench.workspace(self.run)
        measure.measure_cut(bench.store, self.run, self.mlp, self.heads, bench.reporter, workspace)


@dataclass(frozen=True)
class WarmTask:
    """Load a run's model and images before somebody asks for what needs them."""

    run: str

    @property
    def label(self) -> str:
        """What it does, for people."""
        return "Loading model and images"

    def perform(self, bench: Workbench) -> None:
        """Open the workspace; the bench keeps it."""
        bench.workspace(self.run)
