"""The Run page's model picker and estimate, without a browser: what is chosen, what is refused, what is foretold."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
import torch
from page_checks import as_read
from streamlit.testing.v1 import AppTest

from snapvit.models.loading import BUNDLED_CHECKPOINT
from snapvit.ui.resources import jobs

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty cache and a worker of the test's own."""
    monkeypatch.setenv("SNAPVIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SNAPVIT_MODELS", raising=False)
    st.cache_resource.clear()  # the caches of one process outlive a test
    yield
    jobs().close()
    st.cache_resource.clear()


def opened() -> AppTest:
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()


def choose(app: AppTest, kind: str) -> AppTest:
    app.selectbox(key="model_kind").set_value(kind)
    return app.run()


def errors(app: AppTest) -> str:
    return as_read("\n".join(error.value for error in app.error))


def test_the_bundled_model_is_chosen_first():
    app = opened()
    assert not app.exception
    assert app.selectbox(key="model_kind").value == "bundled"
    assert app.button(key="start").disabled is False
    assert app.button(key="estimate").disabled is False


def test_a_timm_name_of_the_list_can_be_chosen():
    app = choose(opened(), "timm")
    assert not app.exception
    names = app.selectbox(key="model_name_vit_small_patch16_224.dino")
    assert names.value == "vit_small_patch16_224.dino"
    assert any("SigLIP 2" in label for label in names.options)
    names.set_value("vit_base_patch16_siglip_224.v2_webli").run()
    assert not app.exception
    assert app.button(key="start").disabled is False


@pytest.mark.parametrize(
    ("path", "told"),
    [("{}/gone.pth", "gone.pth does not exist"), ("{}", "found: none"), ("{}/notes.txt", "neither a safe")],
)
def test_a_checkpoint_that_is_none_is_told_in_place(tmp_path, path, told):
    (tmp_path / "notes.txt").write_text("x")
    app = choose(opened(), "timm")
    app.text_input(key="checkpoint").set_value(path.format(tmp_path)).run()
    assert not app.exception
    assert told in errors(app)
    assert app.button(key="start").disabled is True
    app.text_input(key="checkpoint").set_value("").run()
    assert not errors(app)
    assert app.button(key="start").disabled is False


def test_an_image_size_beside_the_patch_is_told_in_place():
    app = choose(opened(), "timm")
    app.number_input(key="image_size").set_value(100).run()
    assert not app.exception
    assert "96 or 112" in errors(app)
    assert app.button(key="start").disabled is True
    app.number_input(key="image_size").set_value(112).run()
    assert not errors(app)
    assert app.button(key="start").disabled is False


def test_the_files_of_ones_own_folder_are_offered(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(BUNDLED_CHECKPOINT, folder / "fashion.safetensors")
    (folder / "deit_tiny_patch16_224.fb_in1k.pth").write_bytes(b"x")
    (folder / "mystery.pth").write_bytes(b"x")
    monkeypatch.setenv("SNAPVIT_MODELS", str(folder))
    app = opened()
    labels = app.selectbox(key="model_kind").options
    assert [label.split(" (")[0] for label in labels[1:-1]] == [
        "deit_tiny_patch16_224.fb_in1k.pth",
        "fashion.safetensors",
        "mystery.pth",
    ]
    assert "architecture to be named" in labels[3]
    choose(app, str(folder / "deit_tiny_patch16_224.fb_in1k.pth"))
    assert not app.exception
    assert app.selectbox(key="model_name_deit_tiny_patch16_224.fb_in1k").value == "deit_tiny_patch16_224.fb_in1k"
    choose(app, str(folder / "fashion.safetensors"))
    assert not app.exception
    assert app.button(key="start").disabled is False


def test_a_folder_that_is_none_leaves_the_rest_usable(tmp_path, monkeypatch):
    monkeypatch.setenv("SNAPVIT_MODELS", str(tmp_path / "gone"))
    app = opened()
    assert not app.exception
    assert "which is not a folder" in "\n".join(warning.value for warning in app.warning)
    assert app.button(key="start").disabled is False


def test_a_setting_that_cannot_be_is_told_before_start():
    app = opened()
    app.get_by_key("preset").set_value("custom").run()
    app.number_input(key="search.generations").set_value(0).run()
    assert not app.exception
    assert "search.generations is 0" in errors(app)
    assert app.button(key="start").disabled is True


def ended(app: AppTest) -> AppTest:
    """The page once the worker has nothing more to do."""
    deadline = time.monotonic() + 300
    while jobs().current() is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    return app.run()


def test_an_estimate_shows_sizes_memory_and_time(tmp_path):
    app = opened()
    app.button(key="estimate").click().run()
    assert not app.exception
    ended(app)
    assert not app.exception
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Parameters"] == "3.03 M"
    assert shown["Tokens an image"] == "17"
    number, unit = shown["Memory, about"].split()
    assert 0.2 < float(number) * {"MB": 1e-3, "GB": 1}[unit] < 20
    assert shown["Time, min:s"] != "0:00"
    assert not list((tmp_path / "cache").glob("*")), "an estimate stores nothing"
    app.number_input(key="seed").set_value(7).run()
    assert app.metric, "no seed costs more than another"
    app.get_by_key("preset").set_value("paper").run()
    assert not app.metric, "the estimate is of other settings"


def test_an_estimate_of_what_cannot_be_loaded_says_why(tmp_path):
    path = tmp_path / "mine.pth"
    torch.save({"weight": torch.zeros(2)}, path)
    app = choose(opened(), "timm")
    app.text_input(key="checkpoint").set_value(str(path)).run()
    app.button(key="estimate").click().run()
    ended(app)
    assert not app.exception
    assert "mine.pth does not fit the model" in errors(app)
    assert app.button(key="start").disabled is False
