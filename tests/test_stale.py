"""No number may be another model's, other images' or another version's: what a key stands for, tried out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from snapvit.jobs.tasks import StageTask, Workbench
from snapvit.models.spec import BUNDLED, ModelSpec
from snapvit.pipeline.config import PRESETS, RunConfig, RunRequest, with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import StoredRun, list_runs
from snapvit.pipeline.running import keep_piece, run_pipeline
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.attention import ATTENTION, EXAMPLES
from snapvit.pipeline.stages.cka import CKA
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.lessons import IMAGE_LESSON
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.pipeline.stages.search import SEARCH
from snapvit.pipeline.table import TABLE, key_of, main_stages
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store
from snapvit.tables import Measurements

SETTINGS = (
    "curvature.images=4",
    "curvature.local_views=1",
    "cka.images=8",
    "search.generations=2",
    "search.population=3",
    "search.images=4",
    "evaluation.k=3",
    "evaluation.points=3",
)
SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 3}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three classes of ten pictures each."""
    folder = tmp_path / "pictures"
    fill(folder, seed=0)
    return folder


def fill(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name in "abc":
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(10):
            Image.fromarray(rng.integers(0, 255, (18, 18, 3), np.uint8)).save(folder / name / f"{i}.png")


def checkpoint(path: Path, seed: int = 0, **changes: object) -> Path:
    """A file that describes itself; the weights follow from the seed alone wherever their shapes are the same."""
    config = SIZES | changes
    torch.manual_seed(seed)
    weights = VisionTransformer(**config).state_dict()
    metadata = {"config": json.dumps(config), "mean": "0.5", "std": "0.5"}
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path, metadata)
    return path


def request_for(file: Path, pictures: Path, *settings: str) -> RunRequest:
    spec = ModelSpec(BUNDLED, str(file))
    return make_request(spec, f"folder:{pictures}", settings=[*SETTINGS, *settings])


def finished(store: Store, request: RunRequest) -> StoredRun:
    run_pipeline(request, store, Reporter())
    return StoredRun.open(store, request.run)


def events(store: Store, request: RunRequest) -> list[str]:
    reporter = Reporter()
    run_pipeline(request, store, reporter)
    return [event.text for event in reporter.events]


def keys(request: RunRequest, nodes: dict[str, str]) -> dict[str, str | None]:
    return {name: key_of(stage, request, nodes) for name, stage in TABLE.items() if not stage.args}


# The same weights as another architecture


@pytest.mark.parametrize("changes", [{"num_heads": 6}, {"act_layer": "quick_gelu"}, {"global_pool": "avg"}], ids=str)
def test_the_same_weights_as_another_architecture_share_nothing(tmp_path, pictures, changes):
    store = Store(tmp_path / "cache")
    plain = {"fc_norm": False} if "global_pool" in changes else {}
    first = request_for(checkpoint(tmp_path / "first.safetensors", **plain), pictures)
    other = request_for(checkpoint(tmp_path / "other.safetensors", **plain, **changes), pictures)
    opened = [Workspace.open(request) for request in (first, other)]
    assert opened[0].loaded.digest == opened[1].loaded.digest
    mine, theirs = (keys(request, w.nodes) for request, w in zip((first, other), opened, strict=True))
    assert not set(mine.values()) & set(theirs.values()) - {None}
    finished(store, first)
    said = events(store, other)
    assert not any(text.endswith("is in the cache") for text in said)
    heads = changes.get("num_heads", 3)
    assert StoredRun.open(store, other.run).load(CURVATURE).head.shape == (3, heads)


def test_a_corrected_file_at_the_same_place_is_another_model(tmp_path, pictures):
    store, file = Store(tmp_path / "cache"), tmp_path / "best.safetensors"
    request = request_for(checkpoint(file), pictures)
    before = finished(store, request).load(CURVATURE)
    checkpoint(file, num_heads=6)
    assert not any(text.endswith("is in the cache") for text in events(store, request))
    after = StoredRun.open(store, request.run)
    assert after.load(CURVATURE).head.shape == (3, 6) != before.head.shape
    assert after.summary().state == "finished"


# Replaced images


