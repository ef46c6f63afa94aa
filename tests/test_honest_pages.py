"""What pages say of numbers that are another computer's, of differences, and of runs that an earlier version made."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from page_checks import PAGES, handed, opened, words
from stage_samples import put
from store_samples import make_former
from waiting import ended

from scripts.bundled_run import REQUEST
from snapvit.evaluation.paired import compare, describe, unpack_answers
from snapvit.formats import milliseconds
from snapvit.jobs.manager import JobState
from snapvit.jobs.tasks import RunTask
from snapvit.machine import this_machine
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.store.store import Store
from snapvit.tables import Latencies, Measurement
from snapvit.ui.resources import jobs

ELSEWHERE = replace(this_machine(), processor="Some Other Processor")


def answers_of(m: Measurement) -> NDArray:
    return unpack_answers(np.frombuffer(bytes.fromhex(m.answers), np.uint8), m.queries)


def forget_times(store: Store, run: str) -> Latencies:
    """Take all times out of a run; returns the longest table of them."""
    names = [name for name in store.manifest(run).entries if LATENCY.asked_for(name) is not None]
    tables = [store.load(run, name, Latencies) for name in names]
    store.forget(run, names)
    return max(tables, key=len)


def time_elsewhere(store: Store, run: str) -> Latencies:
    """Turn a run into one that was timed on another computer alone; returns its times."""
    table = replace(forget_times(store, run), machine=ELSEWHERE)
    put(store, run, LATENCY, table, ELSEWHERE.id)
    return table


@pytest.fixture
def timed_elsewhere(shipped: Store) -> Store:
    """The shipped run as if it had been timed on another computer alone."""
    time_elsewhere(shipped, REQUEST.run)
    return shipped


def test_times_of_another_computer_are_called_so_and_can_be_measured_here(timed_elsewhere, monkeypatch):
    app = opened("pages/sparsity.py", s="0.65")
    text = words(app)
    assert f"on another computer: {ELSEWHERE.label}" in text
    assert f"Latencies shown were measured on another computer ({ELSEWHERE.label})" in text
    monkeypatch.setattr("snapvit.elastic.latency.measure_latencies", lambda *_: [])
    app.button(key="time_here").click().run()
    (job,) = [job for job in jobs().snapshots() if job.task.label == LATENCY.title]
    assert ended(jobs(), job.id).state is JobState.FINISHED
    assert StoredRun.open(timed_elsewhere, REQUEST.run).load(LATENCY, this_machine().id) is not None


def test_a_budget_in_milliseconds_counts_this_computer_alone(timed_elsewhere):
    app = opened("pages/sparsity.py", mode="budget", max_ms="1000")
    text = words(app)
    assert "No cut on the slider's path meets this budget" in text
    assert "none is measured on this computer" in text
    assert app.button(key="time_here")
    put(
        timed_elsewhere,
        REQUEST.run,
        LATENCY,
        replace(StoredRun.open(timed_elsewhere, REQUEST.run).load(LATENCY, ELSEWHERE.id), machine=this_machine()),
        this_machine().id,
    )
    app = opened("pages/sparsity.py", mode="budget", max_ms="1000")
    assert "The least cut on the path: 0 %" in words(app)
    assert "time_here" not in [button.key for button in app.button]


def test_tiles_say_whose_times_they_are(shown, small_request):
    asked = {"mode": "ratios", "s": "0.95", "heads": "80"}
    assert "measured, one thread" in words(opened("pages/sparsity.py", **asked))
    took = time_elsewhere(shown, small_request.run).find(0.95, 0.8)
    app = opened("pages/sparsity.py", **asked)
    assert "another computer's, one thread" in words(app)
    assert milliseconds(took.ms) in [m.value for m in app.metric if m.label == "Latency per image"]
    forget_times(shown, small_request.run)
    assert "not timed" in words(opened("pages/sparsity.py", **asked))


def test_a_run_that_nobody_timed_says_so_and_can_be_timed(shown, small_request):
    forget_times(shown, small_request.run)
    app = opened("pages/sparsity.py", s="0.95")
    assert "No latency of this run is known yet" in words(app)
    assert "It is not timed on this computer yet" in words(app)
    assert app.button(key="time_here").label == "Measure here"
    assert {point["latency"] for point in handed(app, "live")["points"]} == {None}


def test_the_live_slider_is_handed_pairs_and_whose_times_they_are(shown, small_request):
    run, table = small_request.run, StoredRun.open(shown, small_request.run).load(EVALUATION)
    assert handed(opened("pages/sparsity.py"), "live")["timedHere"]
    times = time_elsewhere(shown, run)
    live = handed(opened("pages/sparsity.py"), "live")
    assert not live["timedHere"]
    full = answers_of(table.find(0.0, 0.0))
    assert [point["sparsity"] for point in live["points"]] == [0.0, 0.475, 0.95]
    for point in live["points"]:
        pair = path_pair(point["sparsity"])
        both, took = compare(full, answers_of(table.find(*pair))), times.find(*pair)
        assert (point["gain"], point["gainLow"], point["gainHigh"]) == (both.difference, both.low, both.high)
        assert point["gain"] == pytest.approx(point["top1"] - live["points"][0]["top1"])
        assert (point["latency"], point["latencyRatio"]) == (took.ms, took.ratio)


def test_a_cut_is_compared_with_the_full_model_query_by_query(shipped):
    table = StoredRun.open(shipped, REQUEST.run).load(EVALUATION)
    full, cut = table.find(0.0, 0.0), table.find(*path_pair(0.95))
    answers = [answers_of(full), answers_of(cut)]
    assert [a.sum() for a in answers] == [full.hits, cut.hits]
    told = describe(compare(*answers))
    assert "McNemar p < 0.0001" in told
    assert told in words(opened("pages/sparsity.py", s="0.95"))
    assert "Beside the full model" not in words(opened("pages/sparsity.py", s="0"))
    assert told in words(opened("pages/embedding.py", s="0.95"))


def test_runs_of_an_earlier_version_are_listed_calmly_and_can_be_computed_again(shipped, monkeypatch):
    folder = shipped.root / "bundled-quick-0a1b2c3d"
    folder.mkdir()
    request = {"model.name": "bundled", "model.checkpoint": None, "model.image_size": None, "data": "bundled"}
    request |= {"config.search.generations": 7, "scores": None}
    manifest = {"schema": 1, "run": folder.name, "created": 2e9, "facts": None, "stages": {}, "request": request}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "search-abc.safetensors").write_bytes(b"old")
    started = []
    monkeypatch.setattr("snapvit.ui.run.past_runs.start", started.append)
    app = opened("app.py")
    text = words(app)
    assert "computed by an earlier version, whose results this one does not read" in text
    assert "could not be used" not in text
    assert app.selectbox(key="run_picker").options == ["bundled · paper · seed 0"]  # though the other is newer
    assert app.button(key=f"show_{folder.name}").disabled
    app.button(key=f"again_{folder.name}").click().run()
    (task,) = started
    assert task.request.config.search.generations == 7
    assert task.run != folder.name
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "search-abc.safetensors"]


@pytest.mark.parametrize("page", PAGES)
def test_a_run_of_an_earlier_version_cannot_be_shown(page, shown, small_request):
    make_former(shown, small_request.run)
    app = opened(page, run=small_request.run)
    assert "was computed by an earlier version of the explorer and can be computed again" in words(app)
    assert "There is no run to show yet" in words(app)
    assert shown.problems == ()


def test_computing_a_run_of_an_earlier_version_again_deletes_nothing_of_it(shown, small_request):
    run, folder = small_request.run, shown.root / small_request.run
    make_former(shown, run)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    opened("app.py").button(key=f"again_{run}").click().run()
    (job,) = jobs().snapshots()
    assert job.task == RunTask(small_request)
    assert ended(jobs(), job.id).state is JobState.FINISHED
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after["manifest.former.json"] == before.pop("manifest.json")
    assert before.items() <= after.items()
    app = opened("app.py", run=run)
    assert "computed by an earlier version" not in words(app)
    assert app.selectbox(key="run_picker").value == run
