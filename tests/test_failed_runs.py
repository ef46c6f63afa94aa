"""A run that fails half way, without a browser: its sentence, what is kept, and word of it on every page."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from page_checks import PAGES, opened, words
from waiting import ended

from snapvit.jobs.manager import JobState
from snapvit.jobs.tasks import RunTask
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.config import RunRequest
from snapvit.store.store import Store
from snapvit.ui.resources import jobs


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_resources: None) -> Store:
    monkeypatch.setenv("SNAPVIT_CACHE", str(tmp_path / "cache"))
    return Store(tmp_path / "cache")


def outcome(request: RunRequest) -> JobState:
    """How the run ends; it is waited for."""
    return ended(jobs(), jobs().submit(RunTask(request))).state


def fill_disk_at(monkeypatch: pytest.MonkeyPatch, stage: str, saved_before: int) -> None:
    """From the save of `stage` after so many on, no file of it can be written."""
    write, seen = Path.write_bytes, []

    def write_bytes(path: Path, content: bytes) -> int:
        if path.name.removeprefix(".").startswith(stage):
            seen.append(path)
            if len(seen) > saved_before:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


def test_a_full_disk_during_the_search_leaves_what_was_finished(
    small_request: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fill_disk_at(patch, "search", 2)
        assert outcome(small_request) is JobState.FAILED
    app = opened("app.py")
    text = words(app)
    assert f"Run {small_request.run} failed. The cache" in text
    assert "No space left on device" in text
    assert "Finished and kept: Local curvature, CKA map, Search (2 of 3 generations)." in text
    assert "Go on with this run" in [button.label for button in app.button]
    for page in PAGES[1:]:
        assert [f"Run {small_request.run} failed."] == [error.value for error in opened(page).sidebar.error]
    seen = opened("pages/method.py")
    next(button for button in seen.sidebar.button if button.label == "Dismiss").click().run()
    assert not seen.sidebar.error
    assert outcome(small_request) is JobState.FINISHED
    for page in PAGES:
        assert not opened(page).error


def test_a_full_disk_during_the_evaluation_counts_the_cuts(
    small_request: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk_at(monkeypatch, "evaluation", 1)
    assert outcome(small_request) is JobState.FAILED
    assert "CKA map, Search, Ranking, Accuracy along the path (cuts measured: 1)." in words(opened("app.py"))


def test_a_run_that_never_began_offers_to_start_again(cache: Store) -> None:
    assert outcome(RunRequest(model=ModelSpec("vit_of_nobody"))) is JobState.FAILED
    app = opened("app.py")
    assert "timm has no model named 'vit_of_nobody'" in words(app)
    assert "nothing is kept" in words(app)
    assert "Start it again" in [button.label for button in app.button]
    assert "Sparsity 50 %" not in words(app)  # with nothing to look at, nothing is looked at
    assert cache.manifests() == []
