"""A run that was stopped, at any point and in any way, goes on to exactly the numbers of an unbroken one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from snapvit.data import views
from snapvit.errors import Cancelled
from snapvit.pipeline import effort
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.meter import Meter
from snapvit.pipeline.progress import Event, Progress, Reporter
from snapvit.pipeline.results import RunResults, load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.store.store import Store

ROOT = Path(__file__).parents[1]
GENERATIONS = 12


class Watched(Reporter):
    """Remembers the progress after every step, and asks to stop when `stop` says so of a step or an event."""

    def __init__(self, stop: Callable[[str, int], bool] = lambda what, count: False) -> None:
        super().__init__(self._seen)
        self.steps: list[Progress] = []
        self._stop, self._counts = stop, {}

    def _seen(self, event: Event) -> None:
        self._count(event.kind)

    def advance(self, units: float) -> None:
        self._count(f"step of {self.progress.stage}")
        try:
            super().advance(units)
        finally:
            self.steps.append(self.progress)

    def _count(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1
        if self._stop(what, self._counts[what]):
            self.cancel()


def stop_at(what: str, count: int) -> Callable[[str, int], bool]:
    return lambda seen, number: (seen, number) == (what, count)


def assert_equal_runs(found: RunResults, want: RunResults) -> None:
    """Equal to the last bit in everything that does not depend on the machine."""
    for part in ("curvature", "cka", "search", "ranking", "measurements"):
        a, b = getattr(found, part), getattr(want, part)
        assert a is not None, part
        for name, value in vars(b).items():
            np.testing.assert_array_equal(getattr(a, name), value, err_msg=f"{part}.{name}")
    assert found.summary.state == want.summary.state == "finished"


@pytest.fixture
def unbroken(finished_cache: Path, small_request: RunRequest) -> RunResults:
    return load_results(Store(finished_cache), small_request.run)


def interrupted(request: RunRequest, store: Store, stop: Callable[[str, int], bool]) -> Watched:
    reporter = Watched(stop)
    with pytest.raises(Cancelled):
        run_pipeline(request, store, reporter)
    return reporter


def notes(reporter: Reporter) -> list[str]:
    return [event.text for event in reporter.events if event.kind == "note"]


def test_cancel_during_the_curvature_takes_effect_within_one_batch(tmp_path, small_request, unbroken, monkeypatch):
    store, reporter, seen = Store(tmp_path), Reporter(), []
    batches = views.view_batches

    def cancelling(*args: object) -> Iterator[torch.Tensor]:
        for batch in batches(*args):
            seen.append(batch.shape[1])
            if len(seen) == 2:
                reporter.cancel()  # as another thread would while this batch is computed
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(effort, "VIEW_TOKENS", 51)  # one image a batch
        patch.setattr(views, "view_batches", cancelling)
        with pytest.raises(Cancelled):
            run_pipeline(small_request, store, reporter)
    assert seen == [1, 1]
    assert reporter.progress.stage == "curvature"
    results = load_results(store, small_request.run)
    assert results.curvature is None
    assert results.summary.state == "unfinished"
    run_pipeline(small_request, store, Reporter())
    assert_equal_runs(load_results(store, small_request.run), unbroken)


def test_cancel_before_the_first_batch_computes_nothing(tmp_path, small_request, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("a batch was computed")

    monkeypatch.setattr("snapvit.method.curvature.embed", never)
    reporter = Reporter()
    reporter.cancel()
    with pytest.raises(Cancelled):
        run_pipeline(small_request, Store(tmp_path), reporter)


@pytest.mark.parametrize(
    ("stop", "generations"),
    [
        (stop_at("step of search", 1), 0),
        (stop_at("generation", 1), 1),
        (stop_at("step of search", 11), 2),  # four individuals a generation: in the middle of the third
        (stop_at("generation", 3), 3),
    ],
)
def test_cancel_during_the_search_goes_on_after_the_last_whole_generation(
    tmp_path, small_request, unbroken, stop, generations
):
    store = Store(tmp_path)
    interrupted(small_request, store, stop)
    results = load_results(store, small_request.run)
    assert results.summary.state == "unfinished"
    assert (results.search.generations if results.search else 0) == generations
    reporter = Watched()
    run_pipeline(small_request, store, reporter)
    expected = [f"search goes on after generation {generations}"] if 0 < generations < 3 else []
    assert notes(reporter) == expected
    numbers = [event.values["generation"] for event in reporter.events if event.kind == "generation"]
    assert numbers == list(range(generations + 1, 4))
    assert_equal_runs(load_results(store, small_request.run), unbroken)


@pytest.mark.parametrize("points", [0, 1, 2])
def test_cancel_during_the_evaluation_keeps_the_points_that_were_measured(
    tmp_path, small_request, unbroken, points, monkeypatch
):
    store, reporter, embedded = Store(tmp_path), Reporter(), []
    embed = Meter._embed

    def cancelling(self: Meter, table: object) -> torch.Tensor:
        embedded.append(len(table))
        if len(embedded) == 3 + 2 * points:  # the full queries once, then queries and gallery of each point
            reporter.cancel()
        return embed(self, table)

    with monkeypatch.context() as patch:
        patch.setattr(Meter, "_embed", cancelling)
        with pytest.raises(Cancelled):
            run_pipeline(small_request, store, reporter)
    table = load_results(store, small_request.run).measurements
    assert (0 if table is None else len(table)) == points
    assert load_results(store, small_request.run).summary.state == "unfinished"
    reporter = Watched()
    run_pipeline(small_request, store, reporter)
    assert sum(event.kind == "point" for event in reporter.events) == 3 - points + 3  # as cut, and corrected
    assert_equal_runs(load_results(store, small_request.run), unbroken)


def test_cancelled_again_and_again_it_still_ends_as_an_unbroken_run(tmp_path, small_request, unbroken):
    store = Store(tmp_path)
    for what in ("step of cka", "step of search", "generation", "generation", "point", "point"):
        interrupted(small_request, store, stop_at(what, 1))
    run_pipeline(small_request, store, Reporter())
    assert_equal_runs(load_results(store, small_request.run), unbroken)


def test_progress_rises_to_the_whole_and_the_time_left_falls_to_nothing(tmp_path, small_request):
    store = Store(tmp_path)
    broken = interrupted(small_request, store, stop_at("generation", 2))
    resumed = Watched()
    run_pipeline(small_request, store, resumed)
    for reporter in (broken, resumed):
        shares = [step.share for step in reporter.steps]
        assert shares == sorted(shares)
        assert 0 < shares[0] < 1
        for step in reporter.steps:
            assert 0 <= step.share <= 1
            assert step.done <= step.total * (1 + 1e-9)
            assert step.eta is None or step.eta >= 0
    assert broken.steps[-1].share < 1
    end = resumed.progress
    assert end.share == pytest.approx(1.0, abs=1e-9)
    assert end.overall_done == pytest.approx(end.overall_total)
    assert end.eta is None or end.eta == pytest.approx(0.0, abs=1e-6)
    assert resumed.steps[0].overall_total < broken.steps[0].overall_total  # what is done need not be done again
    again = Watched()
    run_pipeline(small_request, store, again)
    assert again.steps == []
    assert again.progress.share == 1.0


def test_time_left_follows_the_pace_so_far():
    assert Progress(overall_done=25, overall_total=100, started=10, updated=20).eta == pytest.approx(30)
    assert Progress(overall_done=100, overall_total=100, started=10, updated=20).eta == 0
    assert Progress(overall_done=0, overall_total=100, started=10, updated=20).eta is None
    assert Progress(overall_done=1, overall_total=100, started=10, updated=10.5).eta is None
    assert Progress().share == 0
    assert Progress(overall_done=101, overall_total=100).share == 1


def command(cache: Path, settings: tuple[str, ...]) -> list[str]:
    pairs = [part for setting in (*settings, f"search.generations={GENERATIONS}") for part in ("--set", setting)]
    return [sys.executable, "-m", "snapvit", "run", "--json", "--cache", str(cache), *pairs]


def stored_generations(cache: Path) -> int:
    """From the manifest and the file's header alone, as the process that is watched writes them."""
    for path in cache.glob("*/manifest.json"):
        entry = json.loads(path.read_text())["entries"].get("search")
        if entry is not None:
            try:
                raw = (path.parent / entry["file"]).read_bytes()
            except FileNotFoundError:  # replaced by the next generation's
                continue
            header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
            return header["history.fitness"]["shape"][0]
    return 0


