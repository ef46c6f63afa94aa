"""Exporting from a stored run: one cut of its ranking, or the whole model with it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from snapvit.artifacts import Cut
from snapvit.data.pixels import pixel_table
from snapvit.elastic.correction import ElasticCorrection
from snapvit.elastic.ranking import cut_at
from snapvit.errors import InputError
from snapvit.export.card import Measured
from snapvit.export.drafts import Draft, Origin, draft_cut, draft_elastic, small_model
from snapvit.export.hand_over import Exported, check_formats, hand_over, steps_of
from snapvit.export.target import check_target
from snapvit.formats import amount, milliseconds, percent
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.running import check_unchanged, correction_of, open_workspace
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store

LATE = 0.5  # share of what a step has left that its clock may take at once
HELD_OUT = 32  # queries, which nothing is calibrated on, that a proof compares


def export_run(
    store: Store,
    run: str,
    ratios: tuple[float, float] | None,
    target: Path,
    formats: Sequence[str],
    reporter: Reporter,
    workspace: Workspace | None = None,
    seconds: float = 2.0,
    correct: bool = False,
) -> Exported:
    """Write the cut at `ratios` (mlp, heads), or with None the elastic model, into the folder `target`, proven.

    correct: with the weights corrected.

    `workspace` saves loading the model where it is open already; seconds: for the proof's latencies. Raises InputError
    for an unknown run or one without a ranking, and all that `hand_over` raises.
    """
    check_formats(formats)
    check_target(target)  # before anything large is loaded
    stored = StoredRun.open(store, run)
    ranking = stored.need(RANKING)
    cut = None if ratios is None else cut_at(ranking, *ratios)
    workspace = workspace or open_workspace(store, run)
    check_unchanged(store, run, workspace)
    origin, images = origin_of(workspace, correct), held_out(workspace)
    correction = correction_of(workspace, store, ranking, reporter) if correct else None
    if correct and cut is None and not isinstance(correction, ElasticCorrection):
        raise InputError(
            "The sequential form corrects every cut from statistics of its own, so an elastic export cannot hold it; "
            "export one cut, or a run with correction.form=elastic."
        )
    with workspace.elastic(ranking, correction) as elastic:
        draft: Draft
        if cut is None:
            draft = draft_elastic(elastic, ranking, origin, images)
        else:
            found = stored.measurement(cut.mlp, cut.heads, correct)
            measured = None if found is None else Measured(found, stored.measurement(0, 0, correct))
            draft = draft_cut(elastic, cut, origin, images, measured)
    clock = _Clock(reporter, steps_of(len(draft.samples), formats, seconds))
    exported = hand_over(draft, target, formats, seconds, clock.check, clock.begin)
    clock.finish()
    return exported


class _Clock:
    """Progress of steps that are known by the seconds they take: it goes with the time, and waits for a late step."""

    def __init__(self, reporter: Reporter, steps: Mapping[str, float]) -> None:
        self._reporter, self._steps = reporter, steps
        self._left, self._at = 0.0, time.monotonic()  # seconds that the step has left, and when that was told
        reporter.plan(sum(steps.values()))

    def begin(self, step: str) -> None:
        """The step before it is done."""
        self.finish()
        self._left, self._at = self._steps[step], time.monotonic()
        self._reporter.begin(step, self._left)

    def finish(self) -> None:
        """The step is done, whatever time it was thought to take."""
        self._reporter.advance(self._left)
        self._left = 0.0

    def check(self) -> None:
        """Tell how much time went by; raises Cancelled where that was asked."""
        now = time.monotonic()
        gone = min(now - self._at, LATE * self._left)
        self._left, self._at = self._left - gone, now
        self._reporter.advance(gone)


def origin_of(workspace: Workspace, correct: bool = False) -> Origin:
    """Of the workspace's model, whole; folders of this computer are named by their last part alone."""
    request, config = workspace.request, workspace.request.config.correction
    provenance: dict[str, Any] = {"run": request.run, "preset": request.kind, "images": request.data.split("/")[-1]}
    if correct:
        provenance["correction"] = asdict(config)
    return Origin.of(workspace.loaded, provenance)


def held_out(workspace: Workspace, count: int = HELD_OUT) -> Tensor:
    """(N, 3, h, w) normalised: the run's first queries, `count` or as many as there are."""
    table = pixel_table(workspace.source, workspace.ids["queries"][:count], workspace.loaded.preprocess)
    return workspace.normalised(next(table.batches(count))).cpu()


def cut_model(
    store: Store,
    run: str,
    mlp: float,
    heads: float,
    correct: bool,
    reporter: Reporter,
    workspace: Workspace,
) -> tuple[nn.Module, Cut]:
    """timm's own module of one cut, really smaller, as the export of that cut builds it; on the CPU and trainable.

    Raises InputError for a run without a ranking, or a ratio outside [0, 1).
    """
    ranking = StoredRun.open(store, run).need(RANKING)
    cut = cut_at(ranking, mlp, heads)
    correction = correction_of(workspace, store, ranking, reporter) if correct else None
    with workspace.elastic(ranking, correction) as elastic:
        return small_model(elastic, cut, workspace.loaded), cut


def exported_dict(exported: Exported) -> dict[str, Any]:
    """For `--json`."""
    return {
        "folder": str(exported.folder),
        "files": dict(exported.files),
        "proofs": [proof.plain() for proof in exported.proofs],
    }


def exported_sentence(exported: Exported) -> str:
    """For people."""
    proof, files = exported.proofs[0], ", ".join(exported.files)
    took = ""
    if proof.latency is not None:
        took = (
            f", one image in {milliseconds(proof.latency.ms)} ({percent(proof.latency.ratio, 0)} of the whole model's)"
        )
    of = f"{amount(proof.params)} parameters{took}"
    if exported.diff is None:
        of = "any sparsity at load time"
    worst = max(p.error for p in exported.proofs)
    off = "are exactly" if worst == 0 else f"lie at most {worst:.1e} of their largest number off"
    return (
        f"{exported.folder} holds the model ({files}): {of}. A fresh process loaded it; its outputs {off} the elastic "
        "model's."
    )
