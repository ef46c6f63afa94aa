"""Putting an artifact of a test's own in the place of a stored run's."""

from __future__ import annotations

from typing import Any

from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.stage import Arg, Stage
from snapvit.pipeline.table import key_of
from snapvit.store.store import Store


def put(store: Store, run: str, stage: Stage[Any], artifact: object, *args: Arg) -> None:
    """Store `artifact` as if the run's own model and images had given it."""
    stored = StoredRun.open(store, run)
    store.save(run, stage.entry_name(args), key_of(stage, stored.request, stored.manifest.nodes, args), artifact)
