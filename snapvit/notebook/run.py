"""A run in a notebook: its artifacts, its cuts, its figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import (
    CkaMap,
    Curvature,
    MeasuredInteractions,
    Ranking,
    RunFacts,
    Scores,
    SearchHistory,
    Topology,
)
from snapvit.errors import InputError
from snapvit.extras import needed
from snapvit.notebook.frames import accuracy_frame, agreement_frame, comparison_frame
from snapvit.notebook.showing import html_table
from snapvit.notebook.watching import watched
from snapvit.paths import absolute
from snapvit.pipeline.agreements import MAPS, Scale, agreements, map_of, wants_of
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.contenders import POINTS, Contender
from snapvit.pipeline.path import measured_on_path
from snapvit.pipeline.results import RunResults, StoredRun, computed_on, load_results
from snapvit.pipeline.stage import Stage
from snapvit.pipeline.stages.cka import CKA
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.ranking import RANKING

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from snapvit.notebook.cuts import CutModel
    from snapvit.notebook.figures import Figures
    from snapvit.notebook.slider import SparsitySlider
    from snapvit.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Interactions:
    """How structures depend on one another, as measured, and which estimates can be trusted."""

    measured: MeasuredInteractions
    agreement: pd.DataFrame  # a row an estimate: rank correlation rho over the pairs, Mantel's p, the number of pairs

    def _repr_html_(self) -> str:
        return self.agreement.to_html(index=False, float_format="{:.3f}".format)


class Run:
    """What a run holds and what can be made of it.

    Sparsities are shares removed, in [0, 1): `mlp` of all MLP neurons, `heads` of all heads. L blocks, H heads a
    block, F neurons a block, S = L + L H structures (see `snapvit.artifacts`). What a run has not got yet raises
    InputError, in one sentence.
    """

    def __init__(self, stored: StoredRun, workspace: Workspace | None = None) -> None:
        """`snapvit.open` and `snapvit.run` make it."""
        self._store = stored.store
        self.name: str = stored.manifest.run
        """As `snapvit.runs()`, the command line and the pages name it."""
        self._workspace = workspace

    # What it is

    @property
    def _stored(self) -> StoredRun:
        return StoredRun.open(self._store, self.name)

    @property
    def results(self) -> RunResults:
        """All main artifacts at once, None where there is none yet, read anew."""
        return load_results(self._store, self.name)

    @property
    def request(self) -> RunRequest:
        """What was asked for: model, images, settings."""
        return self._stored.request

    @property
    def facts(self) -> RunFacts:
        """Model, images, counts and costs."""
        return self._stored.manifest.facts

    @property
    def topology(self) -> Topology:
        """L, H, F and the names of structures."""
        return self.facts.topology

    @property
    def folder(self) -> Path:
        """Where it is stored."""
        return self._store.root / self.name

    # Artifacts

    @property
    def curvature(self) -> Curvature:
        """Local importance: `mlp` (L, F) and `head` (L, H), mean squared gradients, >= 0."""
        return self._stored.need(CURVATURE)

    @property
    def cka(self) -> CkaMap:
        """`values` (S, S) in [0, 1]: which structures say the same."""
        return self._stored.need(CKA)

    @property
    def search(self) -> SearchHistory:
        """Factors (S,), and every generation's individuals, fitness (lower is better), mean and covariance."""
        found = self.results
        if found.search is None:
            by = "published scores" if found.method is None else found.method.label
            raise InputError(f"Run {self.name} has no search: its ranking is made by {by}, or it is not finished.")
        return found.search

    @property
    def final_scores(self) -> Scores:
        """What the ranking orders: `mlp` (L, F) and `head` (L, H), of the method's own unit; the lowest go first."""
        return self._known(self.results.final_scores, RANKING)

    @property
    def ranking(self) -> Ranking:
        """The order in which neurons and heads leave, least important first, over all blocks."""
        return self._stored.need(RANKING)

    @property
    def accuracy(self) -> pd.DataFrame:
        """A row for each measured cut: `mlp`, `heads` (shares removed), `correct`, `on_path`, `top1` with its 95 %
        Wilson interval `low`, `high`, `cosine` to the full model, `params`, `macs`. Top-1 in [0, 1]."""
        return accuracy_frame(self.results)

    def _known(self, found: Scores | None, stage: Stage) -> Scores:
        if found is None:
            raise InputError(f"Run {self.name} has no {stage.within(())} yet; finish it first, with snapvit.run.")
        return found

    # Cuts

    def cut(self, mlp: float, heads: float, correct: bool = False) -> CutModel:
        """The model without these shares of its neurons and heads, as a torch module that is really smaller.

        correct: with the layers that read what is kept solved again, in closed form and without labels; the first time
        this collects statistics over the calibration images. Raises InputError for a share outside [0, 1).
        """
        from snapvit.notebook.cuts import CutModel
        from snapvit.pipeline.exporting import cut_model
        from snapvit.pipeline.measure import measure_cut

        with watched(False) as reporter:
            workspace = self._opened()
            model, cut = cut_model(self._store, self.name, mlp, heads, correct, reporter, workspace)
        costs, topology = self.facts.costs, self.topology
        whole = replace(
            cut, kept_neurons=(topology.hidden,) * topology.blocks, kept_heads=(topology.heads,) * topology.blocks
        )

        def measure() -> object:
            with watched(False) as reporter:
                return measure_cut(self._store, self.name, mlp, heads, reporter, self._opened(), correct)

        return CutModel(model, cut, correct, (costs.params(whole), costs.macs(whole)), costs.macs(cut), measure)

    def images(self, count: int = 8) -> Tensor:
        """(N, 3, h, w) the run's first queries, normalised as its model wants them; nothing is calibrated on them."""
        from snapvit.pipeline.exporting import held_out

        return held_out(self._opened(), count)

    def export(
        self,
        folder: str | os.PathLike[str],
        mlp: float | None = None,
        heads: float | None = None,
        correct: bool = False,
        formats: Sequence[str] = ("safetensors",),
        progress: bool = True,
    ) -> Path:
        """Write a cut as a folder that torch and timm load alone, proven by a fresh process; without shares the whole
        model with its ranking, which takes any cut at load time.

        formats: of safetensors (always written), onnx and program. Returns the folder, and prints the proof with
        `progress`. Raises InputError for one share without the other, a folder that is not empty, and what the run has
        not got.
        """
        from snapvit.pipeline.exporting import export_run, exported_sentence

        if (mlp is None) != (heads is None):
            raise InputError("A cut is named by two shares; give mlp and heads together, or neither for any sparsity.")
        pair = None if mlp is None or heads is None else (mlp, heads)
        with watched(progress) as reporter:
            exported = export_run(
                self._store, self.name, pair, absolute(folder), formats, reporter, self._opened(), correct=correct
            )
        if progress:
            print(exported_sentence(exported))
        return exported.folder

    # Questions

    def compare(
        self,
        contenders: Sequence[str] = ("gauss-newton", "curvature", "magnitude", "random"),
        seeds: int = 1,
        points: Sequence[float] = POINTS,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Measure other rankings beside this run's, on the same images, as cut and corrected.

        contenders: methods, with settings where they differ: `snapvit search.generations=3`. seeds: of each that
        draws. points: sparsities of the path. A row a contender and cut: `mean`, `low`, `high` over its seeds, and
        `difference` to this run's method, paired by query, with a 95 % interval; `decided` where that excludes 0.
        Top-1 in [0, 1], or cosine where the images allow no accuracy. Only what is missing is measured.
        """
        from snapvit.pipeline.comparing import compare_rankings

        own = Contender(self.request.config.ranking.method)
        named = [Contender.parse(text) for text in contenders]
        with watched(progress) as reporter:
            everyone = [own, *(one for one in named if one != own)]
            found = compare_rankings(self._store, self.name, everyone, seeds, reporter, self._opened(), points)
        return comparison_frame(found, own.name, "cosine" if self.facts.accuracy_missing else "top1")

    def interactions(self, pairs: int | None = None, images: int | None = None, progress: bool = True) -> Interactions:
        """Measure what structures cost together more than one by one, and hold every estimate of it against that.

        pairs: a seeded sample of so many; None: all S (S - 1) / 2. images: to measure on; None: the run's setting.
        """
        stored = self._stored
        wants = wants_of(stored, pairs, images)
        if not all(stored.is_whole(want.stage, *want.args) for want in wants):
            from snapvit.pipeline.running import run_wants

            with watched(progress) as reporter:
                run_wants(self._opened(), self._store, reporter, wants)
            stored = self._stored
        measured = stored.need(wants[-1].stage, *wants[-1].args)
        return Interactions(measured, agreement_frame(agreements(stored, measured)))

    def dependence(self, by: str = "measured", scale: Scale = "loss") -> np.ndarray:
        """(S, S) how structures depend on one another, by `search`, `displacement`, `gauss-newton`, `measured`, `cka`.

        scale: losses (1 - cos), or `correlation`, which the search's estimate and CKA are anyway. NaN: not measured.
        """
        if by not in MAPS:
            raise InputError(f"There is no map by {by!r}; there are {', '.join(MAPS)}.")
        found = map_of(self._stored, by, scale=scale)
        if found is None:
            raise InputError(f"Run {self.name} holds no map by {by} yet; run.interactions() makes what is missing.")
        return found

    @property
    def figures(self) -> Figures:
        """The dashboard's figures, as plotly figures."""
        needed("plotly", "A figure")
        from snapvit.notebook.figures import Figures

        return Figures(self)

    def slider(self, at: float = 0.5, correct: bool = False) -> SparsitySlider:
        """The dashboard's live slider, as a widget whose `at`, `mlp` and `heads` Python reads and hears of.

        at: sparsity of the path where the thumb begins, in [0, 0.95]. correct: measured with corrected weights. Raises
        InputError where no cut is measured yet.
        """
        needed("anywidget", "The slider")
        from snapvit.browser.live_sparsity.of_run import live_data
        from snapvit.notebook.slider import SparsitySlider

        results = replace(self.results, correct=correct)
        if results.ranking is None or not measured_on_path(results):
            how = "with corrected weights" if correct else "yet"
            raise InputError(f"No cut of run {self.name} is measured {how}, so a slider has nothing to show.")
        return SparsitySlider(live_data(results), at, f"{self.name}-sparsity")

    def report(
        self,
        path: str | os.PathLike[str],
        mlp: float = 0.5,
        heads: float = 0.35,
        correct: bool = False,
        export: str | os.PathLike[str] | None = None,
        force: bool = False,
    ) -> Path:
        """Write what the run found as one offline HTML page, about the cut without these shares.

        export: folder that `export` wrote, whose card is taken in. Raises InputError where the file exists, unless
        `force`.
        """
        needed("plotly", "A report")
        from snapvit.report.report import write_report

        card = None if export is None else absolute(export)
        return write_report(self._store, self.name, absolute(path), (mlp, heads), correct, card, force)

    def _opened(self) -> Workspace:
        """Model and images, loaded once."""
        if self._workspace is None:
            from snapvit.pipeline.running import check_unchanged, open_workspace

            workspace = open_workspace(self._store, self.name)
            check_unchanged(self._store, self.name, workspace)
            self._workspace = workspace
        return self._workspace

    # For people

    def _lines(self) -> list[tuple[str, str]]:
        stored = self._stored
        facts, summary, t = stored.manifest.facts, stored.summary(), stored.manifest.facts.topology
        return [
            ("run", self.name),
            ("model", f"{facts.model}: {t.blocks} blocks of {t.heads} heads and {t.hidden} neurons"),
            ("images", facts.data),
            ("settings", summary.preset if summary.seed is None else f"{summary.preset}, seed {summary.seed}"),
            ("computed on", computed_on(stored)),
            ("state", summary.state),
            ("stages", ", ".join(summary.done)),
        ]

    def __repr__(self) -> str:
        return "Run\n" + "\n".join(f"  {name:11} {value}" for name, value in self._lines())

    def _repr_html_(self) -> str:
        return html_table(self._lines())
