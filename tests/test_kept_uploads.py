"""Uploads in the cache: seen with their sizes, deleted whole, and gone with the last run that uses them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from page_checks import opened, words
from store_samples import FACTS, NODES, make_former
from test_uploads import birds, zipped
from waiting import wait_for

from snapvit.data import seen_files
from snapvit.data.archive import unpack_upload
from snapvit.data.kept_uploads import delete_upload, list_uploads
from snapvit.data.pixel_files import table_folder
from snapvit.data.sources import open_source
from snapvit.errors import InputError
from snapvit.jobs.manager import JobManager, JobState
from snapvit.jobs.tasks import RunTask
from snapvit.pipeline.config import PRESETS, RunRequest
from snapvit.pipeline.uploads import delete_run, going_with, runs_by_source
from snapvit.store.codec import encode
from snapvit.store.store import Store
from snapvit.ui.resources import jobs
from snapvit.ui.run.uploaded_images import sources_at_work


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def begun(store: Store, **request: str) -> str:
    """A run that was begun on these sources."""
    asked = RunRequest(config=PRESETS["quick"], **request)
    store.create(asked.run, encode(asked)[1], FACTS, NODES)
    return asked.run


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_an_upload_is_listed_with_what_it_holds(empty: Store) -> None:
    assert list_uploads(empty.root) == []
    raw = zipped(birds())
    name = unpack_upload(raw, empty.root)
    (empty.root / "uploads" / ".half.part").mkdir()
    (empty.root / "uploads" / "mine").mkdir()
    (found,) = list_uploads(empty.root)
    assert (found.name, found.images, found.folders) == (name, 10, ("auk", "owl"))
    assert found.size == sum(len(picture) for picture in birds().values())


def test_the_newest_is_listed_first(empty: Store) -> None:
    import os

    first, second = (unpack_upload(zipped(birds(prefix)), empty.root) for prefix in ("a/", "b/"))
    os.utime(empty.root / "uploads" / first.removeprefix("upload:"), (2e9, 2e9))
    assert [upload.name for upload in list_uploads(empty.root)] == [first, second]


def test_deleting_leaves_nothing_of_it_and_everything_else(empty: Store) -> None:
    kept, gone = (unpack_upload(zipped(birds(prefix)), empty.root) for prefix in ("a/", "b/"))
    open_source(kept, empty.root)
    before = files(empty.root)
    open_source(gone, empty.root)
    delete_upload(gone, empty.root)
    left = {name for name in before if gone.removeprefix("upload:") not in name}
    assert files(empty.root) == left
    with pytest.raises(InputError, match="upload the zip again"):
        open_source(gone, empty.root)
    assert unpack_upload(zipped(birds("b/")), empty.root) == gone


@pytest.mark.parametrize(
    "name", ["upload:" + "0" * 20, "upload:..", "upload:", "upload:../../x", "folder:/", "bundled"]
)
def test_only_an_upload_that_is_there_is_deleted(name: str, empty: Store) -> None:
    unpack_upload(zipped(birds()), empty.root)
    before = files(empty.root)
    with pytest.raises(InputError, match="no uploaded images named"):
        delete_upload(name, empty.root)
    assert files(empty.root) == before


@pytest.mark.parametrize("part", ["data", "gallery", "queries"])
def test_the_last_run_takes_its_upload_along(part: str, empty: Store) -> None:
    name = unpack_upload(zipped(birds()), empty.root)
    first, second, other = begun(empty, **{part: name}), begun(empty, data=name, queries="folder:/x"), begun(empty)
    assert set(runs_by_source(empty)[name]) == {first, second}
    assert not going_with(empty)
    delete_run(empty, other)
    delete_run(empty, first)
    assert [upload.name for upload in going_with(empty)[second]] == [name]
    delete_run(empty, second)
    assert list_uploads(empty.root) == []


def test_the_last_run_takes_decoded_images_along(empty: Store) -> None:
    first, second = begun(empty), begun(empty, queries="folder:/x")
    digest = NODES["images.search"]
    for name in (digest, "c" * 20):
        path = table_folder(empty.root) / f"{name[:20]}-0123456789ab.pixels"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    delete_run(empty, first)
    assert [path.name[:20] for path in table_folder(empty.root).iterdir()] == [digest[:20]]
    delete_run(empty, second)
    assert not list(table_folder(empty.root).iterdir())


def test_what_is_remembered_of_an_upload_goes_with_it(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = unpack_upload(zipped(birds()), empty.root)
    monkeypatch.setattr(seen_files, "SETTLED_NS", -(10**12))
    open_source(name, empty.root)
    assert len(list((empty.root / "images").iterdir())) == 2
    delete_upload(name, empty.root)
    assert not list((empty.root / "images").iterdir())


def test_a_run_of_an_earlier_version_keeps_its_upload(empty: Store) -> None:
    name = unpack_upload(zipped(birds()), empty.root)
    old, new = begun(empty, data=name), begun(empty, data=name, queries="folder:/x")
    make_former(empty, old)
    delete_run(empty, new)
    assert [upload.name for upload in list_uploads(empty.root)] == [name]
    delete_run(empty, old)
    assert list_uploads(empty.root) == []


def test_an_upload_that_a_job_waits_for_stays(empty: Store) -> None:
    name = unpack_upload(zipped(birds()), empty.root)
    run = begun(empty, data=name)
    delete_run(empty, run, wanted={name})
    assert [upload.name for upload in list_uploads(empty.root)] == [name]


def test_a_run_that_cannot_be_deleted_keeps_its_upload(empty: Store) -> None:
    name = unpack_upload(zipped(birds()), empty.root)
    run = begun(empty, data=name)
    with empty.computing(run), pytest.raises(InputError):
        delete_run(Store(empty.root), run)
    assert [upload.name for upload in list_uploads(empty.root)] == [name]


def test_an_upload_that_is_gone_already_is_no_hindrance(empty: Store) -> None:
    name = unpack_upload(zipped(birds()), empty.root)
    run = begun(empty, data=name)
    shutil.rmtree(empty.root / "uploads")
    delete_run(empty, run)
    assert runs_by_source(empty) == {}


def test_the_page_shows_uploads_and_deletes_them(shown: Store) -> None:
    assert "Uploaded images" not in words(opened("app.py"))
    unused, used = (unpack_upload(zipped(birds(prefix)), shown.root) for prefix in ("a/", "b/"))
    run = begun(shown, data=used)
    app = opened("app.py")
    text = words(app)
    assert "Uploaded images" in text
    assert text.count("10 images: auk, owl") == 2
    assert f"used by {run}" in text
    assert "used by no run" in text
    app.button(key=f"delete_{unused.replace(':', '_')}").click().run()
    assert not app.exception
    assert [upload.name for upload in list_uploads(shown.root)] == [used]
    assert "The 10 uploaded images" in words(app)
    app.button(key=f"delete_{run}").click().run()
    assert not app.exception
    assert list_uploads(shown.root) == []
    assert "Uploaded images" not in words(app)


def test_a_waiting_jobs_images_are_at_work(shown: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = unpack_upload(zipped(birds()), shown.root)
    done: list[bool] = []
    monkeypatch.setattr(JobManager, "_run", lambda *_: wait_for(lambda: done) and JobState.FINISHED)
    jobs().submit(RunTask(RunRequest(data=name, config=PRESETS["quick"])))
    assert name in sources_at_work()
    done.append(True)
    wait_for(lambda: not sources_at_work())
    jobs().close()
