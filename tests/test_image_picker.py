"""The choice of images on the Run page, and the pages of a run whose images have no labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from image_samples import write_classes, write_images
from streamlit.testing.v1 import AppTest
from test_pages import opened, words
from test_uploads import birds, zipped

from snapvit.browser.live_sparsity.of_run import live_data
from snapvit.data import files, folder_index, torchvision_sets
from snapvit.pipeline.config import PRESETS, RunRequest, path_pair, with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.store.store import Store
from snapvit.ui.resources import jobs
from snapvit.ui.run import image_picker


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SNAPVIT_CACHE", str(tmp_path / "cache"))
    st.cache_resource.clear()
    yield tmp_path / "cache"
    st.cache_resource.clear()


def chosen(kind: str) -> AppTest:
    app = opened("app.py")
    app.selectbox(key="image_kind").set_value(kind).run()
    assert not app.exception
    return app


def folder(path: Path | str) -> AppTest:
    app = chosen("folder:")
    app.text_input(key="image_folder").set_value(str(path)).run()
    assert not app.exception
    return app


def tables(app: AppTest) -> list[list[list]]:
    return [element.value.values.tolist() for element in app.dataframe]


def test_a_folder_is_checked_on_the_spot(tmp_path):
    root = write_classes(tmp_path / "birds", {"auk": 40, "owl": 10})
    (root / "owl" / "bad.png").write_text("text")
    app = folder(root)
    assert "**50 images of 2 classes**; 1 left out" in words(app)
    left_out, split = tables(app)
    assert left_out == [["owl/bad.png", "it is not an image"]]
    assert split == [["auk", 8, 24, 8, 40], ["owl", 2, 6, 2, 10]]
    assert "10 calibration and search, 30 gallery, 10 queries" in words(app)
    assert not app.error
    assert app.button(key="start").disabled is False


def test_a_folder_is_read_again_when_asked(tmp_path):
    root = write_images(tmp_path / "flat", 6)
    app = folder(root)
    assert "**6 images without labels**" in words(app)
    assert "The images have no labels, so there will be no k-NN accuracy" in words(app)
    write_images(root, 9)
    app.run()
    assert "**6 images" in words(app)
    app.button(key="read_again").click().run()
    assert "**9 images" in words(app)
    assert tables(app) == [[["all, without labels", 7, 0, 2, 9]]]


def test_a_large_folder_is_not_looked_at_file_by_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "WHOLE", 9)
    monkeypatch.setattr(image_picker, "FEW_CLASSES", 2)
    root = write_classes(tmp_path / "birds", {"auk": 10, "owl": 10, "wren": 10})
    for name in ("auk/00.png", "owl/07.png"):
        (root / name).write_text("text")
    app = folder(root)
    text = words(app)
    assert "**30 images of 3 classes**" in text
    assert "So many files are not looked at one by one before they are used" in text
    assert "6 calibration and search" not in text
    assert app.dataframe.len == 0  # the table by class comes when it is asked for
    source = image_picker.image_source(f"folder:{root}")
    assert [s.file for s in source.skipped] == ["auk/00.png"]  # which would have been an example
    app.run()
    assert tables(app) == [[["auk/00.png", "it is not an image"]]]


def test_of_very_many_files_that_are_left_out_the_first_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(image_picker, "SHOWN_LEFT_OUT", 3)
    root = write_images(tmp_path / "flat", 6)
    for i in range(5):
        (root / f"{i}.xml").touch()
    app = folder(root)
    assert tables(app)[0] == [[f"{i}.xml", "its name does not end like an image's"] for i in range(3)]
    assert "The first 3 of 5." in words(app)


def test_reading_again_asks_the_disk_for_every_name(tmp_path, monkeypatch):
    """Where a disk does not say of a folder that it changed, as some networks' do not."""
    root = write_images(tmp_path / "flat", 6)
    monkeypatch.setattr(folder_index, "_stamp", lambda status: (status.st_ino, 1, 1))
    app = folder(root)
    write_images(root, 9)
    image_picker.forget_images()
    app.run()
    assert "**6 images" in words(app)
    app.button(key="read_again").click().run()
    assert "**9 images" in words(app)


