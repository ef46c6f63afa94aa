"""Jobs: one at a time, in order, each stoppable, none able to take the worker down with it."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, replace

import pytest
from waiting import PATIENCE, ended, wait_for

from snapvit.errors import InputError
from snapvit.jobs import manager as jobs_module
from snapvit.jobs.manager import JobManager, JobState
from snapvit.jobs.tasks import MeasureTask, RunTask, StageTask, Workbench
from snapvit.pipeline import measure, running
from snapvit.pipeline.config import RunRequest, with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun, load_results
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.cka import MAIN_DIRECTIONS
from snapvit.store.store import Store


def test_a_job_leaves_what_pages_have_in_memory_to_the_garbage_collector(manage, finished, small_request):
    """What is frozen is never let go, so only the first job of a process, which loads torch, may freeze anything."""
    manager = manage(finished)
    ended(manager, manager.submit(MeasureTask(small_request.run, ((0.0, 0.0),))))
    frozen = gc.get_freeze_count()
    page = [list(range(5)) for _ in range(1000)]
    ended(manager, manager.submit(MeasureTask(small_request.run, ((0.95, 0.8),))))
    assert len(page) == 1000
    assert gc.get_freeze_count() <= frozen


def workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "snapvit-worker"}


@pytest.fixture
def manage() -> Iterator[Callable[[Store], JobManager]]:
    managers = []

    def make(store: Store) -> JobManager:
        managers.append(JobManager(store))
        return managers[-1]

    before = workers()
    yield make
    for manager in managers:
        manager.close()
    assert workers() <= before, "a worker is left"


class Scripted:
    """Stands in for the pipeline: a run goes on until the test lets it end or it is asked to stop."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.let_go = threading.Event()
        self.checks = 0

    def __call__(self, request: RunRequest, store: Store, reporter: Reporter) -> None:
        self.started.append(request.data)
        reporter.plan(2)
        reporter.begin("curvature", 2)
        reporter.advance(1)
        deadline = time.monotonic() + PATIENCE
        while not self.let_go.wait(0.005) and time.monotonic() < deadline:
            reporter.check()
            self.checks += 1
        reporter.advance(1)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    script = Scripted()
    monkeypatch.setattr(running, "run_pipeline", script)
    yield script
    script.let_go.set()


def task(name: str) -> RunTask:
    return RunTask(RunRequest(data=name))


# With the real pipeline


def test_a_run_is_computed_to_its_end_and_a_measurement_added(manage, tmp_path, small_request):
    store = Store(tmp_path)
    manager = manage(store)
    assert (manager.current(), manager.last_run(), manager.snapshots()) == (None, None, [])
    before = time.time()
    job = manager.submit(RunTask(small_request))
    measuring = manager.submit(MeasureTask(small_request.run, ((0.3, 0.1),)))
    end = ended(manager, job)
    assert (end.state, end.error, end.id, end.task.run) == (JobState.FINISHED, None, job, small_request.run)
    assert before <= end.submitted <= time.time()
    assert end.progress.share == pytest.approx(1.0)
    kinds = [event.kind for event in end.events]
    assert (kinds.count("generation"), kinds.count("point"), kinds.count("stage")) == (
        3,
        6,
        8,
    )  # points as cut and corrected
    assert load_results(store, small_request.run).summary.state == "finished"
    assert ended(manager, measuring).state is JobState.FINISHED
    assert len(load_results(store, small_request.run).measurements) == 4
    assert StoredRun.open(store, small_request.run).measurement(0.3, 0.1).cut.mlp == 0.3
    assert manager.current() is None
    assert manager.last_run().id == job
    assert [snapshot.id for snapshot in manager.snapshots()] == [measuring, job]


