"""Every method ranks a run: what its scores are made of, what of them is drawn, and how it is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import Cli, settings_of
from image_samples import write_images

from snapvit.errors import InputError
from snapvit.method.curvature import label_curvature
from snapvit.method.rivals import (
    lamp_scores,
    magnitude_scores,
    random_scores,
    snip_scores,
    unexplained_shares,
    variance_scores,
)
from snapvit.pipeline.config import RunConfig, seeded
from snapvit.pipeline.contenders import Contender, all_methods
from snapvit.pipeline.methods import METHODS
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import RunResults, load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stages.curvature import view_batches_of
from snapvit.pipeline.table import TABLE, main_stages
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store


def computed(store: Store, settings: tuple[str, ...], **words: object) -> tuple[Workspace, RunResults]:
    request = make_request(settings=settings, **words)
    workspace = run_pipeline(request, store, Reporter())
    return workspace, load_results(store, request.run)


def by_hand(method: str, workspace: Workspace, results: RunResults) -> tuple[np.ndarray, np.ndarray]:
    """Tables of scores from the numerics alone."""
    model, anatomy, config = workspace.loaded.model, workspace.loaded.anatomy, workspace.request.config
    if method == "snapvit":
        factors, curvature = np.abs(results.search.factors), results.curvature
        blocks, heads = curvature.head.shape
        return curvature.mlp * factors[:blocks, None], curvature.head * factors[blocks:].reshape(blocks, heads)
    if method in ("curvature", "gauss-newton"):
        found = results.stored.load(TABLE[method])
        return found.mlp, found.head
    if method == "gauss-newton-unexplained":
        slopes, statistics = (results.stored.load(TABLE[name]) for name in ("gauss-newton", "correction"))
        shares = unexplained_shares(statistics, anatomy.topology.heads, config.correction.share)
        return slopes.mlp * shares.mlp, slopes.head * shares.head
    images = [workspace.normalised(workspace.table("curvature").pixels)]
    labels = torch.from_numpy(workspace.source.labels[workspace.ids["curvature"]]).long()
    views = view_batches_of(workspace, workspace.ids["curvature"])
    found = {
        "variance": lambda: variance_scores(model, anatomy, images),
        "snip": lambda: snip_scores(model, anatomy, views, config.curvature.global_views),
        "cross-entropy": lambda: label_curvature(model, anatomy, model.get_classifier(), [(images[0], labels)]),
        "lamp": lambda: lamp_scores(anatomy),
        "magnitude": lambda: magnitude_scores(anatomy),
        "random": lambda: random_scores(anatomy.topology, config.ranking.seed),
    }[method]()
    return found.mlp, found.head


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_ranked_by_its_method(method, finished, small_settings, naive_kept):
    workspace, results = computed(finished, small_settings, method=method)
    assert results.summary.state == "finished" and results.ranked
    mlp, head = by_hand(method, workspace, results)
    np.testing.assert_allclose(results.final_scores.mlp, mlp, rtol=1e-5)
    np.testing.assert_allclose(results.final_scores.head, head, rtol=1e-5)
    floors = workspace.request.config.floors
    measured = results.as_cut.row(1).cut
    for table, floor, ratio, kept in (
        (results.final_scores.mlp, floors.neurons, measured.mlp, measured.kept_neurons),
        (results.final_scores.head, floors.heads, measured.heads, measured.kept_heads),
    ):
        assert kept == tuple(map(len, naive_kept(table, floor, ratio)))


def test_cross_entropy_needs_a_head_for_the_very_classes(command: Cli, tmp_path, small_settings):
    words = ("run", "--data", f"folder:{write_images(tmp_path / 'pictures', 40)}", "--method", "cross-entropy")
    code, _, err = command(*words, *settings_of(small_settings))
    assert code == 2 and "the head needs one output for each class" in err
    assert "has 10 and the images have no labels" in err and "Choose another method" in err
    assert METHODS["cross-entropy"].labelled and Contender("cross-entropy") not in all_methods()


def test_only_what_a_method_needs_is_computed(small_request):
    for method, entry in METHODS.items():
        config = replace(small_request.config, ranking=replace(small_request.config.ranking, method=method))
        names = {stage.name for stage in main_stages(replace(small_request, config=config))}
        assert set(entry.stages) <= names
        assert ("search" in names) == (method == "snapvit")
        assert ("curvature" in names) == (method in ("snapvit", "curvature"))


def test_a_seed_is_of_what_the_method_draws(small_settings):
    for method, entry in METHODS.items():
        if entry.seed is None:
            with pytest.raises(InputError, match=r"draws nothing, so a seed would change nothing"):
                make_request(method=method, seed=3)
            continue
        request = make_request(method=method, seed=3, settings=small_settings)
        assert request.config.seed == 3
        assert request.run != make_request(method=method, settings=small_settings).run
        assert make_request(method=method, settings=[*small_settings, f"{entry.seed}=3"]) == request


def test_seeds_of_everything_drawn_leave_gallery_and_queries(small_request):
    config = small_request.config
    other = seeded(config, 5)
    assert {getattr(other, name).seed for name in ("curvature", "search", "interactions", "ranking")} == {5}
    assert other.split_seed == config.split_seed and other.calibration_seed == 5
    one, two = (Workspace.open(replace(small_request, config=c)) for c in (config, other))
    for name in ("gallery", "queries"):
        np.testing.assert_array_equal(one.ids[name], two.ids[name])
    assert set(one.split.calibration) == set(two.split.calibration)
    assert set(one.ids["curvature"]) != set(two.ids["curvature"])
    assert seeded(RunConfig(), 0) == RunConfig()


def test_the_name_of_a_run_tells_its_method():
    assert make_request(preset="quick", method="lamp").kind == "quick-lamp"
    assert make_request(preset="quick").kind == "quick"
    assert "-quick-lamp-" in make_request(method="lamp").run


def test_the_command_line_ranks_by_any_method(command: Cli, small_settings):
    words = ("run", "--method", "magnitude", *settings_of(small_settings))
    found, _ = command.json(*words)
    assert found["method"] == "magnitude" and found["seed"] is None and len(found["corrected"]) == 3
    assert "ranked by mean squared weight" in command(*words)[1]
