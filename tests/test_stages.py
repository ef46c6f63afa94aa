"""The pipeline: what each stage depends on, what is computed again and what not, and whether its numbers are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from snapvit.data.splits import split_source
from snapvit.errors import Cancelled, InputError
from snapvit.pipeline import measure
from snapvit.pipeline.config import RunRequest, path_points, setting_names, with_settings
from snapvit.pipeline.measure import measure_cut
from snapvit.pipeline.progress import Event, Reporter
from snapvit.pipeline.results import list_runs, load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.table import TABLE, key_of, want_of
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store, StoreError

STAGES = ("curvature", "cka", "search", "ranking", "evaluation", "evaluation-corrected")
KEYED = (*STAGES, "displacement", "gauss-newton")


def changed(request: RunRequest, *settings: str) -> RunRequest:
    return replace(request, config=with_settings(request.config, list(settings)))


def run(request: RunRequest, store: Store) -> list[Event]:
    reporter = Reporter()
    run_pipeline(request, store, reporter)
    return list(reporter.events)


def cached(events: list[Event]) -> set[str]:
    return {event.text.split()[0] for event in events if event.kind == "cached"}


def computed(events: list[Event]) -> set[str]:
    return {event.text.split()[0] for event in events if event.kind == "stage"}


def entries(store: Store, name: str) -> dict:
    return dict(store.manifest(name).entries)


def never(*_: object, **__: object) -> None:
    raise AssertionError("computed although it was there")


@pytest.fixture
def nothing_may_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("curvature.estimate_curvature", "cka.estimate_cka", "fitness.Fitness", "search.search"):
        monkeypatch.setattr(f"snapvit.method.{name}", never)
    monkeypatch.setattr("snapvit.pipeline.meter.Meter", never)
    monkeypatch.setattr("snapvit.elastic.latency.measure_latencies", never)


@pytest.fixture(scope="module")
def opened(small_request: RunRequest) -> Workspace:
    return Workspace.open(small_request)


# Keys

EVALUATIONS = {"evaluation", "evaluation-corrected"}
AFTER_SEARCH = {"search", "ranking"} | EVALUATIONS
AFTER_CURVATURE = {"curvature"} | AFTER_SEARCH
DEPENDENTS = {
    "curvature.criterion=accumulated": AFTER_CURVATURE,
    "curvature.images=3": AFTER_CURVATURE,
    "curvature.global_views=3": AFTER_CURVATURE,
    "curvature.local_views=2": AFTER_CURVATURE,
    "curvature.seed=1": AFTER_CURVATURE,
    "cka.images=15": {"cka"},
    "search.generations=4": AFTER_SEARCH,
    "search.population=5": AFTER_SEARCH,
    "search.images=7": AFTER_SEARCH,
    "search.pairs=[[0.35, 0.2]]": AFTER_SEARCH,
    "search.components=20": AFTER_SEARCH | {"displacement", "gauss-newton"},
    "search.start=cka": AFTER_SEARCH,
    "search.start=displacement": AFTER_SEARCH,
    "search.fitness=corrected": AFTER_SEARCH,
    "search.seed=1": AFTER_SEARCH,
    "floors.neurons=0.1": AFTER_SEARCH,
    "floors.heads=0.4": AFTER_SEARCH,
    "correction.form=sequential": {"evaluation-corrected"},
    "correction.images=31": {"evaluation-corrected"},
    "correction.damping=max": {"evaluation-corrected"},
    "correction.share=0.1": {"evaluation-corrected"},
    "evaluation.k=4": EVALUATIONS,
    "evaluation.gallery=59": EVALUATIONS,
    "evaluation.queries=19": EVALUATIONS,
    "evaluation.points=5": EVALUATIONS,
    "interactions.images=9": {"displacement", "gauss-newton"},
    "interactions.probes=3": {"gauss-newton"},
    "interactions.seed=1": {"gauss-newton"},
    "ranking.method=lamp": {"ranking"} | EVALUATIONS,
    "ranking.seed=1": set(),  # of a ranking that is not drawn
    "precision=bfloat16": AFTER_SEARCH,
    "split_seed=1": set(KEYED),
    "calibration_seed=1": set(KEYED),
}


def keys(workspace: Workspace) -> dict[str, str]:
    return {name: key_of(TABLE[name], workspace.request, workspace.nodes) for name in KEYED}


def differing(a: dict[str, str], b: dict[str, str]) -> set[str]:
    return {stage for stage in KEYED if a[stage] != b[stage]}


@pytest.mark.parametrize("setting", DEPENDENTS)
def test_a_setting_changes_the_keys_of_the_stages_that_depend_on_it(opened, setting):
    request = changed(opened.request, setting)
    split = split_source(opened.source, request.config.split_seed).with_calibration(request.config.calibration_seed)
    assert differing(keys(replace(opened, request=request, split=split)), keys(opened)) == DEPENDENTS[setting]


def test_every_setting_is_in_the_table_of_dependents():
    assert {setting.partition("=")[0] for setting in DEPENDENTS} == set(setting_names())


def test_the_cka_map_is_a_parent_of_a_search_that_starts_from_it(opened):
    start = replace(opened, request=changed(opened.request, "search.start=cka"))
    both = replace(opened, request=changed(opened.request, "search.start=cka", "cka.images=15"))
    assert differing(keys(start), keys(both)) == {"cka"} | AFTER_SEARCH


def test_the_correction_s_images_are_a_parent_of_a_search_for_corrected_cuts(opened):
    corrected = replace(opened, request=changed(opened.request, "search.fitness=corrected"))
    both = replace(opened, request=changed(opened.request, "search.fitness=corrected", "correction.images=31"))
    assert differing(keys(corrected), keys(both)) == AFTER_SEARCH


def test_weights_images_preprocessing_and_the_kind_of_device_change_every_key(opened):
    weights = replace(opened, loaded=replace(opened.loaded, digest="0" * 64))
    preprocess = replace(opened.loaded.preprocess, mean=(0.5, 0.5, 0.5))
    scaled = replace(opened, loaded=replace(opened.loaded, preprocess=preprocess))
    digests = SimpleNamespace(digest_of=lambda ids: "1" * 64, labels=opened.source.labels)
    images = replace(opened, source=digests)
    device = replace(opened, request=replace(opened.request, device="cuda"))
    for other in (weights, scaled, images, device):
        assert differing(keys(other), keys(opened)) == set(KEYED)


def raised(patch: pytest.MonkeyPatch, stage: str) -> None:
    """As if the meaning of the stage's numbers had changed."""
    patch.setitem(TABLE, stage, replace(TABLE[stage], schema=1000))