def test_a_killed_process_is_continued_by_another_to_the_same_result(tmp_path, small_settings):
    settings = (*small_settings, "evaluation.points=2")
    options = {
        "cwd": ROOT,
        "env": os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},  # one thread: sums in one order
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    whole = subprocess.Popen(command(tmp_path / "whole", settings), **options)
    victim = subprocess.Popen(command(tmp_path / "killed", settings), **options)
    try:
        deadline = time.monotonic() + 120
        while (stored := stored_generations(tmp_path / "killed")) < 2:
            assert victim.poll() is None, victim.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(victim.pid, signal.SIGKILL)
        assert victim.wait(timeout=30) == -signal.SIGKILL
        stored = stored_generations(tmp_path / "killed")
        assert 2 <= stored < GENERATIONS, "the search was over before the kill: make it longer"
        resumed = subprocess.run(command(tmp_path / "killed", settings), timeout=120, **options)
        assert resumed.returncode == 0, resumed.stderr
        out, err = whole.communicate(timeout=120)
        assert whole.returncode == 0, err
    finally:
        for process in (whole, victim):
            process.kill()
            process.communicate()
    assert f"search goes on after generation {stored}\n" in resumed.stderr
    assert "goes on after generation" not in err
    a, b = json.loads(resumed.stdout), json.loads(out)
    assert a["factors"] == b["factors"]
    assert a["generations"] == b["generations"] == GENERATIONS
    (run,) = (manifest.run for manifest in Store(tmp_path / "whole").manifests())
    assert a["run"] == b["run"] == run
    assert_equal_runs(load_results(Store(tmp_path / "killed"), run), load_results(Store(tmp_path / "whole"), run))
