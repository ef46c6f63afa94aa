"""What the worker can be asked to do. Tasks are small and frozen, so that pages can make and compare them.

No torch here: a task imports what computes when it is performed, on the worker's thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from snapvit.formats import duration, ratio
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.effort import Estimate
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.stage import Want
from snapvit.store.store import Store

if TYPE_CHECKING:
    from snapvit.pipeline.workspace import Workspace


class Workbench:
    """What a task is performed with: the store, its own reporter, and the last workspace, kept open between tasks."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reporter = Reporter()
        self._workspace: Workspace | None = None  # one model in memory at a time

    def workspace(self, run: str) -> Workspace:
        """Model and images of a stored run. Raises InputError where they are no longer those of its results."""
        from snapvit.pipeline.running import check_unchanged, open_workspace

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
    """Something for the worker to do. Equal tasks do the same."""

    @property
    def run(self) -> str:
        """Name of the run that it adds to."""

    @property
    def label(self) -> str:
        """What it does, for people: `Measuring the cut at 20.0%`."""

    @property
    def brief(self) -> bool:
        """Whether a long task rests while this one is performed."""

    def perform(self, bench: Workbench) -> None:
        """Do it. Raises InputError for what cannot be done, Cancelled within one batch of a request to stop."""


@dataclass(frozen=True)
class RunTask:
    """Bring a run to its end."""

    request: RunRequest
    name: str = field(default="", compare=False)  # that a person gives the run
    device: str | None = field(default=None, compare=False)  # one of the request's kind; None: the usual one

    @property
    def run(self) -> str:
        """Name of the run."""
        return self.request.run

    @property
    def label(self) -> str:
        """What it does, for people."""
        return f"Computing run {self.run}"

    @property
    def brief(self) -> bool:
        """Whether a long task rests while this one is performed."""
        return False

    def perform(self, bench: Workbench) -> None:
        """Compute every stage that is missing."""
        from snapvit.pipeline.running import run_pipeline

        bench.clear()
        given = {"name": self.name, "device": self.device}
        more = {name: value for name, value in given.items() if value}
        bench.put(run_pipeline(self.request, bench.store, bench.reporter, **more))


@dataclass(frozen=True)
class StageTask:
    """Compute what of a stored run a page asks for: any entries of the table of stages."""

    run: str
    wants: tuple[Want, ...]

    @property
    def label(self) -> str:
        """What it does, for people."""
        return self.wants[-1].label

    @property
    def brief(self) -> bool:
        """Whether a long task rests while this one is performed."""
        return True

    def perform(self, bench: Workbench) -> None:
        """Compute what is missing of them, in their order."""
        from snapvit.pipeline.running import run_wants

        run_wants(bench.workspace(self.run), bench.store, bench.reporter, self.wants)


@dataclass(frozen=True)
class MeasureTask:
    """Measure cuts of a run, (mlp, heads) each; of a single one there is an early answer."""

    run: str
    pairs: tuple[tuple[float, float], ...]
    correct: bool = False  # with corrected weights

    @property
    def label(self) -> str:
        """What it does, for people."""
        return (
            f"Measuring the cut at {ratio(self.pairs[0][0])}"
            if len(self.pairs) == 1
            else (f"Measuring {len(self.pairs)} cuts")
        ) + (", corrected" if self.correct else "")

    @property
    def brief(self) -> bool:
        """Whether a long task rests while this one is performed."""
        return len(self.pairs) == 1

    def perform(self, bench: Workbench) -> None:
        """Measure them and keep the results."""
        from snapvit.pipeline.measure import measure_cut, measure_cuts

        workspace = bench.workspace(self.run)
        if len(self.pairs) == 1:
            measure_cut(bench.store, self.run, *self.pairs[0], bench.reporter, workspace, self.correct)
        else:
            measure_cuts(bench.store, self.run, self.pairs, bench.reporter, workspace, self.correct)


@dataclass(frozen=True)
class CompareTask:
    """Measure rival rankings beside a run's own."""

    run: str
    contenders: tuple[str, ...]  # their names
    seeds: int

    @property
    def label(self) -> str:
        """What it does, for people."""
        return f"Comparing {len(self.contenders)} rankings"

    @property
    def brief(self) -> bool:
        """Whether a long task rests while this one is performed."""
        return False

    def perform(self, bench: Workbench) -> None:
        """Measure what is missing; each cut is kept at once."""
        from snapvit.pipeline.comparing import compare_rankings
        from snapvit.pipeline.contenders import Contender

        contenders = [Contender.parse(name) for name in self.contenders]
        compare_rankings(bench.store, self.run, contenders, self.seeds, bench.reporter, bench.workspace(self.run))


@dataclass(frozen=True)
class ExportTask:
    """Write a cut of a run as a model of its own, proven by a fresh process."""

    run: str
    pair: tuple[float, float] | None  # (mlp, heads); None: the elastic model, for any cut
    target: str  # folder, absolute
    formats: tuple[str, ...]
    correct: bool = False

    @property
    def label(self) -> str:
        """What it does, for people."""
        what = "the elastic model" if self.pair is None else f"the cut at {ratio(self.pair[0])}"
        return f"Exporting {what}" + (", corrected" if self.correct else "")

    @property
    def brief(self) -> bool:
        """Whether a long task rests while this one is performed."""
        return True

    def perform(self, bench: Workbench) -> None:
        """Write it and prove it; what fails leaves nothing."""
        from snapvit.pipeline.exporting import export_run, exported_sentence

        workspace, reporter = bench.workspace(self.run), bench.reporter
        done = export_run(
            bench.store, self.run, self.pair, Path(self.target), self.formats, reporter, workspace, correct=self.correct
        )
        reporter.event("exported", exported_sentence(done))


@dataclass(frozen=True)
class LoadTask:
    """Load a run's model and images before somebody asks for what needs them."""

    run: str

    @property
    def label(self) -> str:
        """What it does, for people."""
        return "Loading model and images"

    @property
    def brief(self) -> bool:
        """Whether a long task rests while this one is performed."""
        return True

    def perform(self, bench: Workbench) -> None:
        """Open the workspace; the bench keeps it."""
        bench.workspace(self.run)


ESTIMATE = "estimate"  # kind of the event that carries the numbers of an EstimateTask


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

    @property
    def brief(self) -> bool:
        """Whether a long task rests while this one is performed."""
        return False  # what it times is to be undisturbed

    def perform(self, bench: Workbench) -> None:
        """Measure, and leave the numbers as the job's last event."""
        from snapvit.pipeline.trial import estimate_run

        bench.clear()  # one model in memory at a time
        estimate: Estimate = estimate_run(self.request, bench.reporter, bench.store.root)
        bench.reporter.event(ESTIMATE, f"about {duration(estimate.total)}", **estimate.as_values())
