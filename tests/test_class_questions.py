"""What a class asks, answered from a run's own numbers: against loops over the answers, and libraries."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from class_samples import POINTS, SEEDS, put_pixels, put_random
from page_checks import array, charts, metric, opened, words
from sklearn.neighbors import KNeighborsClassifier

from snapvit.evaluation.knn import Knn
from snapvit.evaluation.paired import answers_of, lost_at, unpack_answers
from snapvit.evaluation.pixels import pixel_features
from snapvit.formats import percent, ratio
from snapvit.jobs.tasks import StageTask, Workbench
from snapvit.pipeline.results import RunResults, StoredRun, list_runs, load_results
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.pipeline.stages.pixel_knn import PIXEL_KNN
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store
from snapvit.ui.method.first_wrong import first_lost
from snapvit.ui.method.questions import most_changed, staying_block


@pytest.fixture
def shipped(shipped: Store) -> Store:
    """The shipped run before anybody asked these questions."""
    shipped.forget(list_runs(shipped)[0].run, [PIXEL_KNN.name, COMPARISON.name])
    return shipped


@pytest.fixture
def results(shipped: Store) -> RunResults:
    return load_results(shipped, list_runs(shipped)[0].run)


def test_a_query_is_lost_where_no_later_point_names_it_right() -> None:
    answers = np.random.default_rng(0).random((7, 300)) < 0.6
    for q, found in enumerate(lost_at(answers)):
        column = answers[:, q].tolist()
        assert found == next((p for p in range(8) if not any(column[p:])), 7)
    with pytest.raises(ValueError, match="no points"):
        lost_at(answers[0])


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 4), (4, 4, 32), (6, 8, 3)])
def test_pixels_are_means_of_areas(height: int, width: int, side: int) -> None:
    images = torch.randint(256, (5, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    size = min(side, height, width)
    found = np.concatenate(list(pixel_features(images.split(2), side))).reshape(5, 3, size, size)
    rows, columns = ([(n * i // size, -(-n * (i + 1) // size)) for i in range(size)] for n in (height, width))
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            want = images[:, :, top:bottom, left:right].float().mean(dim=(2, 3)) / 255
            np.testing.assert_allclose(found[:, :, i, j], want, rtol=1e-5)


def test_the_stage_names_a_run_s_queries_as_a_library_does(finished: Store, small_request) -> None:
    StageTask(small_request.run, (Want(PIXEL_KNN),)).perform(Workbench(finished))
    found = StoredRun.open(finished, small_request.run).load(PIXEL_KNN)
    workspace = Workspace.open(small_request)
    ids, labels, k = workspace.ids, workspace.source.labels, small_request.config.evaluation.k
    flat = {
        name: np.concatenate(list(pixel_features(workspace.table(name).batches(16)))) for name in ("gallery", "queries")
    }
    unit = {name: rows / np.linalg.norm(rows, axis=1, keepdims=True) for name, rows in flat.items()}
    library = KNeighborsClassifier(k, algorithm="brute").fit(unit["gallery"], labels[ids["gallery"]])
    nearest = labels[ids["gallery"]][library.kneighbors(unit["queries"], return_distance=False)]
    named = [max(set(row), key=lambda c, row=row: (row.count(c), -row.index(c))) for row in nearest.tolist()]
    np.testing.assert_array_equal(found.ids, ids["queries"])
    np.testing.assert_array_equal(found.labels, labels[ids["queries"]])
    right = unpack_answers(found.answers, len(found.ids))
    np.testing.assert_array_equal(right, np.array(named) == found.labels)
    assert Knn(flat["gallery"], labels[ids["gallery"]], k).hits(flat["queries"], found.labels) == right.sum()


def test_pixels_stand_beside_chance_the_whole_model_and_the_cut(results: RunResults, shipped: Store) -> None:
    found = put_pixels(shipped, results.summary.run)
    app = opened("pages/method.py", step="easy", s="0.65")
    right = unpack_answers(found.answers, len(found.ids))
    whole, cut = (results.measurements.find(*pair) for pair in ((0.0, 0.0), (0.65, 0.5)))
    shown = [number.value for number in app.metric]
    assert shown == [percent(0.1), percent(right.mean()), percent(whole.top1), percent(cut.top1)]
    traces = charts(app)["Accuracy by class"]["data"]
    for trace, answers in zip(traces, (right, answers_of(whole), answers_of(cut)), strict=True):
        want = [100 * np.mean([a for a, c in zip(answers, found.labels, strict=True) if c == i]) for i in range(10)]
        np.testing.assert_allclose(array(trace["x"]), want)


def test_of_many_classes_those_that_the_cut_changes_most_are_drawn() -> None:
    before, after = np.full(1000, 0.5), np.full(1000, 0.5)
    after[[7, 300, 999]] = 0.1, 1.0, 0.4
    drawn = most_changed(before, after)
    assert len(drawn) == 24
    assert {7, 300, 999} <= set(drawn.tolist())
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(most_changed(before[:10], after[:10]), np.arange(10))


def test_without_them_a_button_computes_them(shipped: Store) -> None:
    app = opened("pages/method.py", step="wrong")
    assert app.button(key="compute_pixels").disabled is False
    assert metric(opened("pages/method.py", step="easy"), "Chance") == "10.0 %"


def test_random_cuts_are_compared_in_pairs(results: RunResults, shipped: Store) -> None:
    assert opened("pages/method.py", step="random").button(key="compare_random").disabled is False
    put_random(shipped, results.summary.run, lost=100)
    text = words(opened("pages/method.py", step="random"))
    queries = results.measurements.queries
    for i, (mlp, _) in enumerate(POINTS):
        draws = SEEDS - 1 if i == 0 else SEEDS
        mean = 100 * 100 * draws / SEEDS / queries
        line = f"At **{ratio(mlp)}** chance's cut stands at −{mean:.1f} points, told apart in {draws} of {SEEDS} draws"
        assert line in text


def test_the_block_that_stays_is_named_with_its_scores(results: RunResults, shipped: Store) -> None:
    kept = np.zeros((12, 6), dtype=bool)
    order = results.ranking.head
    kept.ravel()[order[int(0.8 * 72) :]] = True  # the path ends at 80 % of the heads
    kept.ravel()[order[-results.ranking.head_protected :]] = True
    assert staying_block(results) == kept.sum(axis=1).argmax()
    text = words(opened("pages/method.py", step="block", s="0.65"))
    assert "**block 1** keeps 6 of 6 heads and 576 of 576 neurons" in text
    scores = results.final_scores.head
    times = np.median(scores[0]) / np.median(scores[1:])
    assert f"{times:.1f} times as much" in text
    assert "guards 1 of 6 heads" in re.sub(r"<[^>]*>", "", re.sub(r'<span class="term-meaning.*?</span>', "", text))


def test_the_first_to_go_wrong_are_those_lost_at_the_mildest_cuts(results: RunResults, shipped: Store) -> None:
    found = put_pixels(shipped, results.summary.run)
    table = results.measurements
    path = sorted((float(m), float(h)) for m, h in zip(table.mlp, table.heads, strict=True) if _on_path(m, h))
    answers = np.stack([answers_of(table.find(*pair)) for pair in path])
    lost = {}
    for q in range(table.queries):
        wrong = [p for p in range(len(path)) if not answers[p:, q].any()]
        if answers[0, q] and wrong:
            lost[q] = path[wrong[0]][0]
    rows, at = first_lost(answers[0], lost_at(answers), np.array([mlp for mlp, _ in path]))
    assert dict(zip(rows.tolist(), at.tolist(), strict=True)) == lost
    assert (np.diff(at) >= 0).all()
    app = opened("pages/method.py", step="wrong")
    assert metric(app, "Lost for good by 50 %") == f"{sum(s <= 0.5 for s in lost.values()):,}"
    assert metric(app, "by 95 %") == f"{len(lost):,}"
    counts = np.bincount(found.labels[list(lost)], minlength=10)
    top = int(counts.argmax())
    assert f"{results.facts.classes[top]} ({counts[top]})" in words(app)


def _on_path(mlp: float, heads: float) -> bool:
    return abs(heads - max(0.0, mlp - 0.15)) < 1e-6
