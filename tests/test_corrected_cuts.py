"""Corrected cuts through the table of stages, the measuring of cuts, the command line and the pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from page_checks import opened, words

from snapvit.elastic.correction import ElasticCorrection, collect_statistics
from snapvit.elastic.ranking import cut_at
from snapvit.elastic.vit import ElasticViT
from snapvit.errors import Cancelled, InputError
from snapvit.formats import percent
from snapvit.jobs.tasks import MeasureTask, StageTask, Workbench
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.measure import measure_cut
from snapvit.pipeline.meter import Meter
from snapvit.pipeline.progress import Event, Reporter
from snapvit.pipeline.results import FINISHED, StoredRun, load_results
from snapvit.pipeline.running import open_workspace, run_pipeline
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.attention import ATTENTION, EXAMPLES
from snapvit.pipeline.stages.cka import CUT_CKA
from snapvit.pipeline.stages.correction import CORRECTION
from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.pipeline.stages.search import SEARCH
from snapvit.pipeline.table import CORRECTED, key_of, main_stages, of_cut
from snapvit.store.store import Store


def computed(events: list[Event]) -> set[str]:
    return {event.text.split()[0] for event in events if event.kind == "stage"}


def changed(request: RunRequest, *settings: str) -> RunRequest:
    return replace(request, config=with_settings(request.config, list(settings)))


def test_the_path_is_measured_both_ways(finished, small_request):
    results = load_results(finished, small_request.run)
    assert results.measurements is results.as_cut
    assert replace(results, correct=True).measurements is results.corrected
    assert results.corrected.mlp.tolist() == results.as_cut.mlp.tolist()
    full, cut = results.corrected.find(0.0, 0.0), results.as_cut.find(0.0, 0.0)
    assert full == cut, "nothing is cut, so nothing is corrected"
    assert results.corrected.find(0.95, 0.8).cosine > results.as_cut.find(0.95, 0.8).cosine
    for name in ("params", "macs", "kept_neurons", "kept_heads"):
        np.testing.assert_array_equal(getattr(results.corrected, name), getattr(results.as_cut, name))


def test_measured_numbers_are_those_of_a_correction_made_by_hand(finished, small_request):
    workspace = open_workspace(finished, small_request.run)
    ranking = StoredRun.open(finished, small_request.run).need(RANKING)
    loaded, orders = workspace.loaded, (ranking.neuron_order(), ranking.head_order())
    config = small_request.config.correction
    images = list(workspace.batches(workspace.table("correction")))
    assert sum(map(len, images)) == config.images == 32
    statistics = collect_statistics(loaded.model, loaded.anatomy, images)
    correction = ElasticCorrection(statistics, *orders, config.damping, config.share)
    with ElasticViT(loaded.model, loaded.anatomy, *orders, correction) as elastic:
        want = Meter(workspace, elastic, Reporter()).measure(cut_at(ranking, 0.6, 0.3))
    found = measure_cut(finished, small_request.run, 0.6, 0.3, Reporter(), correct=True)
    assert found == want
    assert StoredRun.open(finished, small_request.run).measurement(0.6, 0.3, correct=True) == found
    assert StoredRun.open(finished, small_request.run).measurement(0.6, 0.3) is None


def test_a_search_for_corrected_cuts_begins_alike_and_finds_them_better(finished, small_request):
    """Its first individuals are the usual search's, as the seed is; corrected, they keep the embeddings closer."""
    request = changed(small_request, "search.fitness=corrected")
    reporter = Reporter()
    run_pipeline(request, finished, reporter)
    found, usual = (StoredRun.open(finished, one.run).need(SEARCH).history for one in (request, small_request))
    np.testing.assert_array_equal(found.individuals[0], usual.individuals[0])
    assert (found.fitness[0] < usual.fitness[0]).mean() > 0.9
    assert reporter.progress.overall_done == pytest.approx(reporter.progress.overall_total)
    assert StoredRun.open(finished, request.run).summary().state == FINISHED


def test_a_run_is_finished_without_its_statistics_and_collects_them_when_they_are_needed(finished, small_request):
    run, stored = small_request.run, StoredRun.open(finished, small_request.run)
    assert stored.load(CORRECTION) is None
    assert stored.summary().state == FINISHED
    reporter = Reporter()
    run_pipeline(small_request, finished, reporter)
    assert computed(list(reporter.events)) == set()
    bench = Workbench(finished)
    StageTask(run, (Want(CORRECTED["cka-cut"], (0.5, 0.35)),)).perform(bench)
    assert computed(list(bench.reporter.events)) == {"correction", "cka-cut-corrected"}
    assert bench.reporter.progress.overall_done == pytest.approx(bench.reporter.progress.overall_total)
    assert StoredRun.open(finished, run).load(CORRECTION).images == 32
    MeasureTask(run, ((0.3, 0.1), (0.4, 0.2)), correct=True).perform(bench)
    assert len(load_results(finished, run).corrected) == 5
    assert len(load_results(finished, run).as_cut) == 3


def test_statistics_that_are_missing_are_stored_before_a_cut_is_measured(finished, small_request):
    measure_cut(finished, small_request.run, 0.3, 0.1, Reporter(), correct=True)
    assert StoredRun.open(finished, small_request.run).is_whole(CORRECTION)


