"""Starting a run from the page: what is said before, at once and afterwards. Without a browser."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from page_checks import PAGES, as_read, opened, words
from streamlit.testing.v1 import AppTest
from waiting import ended, wait_for

from snapvit import devices
from snapvit.errors import InputError
from snapvit.jobs.manager import JobManager, JobState
from snapvit.jobs.tasks import RunTask
from snapvit.pipeline import workspace
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.results import RunSummary, list_runs, load_results
from snapvit.store.store import Store
from snapvit.ui.job_panel import fitness_so_far
from snapvit.ui.resources import jobs
from snapvit.ui.run import device_choice, run_form
from snapvit.ui.run_titles import run_titles


@pytest.fixture
def form(shown: Store, small_request: RunRequest) -> AppTest:
    """The page with the small run's settings in its address, as a reload would bring them."""
    settings = dict(setting.split("=") for setting in address_of(small_request))
    yield opened("app.py", preset="custom", **settings)
    jobs().close()


def address_of(request: RunRequest) -> list[str]:
    config = request.config
    names = ("curvature.images", "curvature.local_views", "cka.images", "search.generations", "search.images")
    names += ("correction.images", "evaluation.gallery", "evaluation.queries", "evaluation.points", "evaluation.k")
    found = []
    for name in names:
        section, key = name.split(".")
        found.append(f"{name}={getattr(getattr(config, section), key)}")
    return found


def toasts(app: AppTest) -> str:
    return as_read("\n".join(toast.value for toast in app.toast))


def test_the_form_outlives_a_reload(form: AppTest) -> None:
    assert form.number_input(key="search.generations").value == 3
    form.number_input(key="seed").set_value(123456789).run()
    form.text_input(key="name").set_value("my first").run()
    form.selectbox(key="model_kind").set_value("timm").run()
    form.text_input(key="checkpoint").set_value("/nowhere/x.pth").run()
    query = dict(form.query_params)
    again = opened("app.py", **{name: value if isinstance(value, str) else value[0] for name, value in query.items()})
    assert again.number_input(key="search.generations").value == 3
    assert again.number_input(key="seed").value == 123456789
    assert again.text_input(key="name").value == "my first"
    assert again.selectbox(key="model_kind").value == "timm"
    assert again.text_input(key="checkpoint").value == "/nowhere/x.pth"
    assert "nowhere" not in str([link.proto.query_string for link in again.sidebar.get("page_link")])


def test_a_start_is_announced_and_its_job_is_seen_on_every_page(form: AppTest) -> None:
    form.text_input(key="name").set_value("my *first*").run()
    form.button(key="start").click().run()
    assert not form.exception
    assert "Started: bundled" in toasts(form)
    job = jobs().last_run()
    assert job.task.name == "my *first*"
    assert ended(jobs(), job.id).state is JobState.FINISHED
    summary = next(s for s in list_runs(Store(jobs()._store.root)) if s.run == job.task.run)
    assert summary.name == "my *first*"
    form.run()
    assert "is finished, after" in words(form)
    form.button(key="dismiss").click().run()
    assert "is finished, after" not in words(form)


def test_a_finished_run_is_shown_on_the_run_page_once(form: AppTest, small_request: RunRequest) -> None:
    """Another run was shown when it was started."""
    form.query_params["run"] = small_request.run
    form.number_input(key="seed").set_value(5).run()
    form.button(key="start").click().run()
    job = jobs().last_run()
    assert job.task.run != small_request.run
    assert ended(jobs(), job.id).state is JobState.FINISHED
    form.run()
    assert form.query_params["run"] == job.task.run
    assert "is finished and shown now" in toasts(form)
    box = next(box for box in form.sidebar.selectbox if box.label == "Run shown")
    box.set_value(small_request.run).run()
    form.run()
    assert form.query_params["run"] == small_request.run, "the person's choice stays"


def test_a_finished_run_is_told_on_other_pages_and_leaves_them_alone(form: AppTest, small_request: RunRequest) -> None:
    form.number_input(key="seed").set_value(6).run()
    form.button(key="start").click().run()
    job = jobs().last_run()
    form.switch_page("pages/heads.py")
    form.query_params["run"] = small_request.run
    assert ended(jobs(), job.id).state is JobState.FINISHED
    form.run()
    assert "is finished; choose it at the left" in toasts(form)
    assert form.query_params["run"] == small_request.run


@pytest.mark.parametrize("page", PAGES)
def test_progress_is_in_the_sidebar_of_every_page(page: str, shown: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobManager, "_run", lambda *_: wait_for(lambda: done) and JobState.FINISHED)
    done: list[bool] = []
    jobs().submit(RunTask(RunRequest(config=PRESETS["paper"])))
    app = opened(page)
    done.append(True)
    jobs().close()
    assert app.sidebar.get("progress")


def test_starting_a_finished_run_says_so_and_shows_it(form: AppTest, shown: Store, small_request: RunRequest) -> None:
    form.button(key="start").click().run()
    job = jobs().last_run()
    assert ended(jobs(), job.id).state is JobState.FINISHED
    count = len(jobs().snapshots())
    form.run()
    form.button(key="start").click().run()
    assert len(jobs().snapshots()) == count, "nothing is computed again"
    assert "finished already" in toasts(form)
    assert form.query_params["run"] == job.task.run


