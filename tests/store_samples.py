"""A cache with two small runs, for the tests of the store."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from snapvit.artifacts import CkaMap, CostModel, Curvature, Floors, Ranking, RunFacts, Scores, Topology
from snapvit.elastic.ranking import rank
from snapvit.store.manifest import SCHEMA, sealed
from snapvit.store.store import Store
from snapvit.tables import Measurements

FACTS = RunFacts("a model", "images", Topology(2, 3, 4, 6, 2, 5), CostModel(1, 2, 3, 4, 5, 6), ("a", "b"))
REQUEST = {"model.name": "bundled", "config.search.pairs": [[0.15, 0.0]], "scores": None}
NODES = {"model": "a" * 20, "images.search": "b" * 20}
KINDS = {"curvature": Curvature, "cka": CkaMap, "ranking": Ranking, "evaluation": Measurements}
SCORES = Scores(np.arange(8.0).reshape(2, 4), np.arange(6.0).reshape(2, 3))


def artifact(stage: str, seed: int = 0) -> object:
    rng = np.random.default_rng(seed)
    if stage == "curvature":
        return Curvature(rng.random((2, 4), np.float32), rng.random((2, 3), np.float32), 10 + seed)
    if stage == "cka":
        return CkaMap(rng.random((8, 8), np.float32), 20 + seed)
    return rank(SCORES, Floors(0, 0)) if stage == "ranking" else Measurements.empty(2, 3, 4, 1, labelled=True)


def assert_holds(store: Store, run: str, stage: str, seed: int = 0) -> None:
    found, want = store.load(run, stage, KINDS[stage]), artifact(stage, seed)
    assert found is not None, store.problems
    for name, value in vars(want).items():
        np.testing.assert_array_equal(getattr(found, name), value)


def names(store: Store) -> list[str]:
    """Runs that are listed."""
    return [manifest.run for manifest in store.manifests()]


def complaints(store: Store) -> list[str]:
    """The files that `problems` speaks of; every sentence names its file first."""
    return [sentence.partition(" cannot be used: ")[0] for sentence in store.problems]


def path_of(store: Store, run: str, stage: str) -> Path:
    return store.root / run / store.entry(run, stage).file


def files(root: Path) -> dict[str, bytes]:
    """Every file under `root` but locks."""
    found = (p for p in root.rglob("*") if p.is_file() and not p.name.endswith(".lock"))
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}


def edit_manifest(store: Store, run: str, change: Callable[[dict], object]) -> None:
    path = store.root / run / "manifest.json"
    content = json.loads(path.read_text())
    del content["digest"]
    content = change(content) or content
    path.write_bytes(sealed(content) if content["schema"] == SCHEMA else json.dumps(content).encode())


def make_former(store: Store, run: str) -> None:
    """Turn a run's manifest into what the version before this one wrote."""

    def older(content: dict) -> None:
        content["schema"] = 1
        content["stages"] = {name: _without_root(entry) for name, entry in content.pop("entries").items()}
        del content["nodes"]

    edit_manifest(store, run, older)


def _without_root(entry: dict) -> dict:
    return {field: value for field, value in entry.items() if field != "root"}


def add_run(store: Store, run: str, seed: int = 0) -> None:
    store.create(run, REQUEST, FACTS, NODES)
    for stage in KINDS:
        store.save(run, stage, f"key-of-{stage}-{seed}", artifact(stage, seed), True, 1.25)


def two_runs(root: Path) -> Store:
    """Runs `one` and `two`, each with four stages."""
    store = Store(root)
    add_run(store, "one")
    add_run(store, "two", seed=1)
    return store


@contextlib.contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, fake: Callable) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fake)
        yield


def drop_grid(store: Store, run: str) -> None:
    """Take the shipped run back to before its grid was measured: the cuts on the slider's path alone."""
    from snapvit.pipeline.config import path_pair, path_points

    table, entry = store.load(run, "evaluation", Measurements), store.entry(run, "evaluation")
    few = Measurements.empty(table.kept_neurons.shape[1], table.queries, table.gallery, table.k, labelled=True)
    for pair in map(path_pair, path_points(39)):
        few = few.with_row(table.find(*pair))
    store.save(run, "evaluation", entry.key, few, complete=True, seconds=entry.seconds)
