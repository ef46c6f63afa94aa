"""A dashboard that only shows what is there: refused by store and worker, and said by every page."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_checks import NAMES, opened, words

from snapvit.environment import READ_ONLY, only_shows
from snapvit.errors import InputError
from snapvit.jobs.manager import JobManager
from snapvit.jobs.tasks import EstimateTask, LoadTask, MeasureTask, RunTask
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.results import StoredRun, load_results
from snapvit.pipeline.stages.cka import CKA
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.uploads import delete_run
from snapvit.store.store import Store
from snapvit.tables import Measurements


@pytest.fixture
def looked_at(shipped, monkeypatch) -> Store:
    """The shipped run, on a server that only shows it."""
    monkeypatch.setenv(READ_ONLY, "1")
    return shipped


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_environment_says_so(monkeypatch):
    for text, meant in (("1", True), ("yes", True), ("0", False), ("", False)):
        monkeypatch.setenv(READ_ONLY, text)
        assert only_shows() is meant
    monkeypatch.delenv(READ_ONLY)
    assert not only_shows()


def test_a_store_that_is_only_read_refuses_every_change(finished):
    run, before = finished.manifests()[0].run, contents(finished.root)
    store = Store(finished.root, read_only=True)
    key = store.entry(run, EVALUATION.name).key
    cka = StoredRun.open(store, run).need(CKA)
    for change in (
        lambda: store.create("new", {}, None, {}),
        lambda: store.rename(run, "other"),
        lambda: store.delete(run),
        lambda: delete_run(store, run),
        lambda: store.save(run, CKA.name, key, cka),
        lambda: store.update(run, EVALUATION.name, Measurements, key, lambda known: known),
        lambda: store.forget(run, [CKA.name]),
        lambda: store.computing(run).__enter__(),
    ):
        with pytest.raises(InputError, match="only be looked at"):
            change()
    assert contents(finished.root) == before
    assert load_results(store, run).ranking is not None, "it can be read"


def test_its_worker_takes_no_task(finished, small_request):
    manager = JobManager(Store(finished.root, read_only=True))
    run = small_request.run
    tasks = (RunTask(RunRequest()), MeasureTask(run, ((0.2, 0.1),)), LoadTask(run), EstimateTask(small_request))
    for task in tasks:
        with pytest.raises(InputError, match="only be looked at"):
            manager.submit(task)
    assert manager.snapshots() == []
    manager.close()


CHANGING = {
    *("Start", "Show these scores", "Delete for good", "Keep", "Measure this cut", "Measure here", "Compare these"),
    *("Export and prove", "Compute this projection", "Estimate memory and time", "Go on"),
}


@pytest.mark.parametrize("page", ["app.py", *(f"pages/{name}.py" for name in NAMES)])
def test_every_page_shows_the_run_and_nothing_that_changes_it(looked_at, page):
    before = contents(looked_at.root)
    app = opened(page, s="0.653")
    assert not app.exception
    labels = [button.label for button in app.button]
    assert not CHANGING & set(labels), labels
    assert not [field.label for field in app.text_input if "ath" in field.label or "older" in field.label]
    assert contents(looked_at.root) == before


def test_pages_say_why(looked_at):
    assert "only looks: nothing can be started" in words(opened("app.py"))
    assert "only shows what is there" in words(opened("pages/sparsity.py", s="0.653"))
    assert "only shows what is there" in words(opened("pages/compare.py"))
    assert "snapvit export" in words(opened("pages/export.py"))


def test_the_same_pages_offer_it_where_they_may(shipped):
    labels = [button.label for button in opened("pages/sparsity.py", s="0.653").button]
    assert "Measure this cut" in labels