def test_a_schema_changes_its_stage_and_what_follows(opened, monkeypatch):
    for stage, want in (("curvature", AFTER_CURVATURE), ("cka", {"cka"}), ("ranking", {"ranking"} | EVALUATIONS)):
        before = keys(opened)
        with monkeypatch.context() as patch:
            raised(patch, stage)
            assert differing(keys(opened), before) == want


def test_keys_are_the_same_in_every_workspace(opened, small_request):
    assert keys(Workspace.open(small_request)) == keys(opened)


# Reuse


def test_a_second_run_computes_nothing(finished, small_request, nothing_may_be_computed):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in finished.root.rglob("*.safetensors")}
    events = run(small_request, finished)
    assert cached(events) == {*STAGES, "latency"}
    assert computed(events) == set()
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in finished.root.rglob("*.safetensors")} == before


def test_another_search_seed_reuses_curvature_and_cka(finished, small_request):
    request = changed(small_request, "search.seed=1")
    events = run(request, finished)
    assert cached(events) == {"curvature", "cka"}
    assert computed(events) == AFTER_SEARCH | {"correction", "latency"}
    old, new = entries(finished, small_request.run), entries(finished, request.run)
    for stage in STAGES:
        same = stage in ("curvature", "cka")
        assert (old[stage].key == new[stage].key) is same
        assert (old[stage].sha256 == new[stage].sha256) is same
    a, b = (load_results(finished, name).search.factors for name in (small_request.run, request.run))
    assert not np.array_equal(a, b)
    assert {summary.run for summary in list_runs(finished)} == {small_request.run, request.run}


def test_other_query_images_reuse_all_but_the_evaluation(finished, small_request):
    request = changed(small_request, "evaluation.queries=10", "evaluation.points=2")
    assert computed(run(request, finished)) == EVALUATIONS | {"correction", "latency"}
    table = load_results(finished, request.run).measurements
    assert (table.queries, len(table)) == (10, 2)


def test_a_finer_path_keeps_the_points_that_were_measured(finished, small_request):
    request = changed(small_request, "evaluation.points=5")
    events = run(request, finished)
    assert computed(events) == EVALUATIONS | {"correction", "latency"}
    assert sum(event.kind == "point" for event in events) == 2 * 2
    old, new = (load_results(finished, name).measurements for name in (small_request.run, request.run))
    np.testing.assert_array_equal(new.answers[:3], old.answers)  # rows taken over, not measured again
    assert sorted(new.mlp.tolist()) == sorted(path_points(5))
    assert load_results(finished, request.run).summary.state == "finished"


def test_a_borrowed_coarser_path_is_not_taken_for_the_whole(finished, small_request):
    request = changed(small_request, "evaluation.points=5")
    reporter = Reporter(lambda event: reporter.cancel() if event.kind == "stage" else None)
    with pytest.raises(Cancelled):
        run_pipeline(request, finished, reporter)
    assert load_results(finished, request.run).summary.state == "unfinished"
    assert len(load_results(finished, request.run).measurements) == 3


