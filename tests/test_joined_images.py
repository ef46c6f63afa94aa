"""Gallery and queries as sources of their own: whose images do what, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, settings_of
from page_checks import opened, words
from PIL import Image

from snapvit.data.sources import open_images
from snapvit.data.splits import split_source
from snapvit.errors import InputError
from snapvit.models.spec import BUNDLED, ModelSpec
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import StoredRun, load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.table import main_stages
from snapvit.store.store import Store


def folder_of(root: Path, counts: dict[str, int], seed: int) -> str:
    """A folder of random pictures, so many of each class; counts of "" lie in the folder itself."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (9, 9, 3), np.uint8)).save(root / name / f"{seed}-{i:02}.png")
    return f"folder:{root}"


@pytest.fixture
def sets(tmp_path: Path) -> tuple[str, str, str]:
    """Images to calibrate on, a gallery and queries; the gallery has a class more, the queries are in another order."""
    return (
        folder_of(tmp_path / "data", {"cat": 10, "dog": 10}, 0),
        folder_of(tmp_path / "gallery", {"ant": 12, "cat": 12, "dog": 12}, 1),
        folder_of(tmp_path / "queries", {"dog": 6, "cat": 6}, 2),
    )


def places(source, ids) -> list[set[str]]:
    """Which of the three sources the images are of, by their contents."""
    return {source.content(int(i)) for i in ids}


def test_each_source_does_what_it_is_named_for(sets):
    data, gallery, queries = sets
    joined = open_images(data, gallery, queries)
    split = split_source(joined, 0)
    alone = [open_images(name) for name in sets]
    contents = [places(source, range(len(source))) for source in alone]
    parts = [split.calibration, split.gallery, split.query]
    for part, content in zip(parts, contents, strict=True):
        assert places(joined, part) == content
        assert len(part) == len(set(part.tolist())) == len(content)
    assert joined.class_names == ("ant", "cat", "dog")
    for source, content in zip(alone, contents, strict=True):  # every image keeps its class by name
        names = {source.content(i): source.class_names[source.labels[i]] for i in range(len(source))}
        mine = {joined.content(i): joined.class_names[joined.labels[i]] for i in range(len(joined))}
        assert {c: mine[c] for c in content} == names


@pytest.mark.parametrize(("own", "others"), [("gallery", "query"), ("queries", "gallery")])
def test_what_no_source_is_named_for_is_taken_of_the_data(sets, own, others):
    data, gallery, queries = sets
    joined = open_images(data, **{own: gallery if own == "gallery" else queries})
    split = split_source(joined, 0)
    base = places(open_images(data), range(20))
    rest = {"query": split.query, "gallery": split.gallery}[others]
    assert places(joined, split.calibration) | places(joined, rest) == base
    assert not places(joined, split.calibration) & places(joined, rest)
    assert len(split.calibration) and len(rest)


def test_a_source_that_is_named_twice_is_divided(sets):
    data, gallery, queries = sets
    split = split_source(joined := open_images(data, data, queries), 0)
    assert not places(joined, split.calibration) & places(joined, split.gallery)
    both = split_source(joined := open_images(data, gallery, gallery), 0)
    assert not places(joined, both.gallery) & places(joined, both.query)


def test_unlabelled_images_may_calibrate_but_not_be_compared(sets, tmp_path):
    plain = folder_of(tmp_path / "plain", {"": 8}, 3)
    joined = open_images(plain, sets[1], sets[2])
    split = split_source(joined, 0)
    assert len(split.calibration) == 8
    assert set(joined.labels[split.gallery].tolist()) == {0, 1, 2}
    with pytest.raises(InputError, match="has no labels, so its images cannot be the gallery"):
        open_images(sets[0], plain, sets[2])


SMALL = (
    "curvature.images=4",
    "curvature.local_views=1",
    "cka.images=8",
    "search.generations=2",
    "search.population=3",
    "search.images=4",
    "evaluation.points=3",
)


def finished(tmp_path: Path, *images: str, settings: tuple[str, ...] = ()) -> StoredRun:
    request = make_request(ModelSpec(BUNDLED), *images, settings=[*SMALL, *settings])
    store = Store(tmp_path / "cache")
    run_pipeline(request, store, Reporter())
    return StoredRun.open(store, request.run)


