"""The pipeline: what each stage depends on, what is computed again and what not, and whether its numbers are right."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.neighbors import KNeighborsClassifier
from timm.models.vision_transformer import VisionTransformer

from snapvit.artifacts import CkaMap, Curvature, Measurements, Ranking
from snapvit.data.fashion_mnist import FASHION_MNIST
from snapvit.data.splits import split_source
from snapvit.errors import Cancelled, InputError
from snapvit.method.search import SearchState
from snapvit.models.loading import BUNDLED_CHECKPOINT, weights_digest
from snapvit.pipeline import config, measure, stages
from snapvit.pipeline.config import STAGES, RunRequest, path_pair, path_points, setting_names, with_settings
from snapvit.pipeline.measure import measure_cut
from snapvit.pipeline.progress import Event, Reporter
from snapvit.pipeline.results import find_measurement, list_runs, load_results
from snapvit.pipeline.stages import run_pipeline
from snapvit.pipeline.store import Store, StoreError
from snapvit.pipeline.workspace import Workspace

KINDS = {
    "curvature": Curvature,
    "cka": CkaMap,
    "search": SearchState,
    "ranking": Ranking,
    "evaluation": Measurements,
}


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
    return dict(store.manifest(name).stages)


def never(*_: object, **__: object) -> None:
    raise AssertionError("computed although it was there")


@pytest.fixture
def nothing_may_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("estimate_curvature", "estimate_cka", "Fitness", "search", "rank", "Meter"):
        monkeypatch.setattr(stages, name, never)


@pytest.fixture(scope="module")
def opened(small_request: RunRequest) -> Workspace:
    return Workspace.open(small_request)


@pytest.fixture(scope="module")
def plain() -> VisionTransformer:
    """The bundled weights in a timm model that nothing of this project has touched."""
    with safe_open(BUNDLED_CHECKPOINT, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
    with torch.random.fork_rng():
        model = VisionTransformer(**config)
    model.load_state_dict(load_file(BUNDLED_CHECKPOINT))
    return model.float().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def embedding() -> Callable[[VisionTransformer, np.ndarray], np.ndarray]:
    """A model's embeddings of bundled images by their ids, the pixels read and normalised here."""
    raw = gzip.decompress((FASHION_MNIST / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    pixels = np.frombuffer(raw, np.uint8).reshape(-1, 1, 28, 28).repeat(3, axis=1)
    with safe_open(BUNDLED_CHECKPOINT, framework="pt") as file:
        mean, std = (float(file.metadata()[name]) for name in ("mean", "std"))

    def embed(model: VisionTransformer, ids: np.ndarray) -> np.ndarray:
        images = (torch.from_numpy(pixels[ids] / 255.0).float() - mean) / std
        return model.forward_head(model.forward_features(images), pre_logits=True).numpy()

    return embed


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    raw = gzip.decompress((FASHION_MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    return np.frombuffer(raw, np.uint8).astype(np.int64)


# Keys

AFTER_SEARCH = {"search", "ranking", "evaluation"}
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
    "search.components=20": AFTER_SEARCH,
    "search.start=cka": AFTER_SEARCH,
    "search.seed=1": AFTER_SEARCH,
    "floors.neurons=0.1": AFTER_SEARCH,
    "floors.heads=0.4": AFTER_SEARCH,
    "evaluation.k=4": {"evaluation"},
    "evaluation.gallery=59": {"evaluation"},
    "evaluation.queries=19": {"evaluation"},
    "evaluation.points=5": set(),
    "split_seed=1": set(STAGES),
}


def differing(a: dict[str, str], b: dict[str, str]) -> set[str]:
    return {stage for stage in STAGES if a[stage] != b[stage]}


@pytest.mark.parametrize("setting", DEPENDENTS)
def test_a_setting_changes_the_keys_of_the_stages_that_depend_on_it(opened, setting):
    request = changed(opened.request, setting)
    split = split_source(opened.source, request.config.split_seed)
    assert differing(replace(opened, request=request, split=split).keys, opened.keys) == DEPENDENTS[setting]


def test_every_setting_is_in_the_table_of_dependents():
    assert {setting.partition("=")[0] for setting in DEPENDENTS} == set(setting_names())


def test_the_cka_map_is_a_parent_of_a_search_that_starts_from_it(opened):
    start = replace(opened, request=changed(opened.request, "search.start=cka"))
    both = replace(opened, request=changed(opened.request, "search.start=cka", "cka.images=15"))
    assert differing(start.keys, both.keys) == {"cka"} | AFTER_SEARCH


def test_weights_images_and_preprocessing_change_every_key(opened):
    weights = replace(opened, loaded=replace(opened.loaded, digest="0" * 64))
    preprocess = replace(opened.loaded.preprocess, mean=(0.5, 0.5, 0.5))
    scaled = replace(opened, loaded=replace(opened.loaded, preprocess=preprocess))
    source = SimpleNamespace(digest=lambda: "1" * 64, labels=opened.source.labels)
    images = replace(opened, source=source)
    for other in (weights, scaled, images):
        assert differing(other.keys, opened.keys) == set(STAGES)


def test_a_schema_changes_its_stage_and_what_follows(opened, monkeypatch):
    for stage, want in (("curvature", AFTER_CURVATURE), ("cka", {"cka"}), ("ranking", {"ranking", "evaluation"})):
        with monkeypatch.context() as patch:
            patch.setitem(config.SCHEMAS, stage, 1000)
            assert differing(replace(opened).keys, opened.keys) == want


def test_keys_are_the_same_in_every_workspace(opened, small_request):
    assert Workspace.open(small_request).keys == opened.keys


# Reuse


def test_a_second_run_computes_nothing(finished, small_request, nothing_may_be_computed):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in finished.root.rglob("*.safetensors")}
    events = run(small_request, finished)
    assert cached(events) == set(STAGES)
    assert computed(events) == set()
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in finished.root.rglob("*.safetensors")} == before


def test_another_search_seed_reuses_curvature_and_cka(finished, small_request):
    request = changed(small_request, "search.seed=1")
    events = run(request, finished)
    assert cached(events) == {"curvature", "cka"}
    assert computed(events) == AFTER_SEARCH
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
    assert computed(run(request, finished)) == {"evaluation"}
    table = load_results(finished, request.run).measurements
    assert (table.queries, len(table)) == (10, 2)


def test_a_finer_path_keeps_the_points_that_were_measured(finished, small_request):
    request = changed(small_request, "evaluation.points=5")
    events = run(request, finished)
    assert computed(events) == {"evaluation"}
    assert sum(event.kind == "point" for event in events) == 2
    old, new = (load_results(finished, name).measurements for name in (small_request.run, request.run))
    np.testing.assert_array_equal(new.latency_ms[:3], old.latency_ms)  # rows taken over, not measured again
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
    events = run(small_request, store)
    assert computed(events) == {stage}
    assert list(store.problems) == [f"{small_request.run}/{path.name}"]
    after = entries(store, small_request.run)
    assert {name for name in STAGES if before[name].sha256 != after[name].sha256} <= {stage} & {"evaluation"}
    again = load_results(Store(finished.root), small_request.run)
    np.testing.assert_array_equal(again.curvature.mlp, results.curvature.mlp)
    np.testing.assert_array_equal(again.search.covariances, results.search.covariances)
    np.testing.assert_array_equal(again.measurements.hits, results.measurements.hits)


def test_an_outdated_stage_and_what_follows_are_forgotten_before_anything_is_computed(
    finished, small_request, monkeypatch
):
    folder = finished.root / small_request.run
    old = entries(finished, small_request.run)
    monkeypatch.setitem(config.SCHEMAS, "search", 1000)
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


# Numbers


def test_shapes_and_counts_are_those_asked_for(finished, small_request):
    results = load_results(finished, small_request.run)
    assert results.curvature.mlp.shape == (12, 576)
    assert results.curvature.head.shape == (12, 6)
    assert (results.curvature.images, results.cka.images) == (4, 16)
    assert results.cka.values.shape == (84, 84)
    assert results.search.fitness.shape == (3, 4, 2)
    assert results.search.covariances.shape == (4, 84, 84)
    assert sorted(results.ranking.mlp.tolist()) == list(range(12 * 576))
    table = results.measurements
    assert (table.k, table.gallery, table.queries) == (5, 60, 20)
    assert [(m, h) for m, h in zip(table.mlp, table.heads, strict=True)] == [path_pair(s) for s in path_points(3)]
    assert results.summary.state == "finished"
    assert results.summary.done == STAGES
    assert results.request == small_request


def sklearn_hits(k: int, gallery: np.ndarray, queries: np.ndarray, votes: np.ndarray, truth: np.ndarray) -> int:
    """Queries named right by a majority whose ties go to the nearest: all bonuses together are less than one vote."""
    bonus = 0.5 ** (1 + np.arange(k))
    classifier = KNeighborsClassifier(k, algorithm="brute", metric="cosine", weights=lambda d: 1 + bonus + 0 * d)
    classifier.fit(gallery.astype(np.float64), votes)
    return int((classifier.predict(queries.astype(np.float64)) == truth).sum())


@pytest.mark.parametrize(("k", "gallery", "queries"), [(5, 60, 20), (20, 300, 200)])
def test_top1_of_the_whole_model_is_that_of_scikit_learn_on_plain_embeddings(
    finished, small_request, opened, plain, embedding, labels, k, gallery, queries
):
    sizes = (f"evaluation.k={k}", f"evaluation.gallery={gallery}", f"evaluation.queries={queries}")
    request = changed(small_request, "evaluation.points=2", *sizes)
    run(request, finished)
    own, asked = opened.split.gallery[:gallery], opened.split.query[:queries]
    hits = sklearn_hits(k, embedding(plain, own), embedding(plain, asked), labels[own], labels[asked])
    whole = find_measurement(finished, request.run, 0.0, 0.0)
    assert whole.hits == hits
    assert whole.top1 == hits / queries
    assert 0.5 < whole.top1 <= 1
    assert whole.cosine == pytest.approx(1.0, abs=1e-5)


def test_a_cut_measures_like_a_plain_model_with_its_lost_structures_masked(
    finished, small_request, opened, plain, embedding, labels, masked_copy, naive_kept
):
    found = load_results(finished, small_request.run)
    size = np.abs(found.search.factors)
    scores = found.curvature.mlp.astype(np.float64) * size[:12, None]
    head_scores = found.curvature.head.astype(np.float64) * size[12:].reshape(12, 6)
    own, asked = opened.split.gallery[:60], opened.split.query[:20]
    whole = embedding(plain, asked).astype(np.float64)
    for sparsity in (0.475, 0.95):
        measured = find_measurement(finished, small_request.run, *path_pair(sparsity))
        kept = naive_kept(scores, 0.05, measured.cut.mlp), naive_kept(head_scores, 0.2, measured.cut.heads)
        assert tuple(map(len, kept[0])) == measured.cut.kept_neurons
        assert tuple(map(len, kept[1])) == measured.cut.kept_heads
        masked = masked_copy(plain, *kept)
        queries = embedding(masked, asked).astype(np.float64)
        hits = sklearn_hits(5, embedding(masked, own), queries, labels[own], labels[asked])
        assert abs(measured.hits - hits) <= 1  # a near tie may fall either way after other rounding
        cosines = (queries * whole).sum(axis=1) / np.linalg.norm(queries, axis=1) / np.linalg.norm(whole, axis=1)
        assert measured.cosine == pytest.approx(cosines.mean(), abs=1e-4)


def test_parameters_are_those_of_the_weights_that_stay(finished, small_request, plain):
    """Counted on slices of the plain model's own weights, which the kept neurons and heads name."""
    results = load_results(finished, small_request.run)
    table, ranking = results.measurements, results.ranking
    for i in range(len(table)):
        row = table.row(i)
        removed_mlp = set(ranking.mlp[: 12 * 576 - sum(row.cut.kept_neurons)].tolist())
        removed_heads = set(ranking.head[: 72 - sum(row.cut.kept_heads)].tolist())
        total = sum(p.numel() for name, p in plain.named_parameters() if ".mlp." not in name and ".attn." not in name)
        for b, block in enumerate(plain.blocks):
            neurons = [f for f in range(576) if b * 576 + f not in removed_mlp]
            heads = [h for h in range(6) if b * 6 + h not in removed_heads]
            assert (len(neurons), len(heads)) == (row.cut.kept_neurons[b], row.cut.kept_heads[b])
            rows = [part * 144 + h * 24 + r for part in range(3) for h in heads for r in range(24)]
            columns = [h * 24 + r for h in heads for r in range(24)]
            mlp, attention = block.mlp, block.attn
            parts = [mlp.fc1.weight[neurons], mlp.fc1.bias[neurons], mlp.fc2.weight[:, neurons], mlp.fc2.bias]
            parts += [attention.qkv.weight[rows], attention.qkv.bias[rows]]
            parts += [attention.proj.weight[:, columns], attention.proj.bias]
            total += sum(part.numel() for part in parts)
        assert row.params == total
    assert find_measurement(finished, small_request.run, 0.0, 0.0).params == sum(p.numel() for p in plain.parameters())


def test_cuts_remove_the_share_that_was_asked_for(finished, small_request):
    table = load_results(finished, small_request.run).measurements
    for i in range(len(table)):
        cut = table.row(i).cut
        floor_neurons, floor_heads = int(0.05 * 576), int(0.2 * 6)
        assert sum(cut.kept_neurons) == max(12 * 576 - int(cut.mlp * 12 * 576 + 1e-9), 12 * floor_neurons)
        assert sum(cut.kept_heads) == max(72 - int(cut.heads * 72 + 1e-9), 12 * floor_heads)
        assert min(cut.kept_neurons) >= floor_neurons
        assert min(cut.kept_heads) >= floor_heads


def test_the_model_is_bit_for_bit_what_it_was(tmp_path, small_request, plain):
    used = run_pipeline(small_request, Store(tmp_path), Reporter()).loaded
    assert weights_digest(used.model) == used.digest
    own, reference = used.model.state_dict(), plain.state_dict()
    assert list(own) == list(reference)
    for name, tensor in reference.items():
        assert own[name].shape == tensor.shape
        assert own[name].contiguous().numpy().tobytes() == tensor.contiguous().numpy().tobytes(), name
    assert str(used.model) == str(plain)  # the same layers of the same widths
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in used.model.modules())
    images = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    assert torch.equal(used.model(images), plain(images))


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
        def measure(self, cut: object) -> object:
            monkeypatch.setattr(measure, "Meter", meter)
            measure_cut(Store(finished.root), small_request.run, 0.7, 0.1, Reporter())  # somebody else's, meanwhile
            return super().measure(cut)

    monkeypatch.setattr(measure, "Meter", Slow)
    measure_cut(finished, small_request.run, 0.6, 0.1, Reporter())
    assert load_results(finished, small_request.run).measurements.mlp.tolist()[-2:] == [0.7, 0.6]


def test_a_cut_is_not_measured_with_a_model_that_changed(finished, small_request, monkeypatch):
    monkeypatch.setitem(config.SCHEMAS, "curvature", 1000)
    with pytest.raises(InputError, match=r"changed since.*run it again"):
        measure_cut(finished, small_request.run, 0.3, 0.1, Reporter())
    assert len(load_results(finished, small_request.run).measurements) == 3


def test_a_cut_of_a_run_without_ranking_is_refused(finished, small_request):
    finished.forget(small_request.run, "ranking")
    with pytest.raises(InputError, match="no ranking yet"):
        measure_cut(finished, small_request.run, 0.3, 0.1, Reporter())