def test_a_cancelled_run_keeps_its_stages_and_can_be_submitted_again(manage, tmp_path, small_request):
    store = Store(tmp_path)
    manager = manage(store)
    long = RunTask(replace(small_request, config=with_settings(small_request.config, ["search.generations=500"])))
    job = manager.submit(long)
    wait_for(lambda: any(event.kind == "generation" for event in manager.snapshot(job).events))
    manager.cancel(job)
    manager.cancel(job)
    end = ended(manager, job)
    assert (end.state, end.error) == (JobState.CANCELLED, None)
    results = load_results(store, long.run)
    assert results.curvature is not None
    assert results.search.generations == sum(event.kind == "generation" for event in end.events)
    again = manager.submit(long)
    assert again != job
    wait_for(lambda: any(event.kind == "note" for event in manager.snapshot(again).events))
    assert {e.text.split()[0] for e in manager.snapshot(again).events if e.kind == "cached"} == {"curvature", "cka"}
    manager.cancel(again)
    assert ended(manager, again).state is JobState.CANCELLED
    assert manager.snapshot(job) == end  # the old job's story does not change


def test_a_job_that_cannot_be_done_says_why_and_the_next_one_still_runs(manage, finished, small_request):
    manager = manage(finished)
    bad = [
        manager.submit(RunTask(replace(small_request, data="nowhere"))),
        manager.submit(MeasureTask("no-such-run", ((0.3, 0.1),))),
        manager.submit(MeasureTask(small_request.run, ((1.0, 0.1),))),
    ]
    good = manager.submit(RunTask(small_request))
    assert ended(manager, good).state is JobState.FINISHED
    told = ("no image source named 'nowhere'", "no run named 'no-such-run'", "MLP sparsity is 1.0")
    for job, part in zip(bad, told, strict=True):
        end = manager.snapshot(job)
        assert end.state is JobState.FAILED
        assert part in end.error
        assert "\n" not in end.error


def test_a_measurement_twice_is_measured_once(manage, finished, small_request, monkeypatch):
    manager = manage(finished)
    assert ended(manager, manager.submit(MeasureTask(small_request.run, ((0.2, 0.0),)))).state is JobState.FINISHED

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("snapvit.pipeline.measure.Meter", never)
    assert ended(manager, manager.submit(MeasureTask(small_request.run, ((0.2, 0.0),)))).state is JobState.FINISHED
    assert len(load_results(finished, small_request.run).measurements) == 4


# The queue


def test_jobs_run_one_at_a_time_in_order(manage, scripted, tmp_path):
    manager = manage(Store(tmp_path))
    first, second, third = (manager.submit(task(name)) for name in "abc")
    wait_for(lambda: scripted.started)
    assert manager.snapshot(first).state is JobState.RUNNING
    assert manager.snapshot(second).state is manager.snapshot(third).state is JobState.QUEUED
    assert manager.current().id == first
    assert manager.snapshot(first).progress.share == 0.5
    assert scripted.started == ["a"]
    scripted.let_go.set()
    assert ended(manager, third).state is JobState.FINISHED
    assert scripted.started == ["a", "b", "c"]
    assert [manager.snapshot(job).state for job in (first, second)] == [JobState.FINISHED] * 2
    assert manager.last_run().id == third


def test_an_identical_task_keeps_its_job_while_queued_or_running(manage, scripted, tmp_path):
    manager = manage(Store(tmp_path))
    running, queued = manager.submit(task("a")), manager.submit(task("b"))
    wait_for(lambda: scripted.started)
    assert manager.submit(task("a")) == running
    assert manager.submit(task("b")) == queued
    assert manager.submit(MeasureTask("x", ((0.1, 0.2),))) == manager.submit(MeasureTask("x", ((0.1, 0.2),)))
    assert manager.submit(MeasureTask("x", ((0.1, 0.2),))) != manager.submit(MeasureTask("x", ((0.1, 0.3),)))
    assert len(manager.snapshots()) == 4
    scripted.let_go.set()
    assert ended(manager, queued).state is JobState.FINISHED
    assert manager.submit(task("a")) not in (running, queued)


def test_a_task_submitted_while_its_job_is_being_stopped_gets_a_new_job(manage, scripted, tmp_path):
    """The symptom: cancel, then start at once, and the new start was swallowed by the dying job."""
    manager = manage(Store(tmp_path))
    dying = manager.submit(task("a"))
    wait_for(lambda: scripted.started)
    manager.cancel(dying)
    again = manager.submit(task("a"))
    assert again != dying
    assert ended(manager, dying).state is JobState.CANCELLED
    scripted.let_go.set()
    assert ended(manager, again).state is JobState.FINISHED