def test_a_run_with_a_gallery_and_queries_of_its_own(sets, tmp_path):
    run = finished(tmp_path, *sets, settings=("evaluation.k=5",))
    table = load_results(run.store, run.manifest.run).measurements
    assert (table.gallery, table.queries) == (36, 12)
    assert run.summary().state == "finished"
    assert set(run.summary().done) == {stage.name for stage in main_stages(run.request) if not stage.passing}
    other = finished(tmp_path, sets[0], sets[1], settings=("evaluation.k=5",))
    same = {"curvature", "cka", "search"}  # calibrated on other images, since the data now gives the queries too
    assert not any(run.manifest.entries[n].key == other.manifest.entries[n].key for n in same)


def test_train_and_val_are_parts_and_that_is_said_on_the_run(tmp_path):
    root = tmp_path / "set"
    folder_of(root / "train", {"cat": 20, "dog": 20}, 0)
    folder_of(root / "val", {"cat": 6, "dog": 6}, 1)
    (root / "@eaDir").mkdir()
    run = finished(tmp_path, f"folder:{root}", settings=("evaluation.k=5",))
    assert run.manifest.facts.classes == ("cat", "dog")
    assert any("train calibrates and is the gallery, val gives the queries" in n for n in run.manifest.facts.notes)
    assert load_results(run.store, run.manifest.run).measurements.queries == 12


def test_thin_classes_and_equal_images_are_told_with_the_run(tmp_path):
    root = tmp_path / "set"
    folder_of(root, {"cat": 40, "dog": 40, "emu": 5}, 0)
    for picture in sorted((root / "emu").iterdir()):
        Image.new("RGB", (9, 9), "red").save(picture)
    notes = finished(tmp_path, f"folder:{root}", settings=("evaluation.k=20",)).manifest.facts.notes
    assert any("'emu'" in note and "the same content" in note for note in notes)
    (thin,) = [note for note in notes if "fewer gallery images than half the k = 20" in note]
    assert "'emu' (3)" in thin
    assert "at most" in thin


@pytest.mark.parametrize("page", ["app.py", "pages/sparsity.py"])
def test_pages_tell_what_thin_classes_allow(page, tmp_path, monkeypatch, fresh_resources):
    root = tmp_path / "set"
    folder_of(root, {"cat": 40, "dog": 40, "emu": 5}, 0)
    run = finished(tmp_path, f"folder:{root}", settings=("evaluation.k=20",))
    monkeypatch.setenv("SNAPVIT_CACHE", str(run.store.root))
    (thin,) = [note for note in run.manifest.facts.notes if "fewer gallery images than half" in note]
    assert thin in words(opened(page))


def test_the_command_line_names_gallery_queries_and_pooling(sets, tmp_path, capsys):
    data, gallery, queries = sets
    store = Store(tmp_path / "cache")
    sources = ("--data", data, "--gallery", gallery, "--queries", queries)
    content, _ = Cli(capsys, store.root).json(
        "run", *sources, "--pool", "mean", *settings_of((*SMALL, "evaluation.k=5"))
    )
    request = StoredRun.open(store, content["run"]).request
    assert (request.data, request.gallery, request.queries) == (data, gallery, queries)
    assert request.model.pool == "mean"
    assert {(row["gallery"], row["queries"]) for row in content["measured"]} == {(36, 12)}
    assert [row["mlp"] for row in content["corrected"]] == [row["mlp"] for row in content["measured"]]


def test_where_no_query_can_be_named_right_there_is_no_accuracy_and_why(tmp_path):
    gallery = folder_of(tmp_path / "gallery", {"ant": 15, "bee": 15}, 0)
    queries = folder_of(tmp_path / "queries", {"cat": 6, "dog": 6}, 1)
    data = folder_of(tmp_path / "data", {"ant": 8, "bee": 8}, 2)
    run = finished(tmp_path, data, gallery, queries, settings=("evaluation.k=5",))
    assert "too few images of the queries' classes" in run.manifest.facts.accuracy_missing
    table = load_results(run.store, run.manifest.run).measurements
    assert table.row(0).top1 is None
    assert table.row(0).cosine == pytest.approx(1.0, abs=1e-5)
