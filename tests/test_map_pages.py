"""The CKA and Correlation pages without a browser: empty, unfinished, finished, and of a large model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from page_checks import array, filled, handed, opened, words
from safetensors.torch import save_file
from streamlit.testing.v1 import AppTest
from timm.models.vision_transformer import VisionTransformer

from snapvit.artifacts import CkaMap, SearchHistory
from snapvit.jobs.tasks import StageTask, Workbench
from snapvit.method.structure_maps import block_means, cluster_order, depth_order
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.cka import CUT_CKA, MAIN_DIRECTIONS
from snapvit.pipeline.stages.search import NULL_SEARCH
from snapvit.store.store import Store

CKA, CORRELATION = "pages/cka.py", "pages/correlation.py"
LIMIT = 8e6  # bytes to the browser


def chart(app: AppTest, title: str) -> dict:
    specs = [json.loads(element.proto.spec) for element in app.get("plotly_chart")]
    (found,) = [spec for spec in specs if spec["layout"]["title"]["text"] == title]
    return found


def payload(app: AppTest) -> int:
    """Bytes of all figures with their numbers and of all tables of the page."""
    charts = sum(e.proto.ByteSize() for kind in ("plotly_chart", "bidi_component") for e in app.get(kind))
    return charts + sum(len(table.value.to_csv()) for table in app.dataframe)


def forget(store: Store, run: str, *stages: str) -> None:
    for stage in stages:
        store.forget(run, [stage])


def test_before_the_cka_map_the_page_says_what_comes_first(shown, small_request):
    forget(shown, small_request.run, "cka", "search", "ranking", "evaluation")
    app = opened(CKA)
    assert "no CKA map yet" in words(app)
    assert not app.get("plotly_chart")


def test_before_the_search_the_correlation_page_says_what_comes_first(shown, small_request):
    forget(shown, small_request.run, "search", "ranking", "evaluation")
    assert "no generation of its search yet" in words(opened(CORRELATION))
    app = opened(CKA)
    assert "can be shown after a cut too" in words(app)
    assert "comes later" in words(app)
    assert len(app.get("plotly_chart")) == 2


def test_an_unfinished_search_is_shown_at_its_last_generation(shown, small_request):
    forget(shown, small_request.run, "ranking", "evaluation")
    app = opened(CORRELATION)
    assert "Strongest pairs at generation 3" in words(app)
    assert chart(app, "Factors that move together")["layout"]["sliders"][0]["active"] == 3


def test_the_maps_hold_the_runs_numbers(shown, small_request):
    app = opened(CKA)
    results = load_results(shown, small_request.run)
    topology, cka = results.facts.topology, results.cka.values
    blocks = chart(app, "How alike two blocks are")["data"][0]
    np.testing.assert_allclose(array(blocks["z"]), block_means(cka, topology), rtol=1e-6)
    order = depth_order(topology)
    found = chart(app, "How alike two structures are")["data"][0]
    (map_,) = filled(app, "cka_before")
    np.testing.assert_allclose(map_, cka[np.ix_(order, order)], atol=2e-5)
    assert found["y"][:2] == ["Block 1 MLP", "Block 1 head 1"]


def test_filters_and_order_come_from_the_address(shown, small_request):
    app = opened(CKA, show="heads", order="cluster")
    results = load_results(shown, small_request.run)
    topology = results.facts.topology
    order = cluster_order(results.cka.values, depth_order(topology, "heads"))
    found = chart(app, "How alike two structures are")["data"][0]
    assert found["x"] == [topology.structure_name(int(i)) for i in order]
    assert app.query_params["show"] == "heads"


def test_a_pair_is_chosen_by_address_or_box(shown):
    app = opened(CKA, at="3-4", **{"with": "5-mlp"})
    assert app.selectbox(key="pair_first").value == 12 + 2 * 6 + 3
    assert app.selectbox(key="pair_second").value == 4
    assert "| Block 3 head 4 | Block 5 MLP |" in words(app)
    app.selectbox(key="pair_second").set_value(7).run()
    assert not app.exception
    assert "| Block 3 head 4 | Block 8 MLP |" in words(app)
    assert app.query_params["with"] == "8-mlp"


@pytest.mark.parametrize(
    "query", [{"at": "99-1", "with": "1-1"}, {"at": "x"}, {"show": "x", "order": "y", "view": "z"}]
)
def test_a_foreign_address_falls_back(query, shown):
    assert len(opened(CKA, **query).get("plotly_chart")) >= 2
    opened(CORRELATION, g="999", view_g="x", **query)
    opened(CORRELATION, g="-1", show_g="x")


@pytest.mark.parametrize("view", ["after", "difference"])
def test_a_cut_map_is_offered_then_shown(view, shown, small_request):
    run = small_request.run
    app = opened(CKA, s="0.9", view=view)
    assert "is not computed yet" in words(app)
    assert app.button(key="cut_cka").label == "Compute this map"
    StageTask(run, (Want(CUT_CKA, (0.9, 0.75)),)).perform(Workbench(shown))
    app = opened(CKA, s="0.9", view=view)
    title = {"after": "How alike what is left is", "difference": "What the cut changes"}[view]
    assert chart(app, title)
    (z,) = filled(app, f"cka_{view}")
    assert np.isnan(np.diag(z)).sum() == 54
    assert "the 54 structures that are cut away" in words(app)


def test_directions_are_offered_then_shown(shown, small_request):
    app = opened(CKA, at="1-1", **{"with": "2-1"})
    assert app.button(key="directions").label == "Compute activations"
    StageTask(small_request.run, (Want(MAIN_DIRECTIONS),)).perform(Workbench(shown))
    app = opened(CKA, at="1-1", **{"with": "2-1"})
    dots = chart(app, "Do the two respond to the same images?")["data"][0]
    assert len(array(dots["x"])) == len(array(dots["y"])) == 16


@pytest.mark.parametrize(
    ("view", "title"),
    [
        ("estimate", "Factors that move together"),
        ("change", "What the search added"),
        ("cka", "The estimate less the CKA map"),
    ],
)
def test_every_generation_of_every_view_is_in_the_figure(view, title, shown, small_request):
    app = opened(CORRELATION, view_g=view)
    results = load_results(shown, small_request.run)
    history, order = results.search, depth_order(results.facts.topology)
    frames, numbers = chart(app, title)["frames"], filled(app, "correlation_player")
    assert [frame["name"] for frame in frames] == ["0", "1", "2", "3"]
    base = {"estimate": 0, "change": history.correlation(0), "cka": results.cka.values}[view]
    for g, found in enumerate(numbers):
        want = (history.correlation(g) - base)[np.ix_(order, order)]
        np.testing.assert_allclose(found, want, atol=4e-5)


def test_the_table_lists_the_strongest_pairs_of_the_generation(shown, small_request):
    app = opened(CORRELATION, g="2")
    results = load_results(shown, small_request.run)
    correlation = results.search.correlation(2).astype(float)
    np.fill_diagonal(correlation, 0)
    table = app.dataframe[0].value
    assert abs(table["Correlation"].iloc[0]) == pytest.approx(np.abs(correlation).max())
    assert (table["Correlation"].abs().diff().dropna() <= 0).all()
    assert "Chance" not in table
    assert "Strongest pairs at generation 2" in words(app)


def test_stepping_moves_figure_and_table(shown):
    app = opened(CORRELATION)
    app.number_input(key="generation_box").decrement().run()
    assert not app.exception
    assert "Strongest pairs at generation 2" in words(app)
    assert handed(app, "unseen_events_correlation_player")["jump"] == ["2", 1]
    app.number_input(key="generation_box").set_value(0).run()
    assert not app.exception
    assert "Strongest pairs at generation 0" in words(app)


def test_going_to_and_fro_between_the_pages(shown):
    app = opened(CKA, show="mlp")
    for page in (CORRELATION, CKA, "pages/heads.py", CORRELATION):
        app.switch_page(page)
        app.run()
        assert not app.exception


def test_chance_is_offered_then_told(shown, small_request, monkeypatch):
    monkeypatch.setattr("snapvit.pipeline.stages.search.REPLAYS", 12)
    app = opened(CORRELATION)
    assert app.button(key="null_search").label == "Replay by chance"
    assert "12 evaluations (3 generations of 4)" in words(app)
    assert "3,570 free numbers" in words(app)
    StageTask(small_request.run, (Want(NULL_SEARCH, (3,)),)).perform(Workbench(shown))
    app = opened(CORRELATION)
    assert "12 replays of this search" in words(app)
    assert set(app.dataframe[0].value["Chance"]) <= {"beyond", "top 1 %", "usual"}
    assert chart(app, "Is it more than chance?")["data"]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a randomly initialised model with ViT-B's 12 blocks of 12 heads, at a small width and size."""
    folder = tmp_path_factory.mktemp("large")
    config = {"img_size": 28, "patch_size": 14, "embed_dim": 48, "depth": 12, "num_heads": 12, "num_classes": 0}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VisionTransformer(**config)
    checkpoint = folder / "vit_b_topology.safetensors"
    save_file(model.state_dict(), checkpoint, {"config": json.dumps(config), "mean": "0.5", "std": "0.5"})
    settings = [
        "curvature.images=2",
        "curvature.local_views=0",
        "cka.images=1000",
        "search.generations=50",
        "search.images=2",
        "search.pairs=[[0.5, 0.35]]",
        "evaluation.gallery=40",
        "evaluation.queries=10",
        "evaluation.points=2",
    ]
    request = RunRequest(ModelSpec("bundled", str(checkpoint)), config=with_settings(PRESETS["quick"], settings))
    store = Store(folder / "cache")
    run_pipeline(request, store, Reporter())
    bench = Workbench(store)
    StageTask(request.run, (Want(MAIN_DIRECTIONS),)).perform(bench)
    StageTask(request.run, (Want(CUT_CKA, (0.5, 0.35)),)).perform(bench)
    return shutil.copytree(store.root, folder / "copy")


def test_a_vit_b_topology_stays_under_the_limit(large, monkeypatch):
    monkeypatch.setenv("SNAPVIT_CACHE", str(large))
    monkeypatch.setattr("snapvit.pipeline.stages.search.REPLAYS", 3)
    run = Store(large).manifests()[0].run
    results = load_results(Store(large), run)
    assert isinstance(results.cka, CkaMap)
    assert isinstance(results.search, SearchHistory)
    assert results.facts.topology.structures == 156
    assert results.search.individuals.shape[:2] == (50, 19)
    StageTask(run, (Want(NULL_SEARCH, (50,)),)).perform(Workbench(Store(large)))
    for page, query in ((CKA, {}), (CKA, {"view": "difference", "order": "cluster"}), (CORRELATION, {})):
        app = opened(page, **query)
        assert payload(app) < LIMIT, page
        print(f"{page} {query}: {payload(app) / 1e6:.2f} MB")
    assert "41 of the 51 generations" in words(app)