def test_a_queued_job_that_is_cancelled_never_starts(manage, scripted, tmp_path):
    manager = manage(Store(tmp_path))
    running, queued, last = (manager.submit(task(name)) for name in "abc")
    wait_for(lambda: scripted.started)
    manager.cancel(queued)
    assert manager.snapshot(queued).state is JobState.CANCELLED  # at once
    assert manager.snapshot(running).state is JobState.RUNNING
    manager.cancel(queued)
    scripted.let_go.set()
    assert ended(manager, last).state is JobState.FINISHED
    assert scripted.started == ["a", "c"]
    assert manager.snapshot(queued).events == ()


def test_cancelling_an_ended_or_unknown_job_does_nothing(manage, scripted, tmp_path):
    manager = manage(Store(tmp_path))
    scripted.let_go.set()
    job = manager.submit(task("a"))
    end = ended(manager, job)
    manager.cancel(job)
    manager.cancel(999)
    assert manager.snapshot(job) == end
    assert end.state is JobState.FINISHED
    assert manager.snapshot(999) is None
    assert ended(manager, manager.submit(task("b"))).state is JobState.FINISHED


@pytest.mark.parametrize("where", ["run_pipeline", "measure_cut"])
def test_an_unforeseen_error_is_caught_logged_and_named(manage, finished, small_request, monkeypatch, caplog, where):
    manager = manage(finished)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a block of no heads\nand a second line")

    work = RunTask(small_request) if where == "run_pipeline" else MeasureTask(small_request.run, ((0.3, 0.1),))
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(running if where == "run_pipeline" else measure, where, broken)
        job = manager.submit(work)
        end = ended(manager, job)
    assert end.state is JobState.FAILED
    assert "ZeroDivisionError: a block of no heads" in end.error
    assert "\n" not in end.error
    (record,) = [record for record in caplog.records if record.name == jobs_module.__name__]
    assert record.exc_info[0] is ZeroDivisionError
    assert str(job) in record.getMessage()
    assert ended(manager, manager.submit(work)).state is JobState.FINISHED


def test_an_error_without_words_is_named_by_its_type(manage, monkeypatch, tmp_path):
    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(running, "run_pipeline", broken)
    manager = manage(Store(tmp_path))
    assert "RuntimeError" in ended(manager, manager.submit(task("a"))).error


def test_snapshots_are_frozen_and_stay_as_they_were(manage, scripted, tmp_path):
    manager = manage(Store(tmp_path))
    job = manager.submit(task("a"))
    wait_for(lambda: manager.snapshot(job).progress.done)
    then = manager.snapshot(job)
    kept = (then.state, then.progress, then.events)
    for name in ("state", "progress", "events", "error"):
        with pytest.raises(FrozenInstanceError):
            setattr(then, name, None)
    with pytest.raises(FrozenInstanceError):
        then.progress.done = 3.0
    scripted.let_go.set()
    now = ended(manager, job)
    assert (then.state, then.progress, then.events) == kept
    assert then.state is JobState.RUNNING
    assert now.progress.share == 1.0
    assert isinstance(now.events, tuple)


def test_closing_stops_the_running_job_and_ends_the_thread(scripted, tmp_path):
    before = workers()
    manager = JobManager(Store(tmp_path))
    assert len(workers() - before) == 2
    running, queued = manager.submit(task("a")), manager.submit(task("b"))
    wait_for(lambda: scripted.started)
    manager.close()
    assert workers() == before
    assert manager.snapshot(running).state is manager.snapshot(queued).state is JobState.CANCELLED
    assert scripted.started == ["a"]


def test_many_threads_may_submit_cancel_and_look_at_once(manage, scripted, tmp_path):
    manager, errors = manage(Store(tmp_path)), []
    scripted.let_go.set()

    def busy(number: int) -> None:
        try:
            for i in range(20):
                job = manager.submit(task(f"{number}-{i % 3}"))
                manager.snapshots()
                manager.current()
                if i % 5 == 0:
                    manager.cancel(job)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: manager.current() is None)
    assert errors == []
    ids = [snapshot.id for snapshot in manager.snapshots()]
    assert ids == sorted(set(ids), reverse=True)
    assert all(snapshot.state in (JobState.FINISHED, JobState.CANCELLED) for snapshot in manager.snapshots())


