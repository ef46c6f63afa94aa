"""What pages say of numbers that are another computer's, of differences, and of runs that an earlier version made."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from page_checks import opened, words
from stage_samples import put
from waiting import ended

from scripts.bundled_run import REQUEST
from snapvit.evaluation.paired import compare, describe, unpack_answers
from snapvit.jobs.manager import JobState
from snapvit.machine import this_machine
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.store.store import Store
from snapvit.tables import Latencies
from snapvit.ui.resources import jobs

ELSEWHERE = replace(this_machine(), processor="Some Other Processor")


@pytest.fixture
def timed_elsewhere(shipped: Store) -> Store:
    """The shipped run as if it had been timed on another computer alone."""
    stored = StoredRun.open(shipped, REQUEST.run)
    names = [name for name in stored.manifest.entries if LATENCY.asked_for(name) is not None]
    tables = [shipped.load(REQUEST.run, name, Latencies) for name in names]
    shipped.forget(REQUEST.run, names)
    put(shipped, REQUEST.run, LATENCY, replace(max(tables, key=len), machine=ELSEWHERE), ELSEWHERE.id)
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
    assert "Cut to 0.0% sparsity" in words(app)
    assert "time_here" not in [button.key for button in app.button]


def test_a_cut_is_compared_with_the_full_model_query_by_query(shipped):
    table = StoredRun.open(shipped, REQUEST.run).load(EVALUATION)
    full, cut = table.find(0.0, 0.0), table.find(*path_pair(0.95))
    answers = [unpack_answers(np.frombuffer(bytes.fromhex(m.answers), np.uint8), m.queries) for m in (full, cut)]
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
