"""Maps and projections of a run's structures that are computed on request. No torch is imported before a task runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snapvit.artifacts import CutCkaMap, MainDirections, NullSearch
from snapvit.elastic.ranking import cut_at
from snapvit.errors import InputError
from snapvit.jobs.tasks import Workbench
from snapvit.pipeline.derived import Derived
from snapvit.pipeline.results import known_run, load_ranking

if TYPE_CHECKING:
    from torch import Tensor

    from snapvit.pipeline.workspace import Workspace

CUT_CKA = Derived("cka-cut", CutCkaMap, ("cka", "ranking"))  # settings: MLP sparsity, head sparsity
PROJECTIONS = Derived("projections", MainDirections, ("cka",))
# Setting: the generations replayed. A search that goes on keeps its key, so they must be named.
NULL_SEARCH = Derived("null-search", NullSearch, ("search",))
REPLAYS = 200


@dataclass(frozen=True)
class CutCkaTask:
    """The CKA map of one cut of a run, over the images of the run's own map."""

    run: str
    mlp: float
    heads: float

    @property
    def label(self) -> str:
        """What it does, for people."""
        return f"CKA map of the cut at {self.mlp:.1%}"

    def perform(self, bench: Workbench) -> None:
        """Compute it and keep it."""
        from snapvit.elastic.vit import ElasticViT
        from snapvit.method.cka import estimate_cut_cka

        if CUT_CKA.load(bench.store, self.run, self.mlp, self.heads) is not None:
            return
        started = time.monotonic()
        ranking = load_ranking(bench.store, self.run)
        cut = cut_at(ranking, self.mlp, self.heads)
        workspace = bench.workspace(self.run)
        model, anatomy = workspace.loaded.model, workspace.loaded.anatomy
        with ElasticViT(model, anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
            found = estimate_cut_cka(elastic, anatomy, cut, _images(bench, workspace, "cut CKA map"))
        CUT_CKA.save(bench.store, self.run, found, time.monotonic() - started, self.mlp, self.heads)


@dataclass(frozen=True)
class ProjectionsTask:
    """Every structure's activations on their main direction, over the images of the run's CKA map."""

    run: str

    @property
    def label(self) -> str:
        """What it does, for people."""
        return "Activations of all structures"

    def perform(self, bench: Workbench) -> None:
        """Compute them and keep them."""
        from snapvit.method.cka import collect_structures, main_directions

        if PROJECTIONS.load(bench.store, self.run) is not None:
            return
        started = time.monotonic()
        workspace = bench.workspace(self.run)
        loaded = workspace.loaded
        seen = collect_structures(loaded.model, loaded.anatomy, _images(bench, workspace, "activations"))
        bench.reporter.check()
        PROJECTIONS.save(bench.store, self.run, main_directions(seen), time.monotonic() - started)


@dataclass(frozen=True)
class NullSearchTask:
    """What the search's correlations would be by chance: its replays under random ranks."""

    run: str

    @property
    def label(self) -> str:
        """What it does, for people."""
        return "Replays of the search under random ranks"

    def perform(self, bench: Workbench) -> None:
        """Compute them and keep the summary."""
        from snapvit.method.null_search import null_search
        from snapvit.method.search import SearchState

        started = time.monotonic()
        request = known_run(bench.store, self.run)[1]
        state = bench.store.load(self.run, "search", SearchState)
        if state is None or not state.history.generations:
            raise InputError(f"Run {self.run} has no generation of its search yet; start or continue the run first.")
        history = state.history
        if NULL_SEARCH.load(bench.store, self.run, history.generations) is not None:
            return
        bench.reporter.plan(history.generations + 1)
        bench.reporter.begin("replays", history.generations + 1)
        found = null_search(history, request.config.search.seed, REPLAYS, lambda _: bench.reporter.advance(1.0))
        NULL_SEARCH.save(bench.store, self.run, found, time.monotonic() - started, history.generations)


def _images(bench: Workbench, workspace: Workspace, stage: str) -> Iterator[Tensor]:
    """Batches of the CKA map's images, each image one unit of progress."""
    count = len(workspace.cka_ids)
    bench.reporter.plan(count)
    bench.reporter.begin(stage, count)
    for batch in workspace.batches(workspace.cka_table):
        bench.reporter.check()
        yield batch
        bench.reporter.advance(len(batch))
