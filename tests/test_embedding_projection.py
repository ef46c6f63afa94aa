"""The map of a cut: its images, neighbours and answers against independent ones, and how it is kept."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from snapvit.errors import Cancelled, InputError
from snapvit.jobs.tasks import StageTask, Workbench
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION
from snapvit.store.store import Store
from snapvit.tables import Measurements
from snapvit.ui.embedding.neighbours import predictions

PAIR = (0.475, 0.325)  # measured by the small run
OTHER = (0.95, 0.8)


def performed(store: Store, run: str, *pairs: tuple[float, float]) -> Workbench:
    bench = Workbench(store)
    for pair in pairs:
        StageTask(run, (Want(EMBEDDING_PROJECTION, pair),)).perform(bench)
    return bench


def test_images_neighbours_and_answers_are_those_of_the_evaluation(finished, small_request, bundled):
    run = small_request.run
    bench = performed(finished, run, PAIR)
    found, workspace = StoredRun.open(finished, run).load(EMBEDDING_PROJECTION, *PAIR), bench.workspace(run)
    ids = np.concatenate([workspace.ids["gallery"], workspace.ids["queries"]])
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_array_equal(found.labels, workspace.source.labels[ids])
    assert (found.gallery, found.queries, found.k) == (60, 20, 5)
    assert np.isfinite(found.full_layout).all() and np.isfinite(found.cut_layout).all()
    assert not np.array_equal(found.full_layout, found.cut_layout)

    features = []
    with torch.inference_mode():
        for table in (workspace.table("gallery"), workspace.table("queries")):
            pixels = workspace.normalised(table.pixels)
            features.append(
                bundled.model.forward_head(bundled.model.forward_features(pixels), pre_logits=True).double()
            )
    brute = NearestNeighbors(n_neighbors=5, algorithm="brute", metric="cosine").fit(features[0].numpy())
    distances, rows = brute.kneighbors(features[1].numpy())
    np.testing.assert_array_equal(found.full_neighbours, rows)
    np.testing.assert_allclose(found.full_cosines, 1 - distances, atol=1e-5)

    truth = found.labels[found.gallery :]
    table = finished.load(run, "evaluation", Measurements)
    before, after = predictions(found)
    assert (before == truth).sum() == table.find(0, 0).hits
    assert (after == truth).sum() == table.find(*PAIR).hits


def test_a_second_cut_shares_the_full_half_and_equals_one_computed_alone(
    finished, small_request, tmp_path, finished_cache
):
    run = small_request.run
    performed(finished, run, PAIR, OTHER)
    assert StoredRun.open(finished, run).asked(EMBEDDING_PROJECTION) == [PAIR, OTHER]
    first, second = (StoredRun.open(finished, run).load(EMBEDDING_PROJECTION, *pair) for pair in (PAIR, OTHER))
    for name in ("ids", "full_layout", "full_neighbours", "full_cosines"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))

    alone = Store(shutil.copytree(finished_cache, tmp_path / "alone"))
    performed(alone, run, OTHER)
    again = StoredRun.open(alone, run).load(EMBEDDING_PROJECTION, *OTHER)
    for name in ("full_layout", "cut_layout", "cut_neighbours", "cut_cosines"):
        np.testing.assert_array_equal(getattr(second, name), getattr(again, name))


def test_unlabelled_images_have_neighbours_and_no_answers(finished, small_request):
    run = small_request.run
    bench = Workbench(finished)
    workspace = bench.workspace(run)
    assert workspace.nodes  # made once, of the labelled images
    workspace.source.labels = None
    StageTask(run, (Want(EMBEDDING_PROJECTION, PAIR),)).perform(bench)
    found = StoredRun.open(finished, run).load(EMBEDDING_PROJECTION, *PAIR)
    assert found.labels is None
    assert predictions(found) is None
    assert found.full_neighbours.shape == (20, 5)


def test_a_request_to_stop_leaves_nothing_behind(finished, small_request):
    bench = Workbench(finished)
    bench.workspace(small_request.run)
    bench.reporter.cancel()
    with pytest.raises(Cancelled):
        StageTask(small_request.run, (Want(EMBEDDING_PROJECTION, PAIR),)).perform(bench)
    assert StoredRun.open(finished, small_request.run).asked(EMBEDDING_PROJECTION) == []
    workspace = bench.workspace(small_request.run)
    assert workspace.loaded.model.blocks[0].mlp.fc1.out_features == 576, "the model must be whole again"


def test_progress_ends_where_it_was_planned(finished, small_request):
    bench = performed(finished, small_request.run, PAIR)
    progress = bench.reporter.progress
    assert progress.overall_done == pytest.approx(progress.overall_total)


@pytest.mark.parametrize("pair", [(1.0, 0.5), (-0.1, 0.0), (float("nan"), 0.0)])
def test_a_ratio_outside_its_range_is_refused(finished, small_request, pair):
    with pytest.raises(InputError):
        StageTask(small_request.run, (Want(EMBEDDING_PROJECTION, pair),)).perform(Workbench(finished))


def test_a_run_without_ranking_says_so(finished, small_request):
    finished.forget(small_request.run, ["ranking"])
    with pytest.raises(InputError, match="has no ranking yet"):
        StageTask(small_request.run, (Want(EMBEDDING_PROJECTION, PAIR),)).perform(Workbench(finished))