def requested(image: int) -> tuple[Want, ...]:
    return (
        Want(ATTENTION, (0.3, 0.0, EXAMPLES)),
        Want(ATTENTION, (0.3, 0.0, str(image))),
        Want(IMAGE_LESSON, (str(image),)),
        Want(EMBEDDING_PROJECTION, (0.3, 0.0)),
    )


@pytest.fixture
def run_of_scores(tmp_path: Path, pictures: Path) -> Iterator[tuple[Store, RunRequest]]:
    """A run whose ranking comes from published scores, so that no image takes part in it."""
    from snapvit.artifacts import Floors, Scores
    from snapvit.published.scores import PublishedScores

    rng = np.random.default_rng(0)
    scores = Scores(rng.random((3, 96)), rng.random((3, 3)))
    published = PublishedScores(scores, Floors(), "anything", "standard", 24, 8, {}, digest="d" * 64)
    spec = ModelSpec(BUNDLED, str(checkpoint(tmp_path / "m.safetensors")))
    settings = ["evaluation.k=3", "evaluation.points=3"]
    request = make_request(spec, f"folder:{pictures}", settings=settings, scores=published)
    store = Store(tmp_path / "cache")
    run_pipeline(request, store, Reporter(), published)
    yield store, request


def test_replaced_images_invalidate_all_that_saw_them(run_of_scores, pictures):
    store, request = run_of_scores
    bench = Workbench(store)
    StageTask(request.run, requested(7)).perform(bench)
    stored = StoredRun.open(store, request.run)
    wants = requested(7)
    assert all(stored.is_whole(want.stage, *want.args) for want in wants)
    before = [stored.load(want.stage, *want.args) for want in wants]
    fill(pictures, seed=1)
    run_pipeline(request, store, Reporter())
    stored = StoredRun.open(store, request.run)
    assert stored.is_whole(RANKING)  # of the scores alone
    assert [stored.load(want.stage, *want.args) for want in wants] == [None] * len(wants)
    StageTask(request.run, wants).perform(Workbench(store))
    after = [StoredRun.open(store, request.run).load(want.stage, *want.args) for want in wants]
    assert (before[0].pictures != after[0].pictures).any()
    assert (before[1].pictures != after[1].pictures).any()
    assert (before[2].picture != after[2].picture).any()
    assert (before[3].cut_cosines != after[3].cut_cosines).any()


def test_an_image_that_only_one_lesson_saw_invalidates_that_lesson_alone(tmp_path, pictures):
    store = Store(tmp_path / "cache")
    request = request_for(checkpoint(tmp_path / "m.safetensors"), pictures)
    workspace = run_pipeline(request, store, Reporter())
    used = np.concatenate([workspace.ids[name] for name in ("curvature", "cka", "search")])
    aside = next(int(i) for i in workspace.ids["queries"] if i not in used)
    StageTask(request.run, tuple(Want(IMAGE_LESSON, (str(i),)) for i in (int(used[0]), aside))).perform(
        Workbench(store)
    )
    name = sorted(str(p.relative_to(pictures)) for p in pictures.rglob("*.png"))[aside]
    Image.new("RGB", (18, 18), "red").save(pictures / name)
    said = events(store, request)
    cached = {text.split(" ")[0] for text in said if text.endswith("is in the cache")}
    assert {"curvature", "cka", "search", "ranking"} <= cached
    assert "evaluation" not in cached
    stored = StoredRun.open(store, request.run)
    assert stored.load(IMAGE_LESSON, str(int(used[0]))) is not None
    assert stored.load(IMAGE_LESSON, str(aside)) is None


# Names that are no identities


def test_a_relative_checkpoint_is_another_run_in_another_folder(tmp_path, pictures, monkeypatch):
    store, runs = Store(tmp_path / "cache"), []
    for folder, seed in (("A", 0), ("B", 1)):
        (tmp_path / folder).mkdir()
        checkpoint(tmp_path / folder / "best.safetensors", seed)
        monkeypatch.chdir(tmp_path / folder)
        runs.append(finished(store, request_for(Path("best.safetensors"), pictures)))
    assert runs[0].manifest.run != runs[1].manifest.run
    first = StoredRun.open(store, runs[0].manifest.run)
    assert first.manifest.entries == runs[0].manifest.entries
    assert (first.load(CURVATURE).mlp != runs[1].load(CURVATURE).mlp).any()