def test_until_there_is_a_folder_nothing_can_start(tmp_path):
    app = chosen("folder:")
    assert app.button(key="start").disabled is True
    assert not app.error
    for path, told in (
        (tmp_path / "nowhere", "does not exist"),
        (write_images(tmp_path / "few", 3), "at least 5 are needed"),
        (write_classes(tmp_path / "odd", {"auk": 9, "owl": 2}), "'owl' (2)"),
    ):
        app.text_input(key="image_folder").set_value(str(path)).run()
        assert not app.exception
        assert told in "\n".join(error.value for error in app.error)
        assert app.button(key="start").disabled is True
    app.text_input(key="image_folder").set_value(str(write_images(tmp_path / "enough", 5))).run()
    assert not app.error
    assert app.button(key="start").disabled is False


def test_start_asks_for_a_run_on_the_folder(tmp_path):
    root = write_images(tmp_path / "flat", 6)
    app = folder(root)
    app.button(key="start").click().run()
    (job,) = jobs().snapshots()
    assert job.task.request.data == f"folder:{root}"
    jobs().close()


def test_a_zip_is_unpacked_and_described(cache):
    app = chosen("upload:")
    assert app.button(key="start").disabled is True
    app.file_uploader(key="image_zip").set_value(("birds.zip", zipped(birds()), "application/zip")).run()
    assert not app.exception
    assert "**10 images of 2 classes**" in words(app)
    assert app.button(key="start").disabled is False
    assert len(list((cache / "uploads").iterdir())) == 1


def test_a_zip_that_leads_out_is_refused_calmly(cache):
    app = chosen("upload:")
    evil = zipped(birds() | {"../evil.png": b"x"})
    app.file_uploader(key="image_zip").set_value(("evil.zip", evil, "application/zip")).run()
    assert not app.exception
    assert any("leads out of it" in error.value for error in app.error)
    assert app.button(key="start").disabled is True


def test_a_public_set_says_where_it_comes_from_and_can_be_looked_into(tmp_path, monkeypatch):
    monkeypatch.setenv("SNAPVIT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(torchvision_sets, "_answers", lambda host: False)
    app = chosen("torchvision:")
    assert "10,000 images of 10 classes (test split)" in words(app)
    assert "www.cs.toronto.edu" in words(app)
    assert app.button(key="start").disabled is False
    app.button(key="look_into").click().run()
    assert not app.exception
    assert any("CIFAR-10 is not in" in error.value for error in app.error)


def test_the_bundled_split_waits_until_it_is_asked_for():
    app = opened("app.py")
    assert app.dataframe.len == 0
    assert app.button(key="start").disabled is False


@pytest.fixture
def unlabelled(tmp_path: Path, cache: Path, small_settings: tuple[str, ...]) -> str:
    root = write_images(tmp_path / "flat", 30)
    request = RunRequest(data=f"folder:{root}", config=with_settings(PRESETS["quick"], list(small_settings)))
    run_pipeline(request, Store(cache), Reporter())
    return request.run


def test_a_run_without_labels_shows_the_cosine(unlabelled, cache):
    app = opened("pages/sparsity.py", s="0.475")
    assert not app.exception
    assert "The images have no labels, so k-NN has no accuracy to give" in words(app)
    assert "Measured: no accuracy (The images have no labels)" in words(app)
    results = load_results(Store(cache), unlabelled)
    live = live_data(results)
    assert live.accuracy_missing == "The images have no labels"
    assert live.chance is None
    assert [p.sparsity for p in live.points] == [0.0, 0.475, 0.95]
    for point in live.points:
        assert point.cosine == results.measurements.find(*path_pair(point.sparsity)).cosine
        assert (point.top1, point.low, point.high) == (None, None, None)


def test_other_pages_of_a_run_without_labels(unlabelled):
    assert opened("pages/heads.py").get("plotly_chart")
    text = words(opened("app.py"))
    assert "The images have no labels, so k-NN has no accuracy to give" in text
    assert "Some cuts in numbers" not in text
    assert "flat" in text
