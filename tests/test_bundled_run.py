"""The run that ships under `cache/` is finished, whole, and exactly what this code and the shipped files give.

`make bundled-run` computes it; these tests fail while it is not there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scripts.bundled_run import GRADIENTS, REQUEST
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.grid import FINE, grid_pairs
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import RunResults, StoredRun, list_runs, load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stages.correction import CORRECTION
from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION, SHIPPED
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.pipeline.stages.lessons import IMAGE_LESSON, READY_IMAGES
from snapvit.pipeline.table import key_of, main_stages, want_of
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store
from snapvit.tables import Measurements
from snapvit.ui.embedding.neighbours import predictions

CACHE = Path(__file__).parents[1] / "cache"
MAIN = tuple(stage.name for stage in main_stages(REQUEST) if not stage.passing)


def manifest() -> dict:
    return json.loads((CACHE / REQUEST.run / "manifest.json").read_text())


@pytest.fixture
def copy(tmp_path: Path) -> Store:
    """A cache with a copy of the shipped run, so that no test writes into the repository."""
    shutil.copytree(CACHE / REQUEST.run, tmp_path / REQUEST.run)
    return Store(tmp_path)


def test_every_stage_is_complete_and_every_file_is_what_the_manifest_says():
    entries = manifest()["entries"]
    assert set(entries) >= set(MAIN)
    for stage, entry in entries.items():
        assert entry["complete"] is True, stage
        raw = (CACHE / REQUEST.run / entry["file"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == entry["sha256"], stage


def test_the_folder_holds_nothing_else_and_is_small_enough_to_ship():
    names = {entry["file"] for entry in manifest()["entries"].values()} | {"manifest.json"}
    found = {p.name: p.stat().st_size for p in (CACHE / REQUEST.run).iterdir() if not p.name.endswith(".lock")}
    assert set(found) == names
    assert sum(found.values()) < 20e6


def test_keys_are_those_of_this_code_weights_and_images(copy):
    stored, nodes = StoredRun.open(copy, REQUEST.run), Workspace.open(REQUEST).nodes
    assert {name: stored.manifest.nodes[name] for name in nodes} == nodes
    for name, entry in manifest()["entries"].items():
        want = want_of(name)
        assert entry["key"] == key_of(want.stage, REQUEST, stored.manifest.nodes, want.args), name


def both_ways(copy: Store) -> list[RunResults]:
    """As cut, and with corrected weights."""
    results = load_results(copy, REQUEST.run)
    return [replace(results, correct=correct) for correct in (False, True)]


def test_the_large_statistics_do_not_ship(copy):
    assert StoredRun.open(copy, REQUEST.run).load(CORRECTION) is None


def test_what_pages_show_at_first_sight_belongs_to_these_stages(copy):
    gradients = StoredRun.open(copy, REQUEST.run).load(GRADIENTS.stage, *GRADIENTS.args)
    assert len(gradients.ids) == REQUEST.config.curvature.images
    for image in gradients.ids[:READY_IMAGES]:
        assert StoredRun.open(copy, REQUEST.run).load(IMAGE_LESSON, str(image)) is not None
    for results in both_ways(copy):
        for pair in SHIPPED:
            found = results.load_cut(EMBEDDING_PROJECTION, *pair)
            right = predictions(found)[1] == found.labels[found.gallery :]
            assert right.sum() == results.measurements.find(*pair).hits


def test_the_run_is_finished_and_rich_enough_for_every_page(copy):
    (summary,) = [s for s in list_runs(copy) if s.run == REQUEST.run]
    assert (summary.state, summary.done) == ("finished", MAIN)
    assert (summary.model, summary.data, summary.preset, summary.seed) == ("bundled", "bundled", "paper", 0)
    results = load_results(copy, REQUEST.run)
    assert copy.problems == ()
    assert results.request == REQUEST
    assert results.search.generations >= 30
    assert results.search.non_finite == 0
    for way in both_ways(copy):
        check_measurements(way.measurements)


def check_measurements(table: Measurements) -> None:
    path = {path_pair(s)[0] for s in np.linspace(0, 0.95, 39)}
    on_path = [i for i in range(len(table)) if (table.mlp[i], table.heads[i]) == path_pair(table.mlp[i])]
    assert len(on_path) >= 33
    assert {round(table.mlp[i], 4) for i in on_path} >= path
    assert set(grid_pairs(FINE)) <= set(zip(table.mlp.round(4), table.heads.round(4), strict=True))
    assert (table.k, table.gallery, table.queries) == (20, 6000, 2000)
    assert table.find(0.0, 0.0).top1 > 0.85


def test_the_pipeline_finds_nothing_left_to_compute(copy, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("computed although it is shipped")

    for name in ("curvature.estimate_curvature", "cka.estimate_cka", "fitness.Fitness", "search.search"):
        monkeypatch.setattr(f"snapvit.method.{name}", never)
    monkeypatch.setattr("snapvit.pipeline.meter.Meter", never)
    reporter = Reporter()
    run_pipeline(REQUEST, copy, reporter)
    cached = [event.text.split()[0] for event in reporter.events if event.kind == "cached"]
    assert [name for name in cached if name != LATENCY.name] == list(MAIN)
    begun = {event.text.split()[0] for event in reporter.events if event.kind == "stage"}
    assert begun <= {LATENCY.name}  # which is another machine's


def test_no_path_of_the_machine_that_computed_it_is_in_its_files():
    home = str(Path(__file__).parents[1])
    for path in (CACHE / REQUEST.run).iterdir():
        assert home.encode() not in path.read_bytes(), path.name