@pytest.mark.parametrize("written", ["{}", "'{}'", '"{}"', "file://{}", "{}/../m.safetensors"])
def test_one_file_is_one_run_however_it_is_written(tmp_path, written):
    (tmp_path / "m.safetensors").touch()
    want = make_request(ModelSpec(BUNDLED, str(tmp_path / "m.safetensors")))
    place = tmp_path if written.endswith("m.safetensors") else tmp_path / "m.safetensors"
    if written.endswith("m.safetensors"):
        (tmp_path / "sub").mkdir()
        place = tmp_path / "sub"
    assert make_request(ModelSpec(BUNDLED, written.format(place))) == want


# Settings


PURPOSES = ("curvature", "cka", "search", "correction", "interactions", "gallery", "queries")


def test_a_setting_at_its_default_names_and_renames_nothing():
    """A new setting's default must give the keys and names from before it: only what differs may enter them."""
    nodes = {"model": "m"} | {f"images.{n}": n for n in ("curvature", "cka", "search", "gallery", "queries")}
    spelled = with_settings(RunConfig(), ["search.generations=50", "evaluation.k=20", "floors.heads=0.2"])
    for request in (RunRequest(config=RunConfig()), RunRequest(config=spelled)):
        assert request.run == RunRequest(config=RunConfig()).run
        assert keys(request, nodes) == keys(RunRequest(config=RunConfig()), nodes)


@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ("curvature.seed=5", {"curvature", "search", "ranking", "evaluation", "snip-magnitude"}),
        ("search.seed=5", {"search", "ranking", "evaluation"}),
        ("floors.heads=0.4", {"search", "ranking", "evaluation"}),
        ("evaluation.k=5", {"evaluation", "pixel-knn"}),
        ("search.start=cka", {"search", "ranking", "evaluation"}),
    ],
)
def test_a_setting_changes_the_keys_of_what_reads_it_and_of_what_comes_after(setting, changed):
    nodes = {"model": "m"} | {f"images.{n}": n for n in PURPOSES}
    before = keys(RunRequest(config=RunConfig()), nodes)
    after = keys(RunRequest(config=with_settings(RunConfig(), [setting])), nodes)
    found = {name for name in before if before[name] != after[name]}
    # a comparison's rankings take all their settings from the run
    assert found == changed | {"comparison", "evaluation-corrected"}


# Searches that go on


@pytest.mark.parametrize("start", ["identity", "cka"])
def test_more_generations_go_on_from_those_that_are_there_to_the_same_result(tmp_path, pictures, start):
    file = checkpoint(tmp_path / "m.safetensors")
    short, long = (
        request_for(file, pictures, f"search.generations={n}", f"search.start={start}", "search.population=6")
        for n in (2, 5)
    )
    store, fresh = Store(tmp_path / "cache"), Store(tmp_path / "fresh")
    finished(store, short)
    said = events(store, long)
    assert "search goes on after generation 2" in said
    assert sum(text.startswith("generation ") for text in said) == 3
    grown, whole = (StoredRun.open(s, long.run) for s in (store, finished(fresh, long).store))
    for field in ("factors", "means", "covariances", "individuals", "fitness", "mixings"):
        np.testing.assert_array_equal(*(getattr(run.load(SEARCH).history, field) for run in (grown, whole)))
    np.testing.assert_array_equal(grown.load(RANKING).mlp, whole.load(RANKING).mlp)
    # and back: fewer are the beginning of more, without an evaluation
    again = Store(tmp_path / "again")
    shutil.copytree(fresh.root, again.root)
    said = events(again, short)
    assert not any(text.startswith("generation ") for text in said)
    back, first = StoredRun.open(again, short.run), StoredRun.open(store, short.run)
    assert back.load(SEARCH).strategy.rng == first.load(SEARCH).strategy.rng
    np.testing.assert_array_equal(back.load(SEARCH).strategy.factor, first.load(SEARCH).strategy.factor)
    np.testing.assert_array_equal(back.load(SEARCH).history.factors, first.load(SEARCH).history.factors)
    np.testing.assert_array_equal(back.load(RANKING).head, first.load(RANKING).head)