def test_a_cancel_while_statistics_are_collected_loses_nothing(finished, small_request):
    reporter = Reporter(lambda event: reporter.cancel() if event.kind == "stage" else None)
    with pytest.raises(Cancelled):
        measure_cut(finished, small_request.run, 0.3, 0.1, reporter, correct=True)
    results = load_results(finished, small_request.run)
    assert len(results.corrected) == 3
    assert results.summary.state == FINISHED


@pytest.mark.parametrize(
    ("stage", "args"), [(CUT_CKA, ()), (ATTENTION, (EXAMPLES,)), (EMBEDDING_PROJECTION, ())], ids=lambda s: str(s)[:12]
)
def test_what_looks_at_a_cut_looks_at_the_corrected_one(finished, small_request, stage, args):
    run, bench = small_request.run, Workbench(finished)
    wants = [Want(of_cut(stage, correct), (0.65, 0.5, *args)) for correct in (False, True)]
    for want in wants:
        StageTask(run, (want,)).perform(bench)
    results = load_results(finished, run)
    plain, corrected = (replace(results, correct=c).load_cut(stage, 0.65, 0.5, *args) for c in (False, True))
    names = {"cka-cut": "values", "attention": "rollout", "embedding-projection": "cut_cosines"}
    a, b = (np.nan_to_num(np.asarray(getattr(found, names[stage.name]), float)) for found in (plain, corrected))
    assert a.shape == b.shape
    assert not np.allclose(a, b, atol=1e-3)


def test_the_settings_of_the_correction_are_in_its_keys_alone(finished, small_request):
    nodes = StoredRun.open(finished, small_request.run).manifest.nodes
    stages = {stage.name: stage for stage in main_stages(small_request)}
    for setting, want in (
        ("correction.damping=max", {"evaluation-corrected"}),
        ("correction.share=0.1", {"evaluation-corrected"}),
        ("correction.form=sequential", {"evaluation-corrected"}),
    ):
        other = changed(small_request, setting)
        differ = {
            name for name, stage in stages.items() if key_of(stage, other, nodes) != key_of(stage, small_request, nodes)
        }
        assert differ == want


def test_the_sequential_form_needs_no_stored_statistics(tmp_path, small_request):
    request = changed(small_request, "correction.form=sequential", "correction.images=8", "evaluation.points=2")
    assert "correction" not in {stage.name for stage in main_stages(request)}
    store = Store(tmp_path)
    run_pipeline(request, store, Reporter())
    results = load_results(store, request.run)
    assert results.corrected.find(0.95, 0.8).cosine > results.as_cut.find(0.95, 0.8).cosine
    assert StoredRun.open(store, request.run).load(CORRECTION) is None


@pytest.mark.parametrize("setting", ["damping=mode", "share=0", "share=1.5", "share=true", "form=twice", "images=0"])
def test_a_correction_that_cannot_be_is_refused(setting):
    with pytest.raises(InputError, match=r"correction\.\w+ is .*; it must be "):
        with_settings(PRESETS["quick"], [f"correction.{setting}"])


def test_the_command_line_corrects_on_request(command, small_request):
    plain, _ = command.json("evaluate", small_request.run, "--mlp", "0.95", "--heads", "0.8")
    corrected, _ = command.json("evaluate", small_request.run, "--mlp", "0.95", "--heads", "0.8", "--correct")
    assert (plain["correct"], corrected["correct"]) == (False, True)
    assert corrected["cosine"] > plain["cosine"]
    assert corrected["params"] == plain["params"]
    code, out, _ = command("evaluate", small_request.run, "--mlp", "0.95", "--heads", "0.8", "--correct")
    assert code == 0
    assert "removed, corrected: top-1" in out


# Pages


@pytest.mark.parametrize("page", ["app.py", "pages/sparsity.py"])
def test_the_switch_shows_the_corrected_cut_and_stands_in_the_address(shipped, page):
    from scripts.bundled_run import REQUEST

    results = load_results(shipped, REQUEST.run)
    app = opened(page, s="0.95")
    assert "correct" not in app.query_params
    app.toggle(key="correct").set_value(True).run()
    assert not app.exception
    assert app.query_params["correct"] == "1"
    text = words(app)
    assert "Sparsity 95 % corrected" in text
    assert f"**{percent(results.corrected.find(0.95, 0.8).top1)}**" in text
    assert f"**{percent(results.as_cut.find(0.95, 0.8).top1)}**" not in text
    app.toggle(key="correct").set_value(False).run()
    assert "correct" not in app.query_params
    assert f"**{percent(results.as_cut.find(0.95, 0.8).top1)}**" in words(app)


@pytest.mark.parametrize("page", ["cka", "heads", "embedding", "correlation", "method"])
def test_every_page_opens_with_corrected_weights(shipped, page):
    app = opened(f"pages/{page}.py", correct="1", s="0.65", view="after")
    assert app.toggle(key="correct").value is True
    assert "corrected" in words(app)


def test_what_is_not_computed_is_offered_corrected(shown, small_request):
    app = opened("pages/cka.py", correct="1", s="0.3", view="after")
    assert app.button(key="cut_cka").label == "Compute this map"
    assert StoredRun.open(shown, small_request.run).load(EVALUATION) is not None
