"""All modes of the Sparsity page without a browser."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from page_checks import metric, opened, words
from store_samples import drop_grid
from streamlit.testing.v1 import AppTest

from scripts.bundled_run import REQUEST
from snapvit.elastic.ranking import cut_at
from snapvit.formats import amount, percent, ratio
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.results import load_results
from snapvit.store.codec import encode
from snapvit.store.store import Store
from snapvit.tables import Measurements

MODES = ("path", "ratios", "budget")


@pytest.fixture
def unlabelled(shipped: Store) -> Store:
    """The shipped run as if its images had no labels."""
    run = REQUEST.run
    table = shipped.load(run, "evaluation", Measurements)
    entry, manifest = shipped.entry(run, "evaluation"), shipped.manifest(run)
    bare = dataclasses.replace(table, answers=table.answers[:, :0])
    shipped.save(run, "evaluation", entry.key, bare, complete=True, seconds=1.0)
    facts = dataclasses.replace(manifest.facts, classes=(), accuracy_missing="The images have no labels")
    shipped.create(run, manifest.request, facts, manifest.nodes)
    assert encode(shipped.manifest(run).facts)[1]["classes"] == ()
    return shipped


@pytest.fixture
def without_grid(shipped: Store) -> Store:
    drop_grid(shipped, REQUEST.run)
    return shipped


def plane(app: AppTest) -> dict[str, dict]:
    (chart,) = app.get("plotly_chart")
    return {trace["name"]: trace for trace in json.loads(chart.proto.spec)["data"]}


@pytest.mark.parametrize(("asked", "shown"), [("0.333", 33.5), ("0.1188", 12), ("0.5", 50)])
def test_page_sidebar_and_address_speak_of_one_cut(asked, shown, shipped):
    app = opened("pages/sparsity.py", s=asked)
    assert f"The cut at {shown:.4g} %" in words(app)
    assert any(f"Sparsity {shown:.4g} %" in element.value for element in app.sidebar.markdown)
    assert app.query_params["s"] == f"{shown / 100:.4g}"


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_without_a_run_says_what_to_do(mode, tmp_path, monkeypatch):
    monkeypatch.setenv("SNAPVIT_CACHE", str(tmp_path / "cache"))
    assert "no run to show yet" in words(opened("pages/sparsity.py", mode=mode))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_an_unranked_run_says_what_is_missing(mode, shipped):
    for stage in ("search", "ranking", "evaluation"):
        shipped.forget(REQUEST.run, [stage])
    assert "no ranking yet" in words(opened("pages/sparsity.py", mode=mode))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_a_ranked_run_without_measurements_works(mode, shipped):
    shipped.forget(REQUEST.run, ["evaluation"])
    app = opened("pages/sparsity.py", mode=mode, max_params="1.5")
    if mode == "budget":
        assert re.search(r"The least cut on the path: [\d.]+ %", words(app))
        assert metric(app, "k-NN top-1") == "–"
    if mode == "ratios":
        assert "Nobody measured this cut yet" in words(app)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_works_without_labels(mode, unlabelled):
    app = opened("pages/sparsity.py", mode=mode, s="0.65", heads="50", max_params="1.5")
    if mode != "path":
        assert metric(app, "k-NN top-1") == "–"
        assert float(metric(app, "Cosine to full model")) > 0.8
        assert "no labels" in words(app)


def test_the_mode_is_kept_in_the_address(shipped):
    app = opened("pages/sparsity.py")
    assert app.get_by_key("mode").value == "path"
    app.get_by_key("mode").set_value("budget").run()
    assert "budget" in app.query_params["mode"]
    assert opened("pages/sparsity.py", mode="nonsense").get_by_key("mode").value == "path"


def test_two_ratios_show_a_measured_cut_with_its_numbers(shipped):
    run = REQUEST.run
    row = load_results(shipped, run).measurements.find(0.65, 0.5)
    app = opened("pages/sparsity.py", mode="ratios", s="0.65", heads="50")
    assert "The cut at 65 % of neurons and 50 % of heads" in words(app)
    assert metric(app, "k-NN top-1") == percent(row.top1)
    assert metric(app, "Parameters") == amount(row.params)
    assert metric(app, "MACs per image") == amount(row.macs)
    traces = plane(app)
    assert len(traces["measured"]["customdata"]) == 39 + 81 - 2  # two corners of the grid are among the path's
    assert len(traces["not measured yet"]["customdata"]) == 0
    assert "All 9 × 9 cuts of the grid are measured" in words(app)


def test_a_grid_that_is_not_measured_is_shown_hollow_and_offered(without_grid):
    app = opened("pages/sparsity.py", mode="ratios", s="0.65", heads="50")
    traces = plane(app)
    assert len(traces["measured"]["customdata"]) == 39
    assert len(traces["not measured yet"]["customdata"]) == 25 - 2  # two corners are on the path
    assert "23 of the 5 × 5 cuts" in words(app)
    assert app.button(key="grid_5")


def test_an_unmeasured_pair_has_exact_costs_and_is_offered(shipped):
    results = load_results(shipped, REQUEST.run)
    app = opened("pages/sparsity.py", mode="ratios", s="0.2", heads="70")
    costs, topology = results.facts.costs, results.facts.topology
    neurons = 12 * topology.hidden - int(0.2 * 12 * topology.hidden)
    params = costs.base_params + costs.neuron_params * neurons + costs.head_params * (72 - int(0.7 * 72))
    assert metric(app, "Parameters") == amount(params)
    assert metric(app, "k-NN top-1") == "–"
    assert app.button(key="measure")


@pytest.mark.parametrize("heads", ["nonsense", "nan", "-5", "700"])
def test_a_foreign_ratio_in_the_address_falls_back(heads, shipped):
    assert "% of heads" in words(opened("pages/sparsity.py", mode="ratios", heads=heads))


def test_a_budget_is_answered_kept_in_the_address_and_taken_to_the_slider(shipped):
    app = opened("pages/sparsity.py", mode="budget")
    assert "Say how much the model may cost" in words(app)
    app.number_input(key="max_params").set_value(1.5).run()
    assert "1.5" in app.query_params["max_params"]
    title = next(s.value for s in app.header if "least cut" in s.value)
    sparsity = float(re.search(r"on the path: ([\d.]+) %", title)[1]) / 100
    results = load_results(shipped, REQUEST.run)

    steps = [round(0.005 * i, 4) for i in range(191)]
    fits = [s for s in steps if results.facts.costs.params(cut_at(results.ranking, *path_pair(s))) <= 1.5e6]
    assert sparsity == fits[0]
    app.button(key="budget_to_path").click().run()
    assert not app.exception
    assert app.get_by_key("mode-1").value == "path"
    assert f"The cut at {ratio(sparsity)}" in words(app)


@pytest.mark.parametrize("correct", ["0", "1"])
def test_the_best_cut_within_a_budget_is_named_beside_the_next_and_taken(correct, shipped):
    results = dataclasses.replace(load_results(shipped, REQUEST.run), correct=correct == "1")
    table = results.measurements
    inside = [row for i in range(len(table)) if (row := table.row(i)).params <= 1.5e6]
    app = opened("pages/sparsity.py", mode="budget", max_params="1.5", correct=correct)
    title = next(s.value for s in app.header if "best measured" in s.value)
    mlp, heads = (round(float(share) / 100, 3) for share in re.findall(r"([\d.]+) %", title))
    row = next(m for m in inside if (round(m.cut.mlp, 3), round(m.cut.heads, 3)) == (mlp, heads))
    assert row.hits == max(m.hits for m in inside)
    text = words(app)
    assert f"{percent(1 - row.params / 1.5e6)} below the limit of 1.50 M parameters" in text
    assert ("It does better than the next best" in text) != ("It cannot be told apart from the next best" in text)
    assert "McNemar" in text
    app.button(key="take_best").click().run()
    assert not app.exception
    on_path = path_pair(row.cut.mlp)[1] == row.cut.heads
    assert f"The cut at {ratio(row.cut.mlp)}" in words(app)
    assert on_path or f"{ratio(row.cut.heads)} of heads" in words(app)


def test_a_budget_that_cannot_be_met_says_what_the_least_is(shown):
    """Of a run whose cuts were timed on this very machine."""
    text = words(opened("pages/sparsity.py", mode="budget", max_params="0.1"))
    assert "No cut on the slider's path meets this budget" in text
    assert re.search(r"The least that it has is [\d.]+ k parameters, [\d.]+ M MACs an image, [\d.]+ ms", text)
    unreadable = opened("pages/sparsity.py", mode="budget", max_params="nan", max_ms="-3")
    assert "Say how much the model may cost" in words(unreadable)