def test_more_points_add_rows_to_the_table(tmp_path, pictures):
    file, store = checkpoint(tmp_path / "m.safetensors"), Store(tmp_path / "cache")
    few = finished(store, request_for(file, pictures, "evaluation.points=3")).load(EVALUATION)
    said = events(store, more := request_for(file, pictures, "evaluation.points=5"))
    assert sum(text.startswith("sparsity ") for text in said) == 2 * 2  # as cut, and corrected
    table = StoredRun.open(store, more.run).load(EVALUATION)
    assert len(table) == 5
    np.testing.assert_array_equal(table.answers[:3], few.answers)


# Damage


def test_an_artifact_whose_shapes_are_not_the_runs_is_damaged(tmp_path, pictures):
    store = Store(tmp_path / "cache")
    request = request_for(checkpoint(tmp_path / "m.safetensors"), pictures)
    stored = finished(store, request)
    curvature, entry = stored.load(CURVATURE), stored.manifest.entries["curvature"]
    store.save(request.run, "curvature", entry.key, replace(curvature, head=curvature.head[:, :2]))
    assert StoredRun.open(store, request.run).load(CURVATURE) is None
    assert any("shapes" in problem for problem in store.problems)
    run_pipeline(request, store, Reporter())
    np.testing.assert_array_equal(StoredRun.open(store, request.run).load(CURVATURE).head, curvature.head)


def test_rows_that_two_measure_at_once_are_all_kept(tmp_path, pictures):
    """Two that read the table before either writes: the second's row must not take the first's place."""
    store = Store(tmp_path / "cache")
    request = request_for(checkpoint(tmp_path / "m.safetensors"), pictures)
    workspace = run_pipeline(request, store, Reporter())
    table = StoredRun.open(store, request.run).load(EVALUATION)
    rows = [replace(table.row(0), cut=replace(table.row(0).cut, mlp=mlp)) for mlp in (0.11, 0.22)]
    empty = Measurements.empty(3, table.queries, table.gallery, table.k, labelled=True)
    for row in rows:
        keep_piece(store, workspace, Want(EVALUATION), empty.with_row(row))
    after = StoredRun.open(store, request.run).load(EVALUATION)
    assert len(after) == len(table) + 2
    assert {0.11, 0.22} <= set(after.mlp.tolist())
    assert StoredRun.open(store, request.run).is_whole(EVALUATION)


# Runs of an earlier version


def test_a_run_of_an_earlier_version_is_listed_and_nothing_of_it_is_deleted(tmp_path):
    folder = tmp_path / "cache" / "bundled-quick-0a1b2c3d"
    folder.mkdir(parents=True)
    request = {"model": {"name": "bundled", "checkpoint": None, "image_size": None}, "data": "bundled"}
    manifest = {"schema": 1, "run": folder.name, "created": 5.0, "facts": None, "stages": {}}
    encoded = {f"model.{name}": value for name, value in request["model"].items()} | {"data": "bundled", "scores": None}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"request": encoded}))
    (folder / "search-abc.safetensors").write_bytes(b"old")
    store = Store(tmp_path / "cache")
    (summary,) = list_runs(store)
    assert (summary.run, summary.state, summary.model) == (folder.name, "earlier version", "bundled")
    assert store.problems == ()
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "search-abc.safetensors"]


def test_the_plan_of_a_run_follows_from_the_table():
    names = [
        [stage.name for stage in main_stages(request)]
        for request in (
            RunRequest(config=PRESETS["quick"]),
            RunRequest(config=PRESETS["quick"], scores="s"),
            RunRequest(data="none", config=PRESETS["quick"], scores="s"),
        )
    ]
    assert names == [
        ["curvature", "cka", "search", "ranking", "evaluation", "correction", "evaluation-corrected"],
        ["scores", "ranking", "evaluation", "correction", "evaluation-corrected"],
        ["scores", "ranking"],
    ]
    assert CKA in main_stages(RunRequest())