def test_a_preset_s_note_names_its_estimate(form: AppTest) -> None:
    assert "*Estimate* times a few batches" in words(form)
    assert "two minutes" not in words(form)
    form.button(key="estimate").click().run()
    wait_for(lambda: jobs().current() is None)
    assert "By the estimate about" in words(form.run())


def test_a_real_model_is_one_click_away_and_says_calmly_what_is_missing(
    shown: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object) -> None:
        raise InputError("Pretrained weights could not be fetched (the hub does not answer); check the network.")

    monkeypatch.setattr(workspace, "load_model", offline)
    app = opened("app.py")
    assert "87 MB" in words(app)
    assert "170 MB" in words(app)
    app.button(key="real_model").click().run()
    assert not app.exception
    job = jobs().last_run()
    assert (job.task.request.model.name, job.task.request.data) == ("vit_small_patch16_224.dino", "torchvision:CIFAR10")
    assert job.task.request.config == PRESETS["look"]
    assert ended(jobs(), job.id).state is JobState.FAILED
    app.run()
    assert "could not be fetched (the hub does not answer); check the network." in words(app)
    assert app.query_params["model_kind"] == "timm", "the form shows what was tried"
    jobs().close()


def test_the_chart_of_a_resumed_run_begins_at_its_first_generation(finished: Store, small_request: RunRequest) -> None:
    longer = replace(small_request, config=with_settings(small_request.config, ["search.generations=5"]))
    manager = JobManager(finished)
    job = ended(manager, manager.submit(RunTask(longer)))
    manager.close()
    assert [int(e.values["generation"]) for e in job.events if e.kind == "generation"] == [4, 5]
    results = load_results(finished, longer.run)
    found = fitness_so_far(job, results)
    assert [point["generation"] for point in found] == [1, 2, 3, 4, 5]
    fitness = results.search.individual_fitness
    np.testing.assert_allclose([p["mean"] for p in found], fitness.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose([p["best"] for p in found], np.minimum.accumulate(fitness.min(axis=1)), rtol=1e-6)


def summary(run: str, **parts: object) -> RunSummary:
    usual = {"model": "deit_tiny_patch16_224.fb_in1k (mine.pth)", "data": "folder:/home/me/birds", "preset": "quick"}
    usual |= {"seed": 0, "state": "finished", "created": 1.0, "seconds": 1.0, "done": ()}
    return RunSummary(run, **(usual | parts))


def test_titles_tell_runs_apart_at_their_beginning() -> None:
    runs = [summary("a"), summary("b", seed=5), summary("c", preset="paper"), summary("d", name="mine")]
    titles = run_titles(runs)
    assert titles["b"].startswith("seed 5")
    assert titles["c"].startswith("paper")
    assert titles["d"] == "mine"
    alike = run_titles([summary("a"), summary("b", created=100.0)])
    assert len(set(alike.values())) == 2
    assert all(len(part) <= 30 for title in titles.values() for part in title.split(" · "))


def test_a_name_is_no_part_of_what_a_run_is(finished: Store, small_request: RunRequest) -> None:
    before = finished.manifest(small_request.run)
    finished.rename(small_request.run, "  two   words ")
    after = Store(finished.root).manifest(small_request.run)
    assert after.name == "two words"
    assert replace(after, name="") == before
    finished.rename(small_request.run, "")
    assert Store(finished.root).manifest(small_request.run) == before


def test_a_run_is_named_from_the_list(shown: Store, small_request: RunRequest) -> None:
    app = opened("app.py")
    app.text_input(key=f"name_{small_request.run}").set_value("my *run*")
    app.button(key=f"keep_{small_request.run}").click().run()
    assert "my *run*" in words(app)
    assert app.sidebar.selectbox[0].options == ["my *run*"]


def test_the_device_is_asked_for_where_there_is_more_than_one(form: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def there(*found: str) -> None:
        for module in (devices, device_choice):
            monkeypatch.setattr(module, "devices", lambda: found)

    there("cpu")
    assert not [box for box in form.run().selectbox if box.label == "Computed on"]
    assert "computed on CPU in float32" in words(form)
    there("cpu", "cuda:0", "cuda:1")
    monkeypatch.setattr(devices, "device_name", lambda device: "A GPU" if device != "cpu" else "CPU")
    asked: list[RunTask] = []
    monkeypatch.setattr(run_form, "start", asked.append)
    box = form.run().selectbox(key="device")
    assert (box.value, box.options) == ("cpu", ["CPU", "A GPU (cuda:0)", "A GPU (cuda:1)"])
    box.set_value("cuda:1").run()
    form.button(key="start").click().run()
    assert not form.exception
    (task,) = asked
    assert (task.device, task.request.device) == ("cuda:1", "cuda")
    monkeypatch.setenv("SNAPVIT_DEVICE", "gpu")
    assert "The device 'gpu' was asked for by SNAPVIT_DEVICE" in words(form.run())
    assert form.button(key="start").disabled