def test_a_run_that_another_process_computes_is_a_failed_job(manage, finished, small_request):
    manager = manage(finished)
    with Store(finished.root).computing(small_request.run):
        end = ended(manager, manager.submit(RunTask(small_request)))
    assert end.state is JobState.FAILED
    assert "another process" in end.error


# Brief jobs


def question(name: str) -> StageTask:
    return StageTask(name, (Want(MAIN_DIRECTIONS),))


class Asked:
    """Stands in for what a brief job computes."""

    def __init__(self, scripted: Scripted) -> None:
        self.scripted, self.answered, self.long_went_on = scripted, [], []
        self.wait = threading.Event()
        self.wait.set()

    def __call__(self, workspace: object, store: Store, reporter: Reporter, wants: object) -> None:
        before = self.scripted.checks
        assert self.wait.wait(PATIENCE)
        time.sleep(0.05)  # in which the long one would look often
        self.long_went_on.append(self.scripted.checks - before)
        self.answered.append(threading.current_thread().name)


@pytest.fixture
def asked(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> Asked:
    stub = Asked(scripted)
    monkeypatch.setattr(running, "run_wants", stub)
    monkeypatch.setattr(Workbench, "workspace", lambda bench, run: None)
    return stub


def test_a_brief_job_is_done_while_a_long_one_rests(manage, scripted, asked, tmp_path):
    """The symptom: a question of a second waited behind a run of half an hour."""
    manager = manage(Store(tmp_path))
    long, next_long = manager.submit(task("a")), manager.submit(task("b"))
    wait_for(lambda: scripted.started)
    brief = [manager.submit(question(name)) for name in "xyz"]
    for job in brief:
        assert ended(manager, job).state is JobState.FINISHED
    assert manager.snapshot(long).state is JobState.RUNNING
    assert manager.snapshot(next_long).state is JobState.QUEUED
    assert asked.long_went_on == [0, 0, 0], "they would fight for torch's threads"
    scripted.let_go.set()
    assert ended(manager, next_long).state is JobState.FINISHED


def test_the_brief_job_is_the_current_one_while_the_long_one_rests(manage, scripted, asked, tmp_path):
    manager = manage(Store(tmp_path))
    asked.wait.clear()
    long = manager.submit(task("a"))
    wait_for(lambda: scripted.started)
    brief = manager.submit(question("x"))
    wait_for(lambda: manager.snapshot(brief).state is JobState.RUNNING)
    assert manager.current().id == brief
    assert [job.id for job in manager.active()] == [brief, long]
    manager.cancel(long)
    asked.wait.set()
    assert ended(manager, brief).state is JobState.FINISHED
    assert ended(manager, long).state is JobState.CANCELLED


def test_a_brief_job_alone_and_after_a_long_one_is_done_in_order(manage, scripted, asked, tmp_path):
    manager = manage(Store(tmp_path))
    assert ended(manager, manager.submit(question("x"))).state is JobState.FINISHED
    scripted.let_go.set()
    jobs = [manager.submit(task("a")), manager.submit(question("y")), manager.submit(task("b"))]
    assert [ended(manager, job).state for job in jobs] == [JobState.FINISHED] * 3


def test_a_question_too_early_for_the_run_under_way_waits_for_it(manage, scripted, monkeypatch, tmp_path):
    def too_early(*_: object) -> None:
        if not scripted.let_go.is_set():
            raise InputError("no ranking yet")

    monkeypatch.setattr(running, "run_wants", too_early)
    monkeypatch.setattr(Workbench, "workspace", lambda bench, run: None)
    manager = manage(Store(tmp_path))
    long = task("a")
    job = manager.submit(long)
    wait_for(lambda: scripted.started)
    early, other = manager.submit(question(long.run)), manager.submit(question("x"))
    assert ended(manager, other).state is JobState.FAILED
    assert manager.snapshot(early).state is JobState.QUEUED
    scripted.let_go.set()
    assert ended(manager, early).state is JobState.FINISHED
    assert manager.snapshot(job).state is JobState.FINISHED