@pytest.mark.parametrize("stage", STAGES)
def test_a_damaged_stage_is_recomputed_and_named_while_the_rest_is_kept(finished, small_request, stage):
    before, results = entries(finished, small_request.run), load_results(finished, small_request.run)
    path = finished.root / small_request.run / before[stage].file
    path.write_bytes(path.read_bytes()[:-3])
    store = Store(finished.root)
    load_results(store, small_request.run)
    assert [problem.split()[0] for problem in store.problems] == [f"{small_request.run}/{path.name}"]
    events = run(small_request, store)
    assert computed(events) == {stage} | ({"correction"} if stage == "evaluation-corrected" else set())
    assert store.problems == ()  # what was named is mended
    after = entries(store, small_request.run)
    assert {name for name in STAGES if before[name].sha256 != after[name].sha256} <= {stage} & EVALUATIONS
    again = load_results(Store(finished.root), small_request.run)
    np.testing.assert_array_equal(again.curvature.mlp, results.curvature.mlp)
    np.testing.assert_array_equal(again.search.covariances, results.search.covariances)
    np.testing.assert_array_equal(again.measurements.answers, results.measurements.answers)


def test_an_outdated_stage_and_what_follows_are_forgotten_before_anything_is_computed(
    finished, small_request, monkeypatch
):
    folder = finished.root / small_request.run
    old = entries(finished, small_request.run)
    raised(monkeypatch, "search")
    reporter = Reporter(lambda event: reporter.cancel() if event.kind == "stage" else None)
    with pytest.raises(Cancelled):
        run_pipeline(small_request, finished, reporter)
    left = entries(finished, small_request.run)
    assert left == {stage: old[stage] for stage in ("curvature", "cka")}
    assert {p.name for p in folder.glob("*.safetensors")} == {left[stage].file for stage in left}
    results = load_results(finished, small_request.run)
    assert results.search is None
    assert results.ranking is None
    assert results.measurements is None
    assert results.summary.state == "unfinished"


def test_a_full_disk_stops_the_run_and_keeps_what_was_finished(tmp_path, small_request, monkeypatch):
    store, write = Store(tmp_path), Path.write_bytes

    def fake(path: Path, raw: bytes) -> int:
        if path.name.startswith(".search"):
            raise OSError(28, "No space left on device")
        return write(path, raw)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fake)
        with pytest.raises(StoreError, match="No space left"):
            run_pipeline(small_request, store, Reporter())
    assert cached(run(small_request, Store(tmp_path))) == {"curvature", "cka"}


def test_two_runs_at_once_are_refused(finished, small_request):
    with finished.computing(small_request.run), pytest.raises(InputError, match=f"Run {small_request.run} is being"):
        run(small_request, Store(finished.root))


def test_k_beyond_the_gallery_is_refused(small_request, tmp_path):
    with pytest.raises(InputError, match=r"k = 61.*60"):
        run(changed(small_request, "evaluation.k=61"), Store(tmp_path))


# One more cut


def test_a_measured_cut_is_stored_and_then_read(finished, small_request, monkeypatch):
    first = measure_cut(finished, small_request.run, 0.3, 0.1, Reporter())
    table = load_results(Store(finished.root), small_request.run).measurements
    assert len(table) == 4
    assert load_results(finished, small_request.run).summary.state == "finished"
    monkeypatch.setattr(measure, "Meter", never)
    assert measure_cut(Store(finished.root), small_request.run, 0.3, 0.1, Reporter()) == first
    assert measure_cut(finished, small_request.run, 0.0, 0.0, Reporter()).top1 == table.row(0).top1


def test_a_row_that_another_process_adds_while_one_is_measured_is_kept(finished, small_request, monkeypatch):
    meter = measure.Meter

    class Slow(meter):
        def measure_soon(self, cut: object) -> object:
            monkeypatch.setattr(measure, "Meter", meter)
            measure_cut(Store(finished.root), small_request.run, 0.7, 0.1, Reporter())  # somebody else's, meanwhile
            return super().measure_soon(cut)

    monkeypatch.setattr(measure, "Meter", Slow)
    measure_cut(finished, small_request.run, 0.6, 0.1, Reporter())
    assert load_results(finished, small_request.run).measurements.mlp.tolist()[-2:] == [0.7, 0.6]


def test_a_cut_is_not_measured_with_a_model_that_changed(finished, small_request):
    manifest = finished.manifest(small_request.run)
    nodes = manifest.nodes | {"model": "another"}
    finished.create(small_request.run, manifest.request, manifest.facts, nodes)
    for name, entry in manifest.entries.items():  # all of it of the other model
        want = want_of(name)
        key = key_of(want.stage, small_request, nodes, want.args)
        artifact = finished.load(small_request.run, name, want.stage.kind, entry.key)
        finished.save(small_request.run, name, key, artifact)
    with pytest.raises(InputError, match=r"The model of run .* changed since.*run it again"):
        measure_cut(finished, small_request.run, 0.3, 0.1, Reporter())
    assert len(load_results(finished, small_request.run).measurements) == 3


def test_a_cut_of_a_run_without_ranking_is_refused(finished, small_request):
    finished.forget(small_request.run, ["ranking"])
    with pytest.raises(InputError, match="no ranking yet"):
        measure_cut(finished, small_request.run, 0.3, 0.1, Reporter())
