"""Names that people write: paths, shares and runs mean one thing, from every folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import Cli

from snapvit.data.torchvision_sets import data_root
from snapvit.models.catalogue import models_folder
from snapvit.models.spec import ModelSpec
from snapvit.paths import absolute, share
from snapvit.pipeline.request import make_request
from snapvit.store.store import Store


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `~` means, while the process stands in another."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.mark.parametrize(
    "written",
    ["~/a b", "../a b", "'~/a b'", '"../a b"', "../a b/", " ../a b ", "{}/a b", "file://{}/a%20b", "../x/../a b"],
)
def test_the_ways_to_write_a_path_are_one_path(home, written):
    path = home / "a b"
    written = written.format(home)
    assert absolute(written) == path
    assert Store(written).root == path
    own, other = (make_request(ModelSpec("test_vit", text)) for text in (written, str(path)))
    assert own.run == other.run
    assert make_request(data=f"folder:{written}").data == f"folder:{path}"


def test_no_folder_is_called_tilde(home, monkeypatch):
    for name, found in (("SNAPVIT_CACHE", lambda: Store().root), ("SNAPVIT_MODELS", models_folder)):
        monkeypatch.setenv(name, "~/x")
        assert found() == home / "x"
    monkeypatch.setenv("SNAPVIT_DATA", "~/x")
    assert data_root() == home / "x"


@pytest.mark.parametrize(
    ("written", "number"), [("0.35", 0.35), ("35%", 0.35), ("35 %", 0.35), ("0,35", 0.35), ("12,5%", 0.125), ("0", 0.0)]
)
def test_the_ways_to_write_a_share_are_one_number(written, number):
    assert share(written) == number


@pytest.mark.parametrize("written", ["", "%", "a third", "1.2.3", "0x1"])
def test_what_is_no_share_is_told_how_to_write_one(written):
    with pytest.raises(ValueError, match="is no number; write a share as"):
        share(written)


def test_a_share_may_be_written_as_percent(command, small_request):
    plain, percent = (
        command.json("ranking", small_request.run, "--mlp", mlp, "--heads", heads)[0]
        for mlp, heads in (("0.35", "0.2"), ("35%", "0,2"))
    )
    assert plain == percent


def test_no_share_ends_in_a_sentence(command, small_request, capsys):
    with pytest.raises(SystemExit) as ended:
        command("ranking", small_request.run, "--mlp", "much", "--heads", "0")
    assert ended.value.code == 2
    assert "'much' is no number; write a share as" in capsys.readouterr().err


def test_a_run_may_be_named_by_its_folder(command, small_request, monkeypatch):
    monkeypatch.chdir(command.cache.parent)
    run = small_request.run
    for written in (run, f"{run}/", f"cache/{run}", f"./cache/{run}/", str(command.cache / run), f"'{run}'"):
        content, problems = command.json("ranking", written, "--mlp", "0.3", "--heads", "0.1")
        assert content["run"] == run
        assert problems == ""


def test_a_run_of_another_cache_is_named_so(command, small_request, tmp_path, capsys):
    other = shutil.copytree(command.cache, tmp_path / "other")
    code, _, err = Cli(capsys, tmp_path / "empty")(
        "evaluate", str(other / small_request.run), "--mlp", "0", "--heads", "0"
    )
    assert code == 2
    assert f"name its own with --cache {other}" in err
