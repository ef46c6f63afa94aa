"""Runs on people's own images, through the command line: with labels, without, of one class, of few images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_samples import packed, write_classes, write_images
from PIL import Image
from test_uploads import birds, zipped

from snapvit import cli
from snapvit.data import pixels
from snapvit.data.archive import unpack_upload
from snapvit.errors import InputError
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.measure import measure_cut
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.store.store import Store


def write_stripes(root: Path, count: int, size: int = 40) -> Path:
    """Two classes that any embedding can tell apart: stripes across and stripes down, at random brightness."""
    rng = np.random.default_rng(0)
    for name in ("across", "down"):
        (root / name).mkdir(parents=True)
        for i in range(count):
            stripes = np.tile(rng.integers(0, 256, (5, 1, 1)), (1, 5, 3)).astype(np.uint8)
            image = Image.fromarray(stripes if name == "across" else stripes.transpose(1, 0, 2).copy())
            large = image.resize((size, size), Image.Resampling.NEAREST)
            (root / name / f"{i:02}.png").write_bytes(packed(large, "PNG"))
    return root


@pytest.fixture
def command(capsys: pytest.CaptureFixture, tmp_path: Path, small_settings: tuple[str, ...]) -> Callable[..., tuple]:
    """Runs a command on a cache of the test's own: its exit code, output and messages; `run` with small settings."""

    def call(name: str, *args: str) -> tuple[int, str, str]:
        settings = [part for s in small_settings for part in ("--set", s)] if name == "run" else []
        capsys.readouterr()
        code = cli.main([name, *settings, *args, "--cache", str(tmp_path / "cache")])
        return code, *capsys.readouterr()

    return call


def test_a_labelled_folder_is_measured(command, tmp_path):
    root = write_stripes(tmp_path / "stripes", 30)
    (root / "down" / "bad.jpg").write_text("text")
    (root / "down" / "more.txt").write_text("text")
    code, out, err = command("run", "--data", f"folder:{root}", "--json")
    assert code == 0, err
    content = json.loads(out)
    assert (content["data"], content["state"]) == (f"folder:{root}", "finished")
    first = content["measured"][0]
    assert (first["gallery"], first["queries"], first["k"]) == (36, 12, 5)
    assert first["top1"] > 0.9
    assert first["cosine"] == pytest.approx(1, abs=1e-5)
    assert "down/bad.jpg is left out: it is not an image" in err
    assert "down/more.txt is left out" in err
    facts = load_results(Store(tmp_path / "cache"), content["run"]).facts
    assert facts.classes == ("across", "down")


def test_a_copy_of_the_folder_takes_what_is_computed(command, tmp_path, monkeypatch):
    root = write_stripes(tmp_path / "stripes", 15)
    code, out, err = command("run", "--data", f"folder:{root}", "--json")
    assert code == 0, err
    shutil.copytree(root, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    code, again, err = command("run", "--data", "folder:copy", "--json")
    assert code == 0, err
    assert "curvature is in the cache" in err
    assert "evaluation is in the cache" in err
    first, second = json.loads(out), json.loads(again)
    assert second["data"] == f"folder:{tmp_path}/copy"
    assert second["measured"] == first["measured"]


UNMEASURED = {
    "no labels": (lambda root: write_images(root, 30), (), "The images have no labels", (0, 6)),
    "one class": (lambda root: write_classes(root, {"auk": 30}), (), "All images are of one class", (18, 6)),
    "few images": (
        lambda root: write_classes(root, {"auk": 5, "owl": 5}),
        ("--set", "evaluation.k=7"),
        "The gallery has 6 images, fewer than the k = 7 neighbours that vote",
        (6, 2),
    ),
}


@pytest.mark.parametrize("kind", UNMEASURED)
def test_without_an_accuracy_the_cosine_is_measured_and_the_reason_said(command, tmp_path, kind):
    write, settings, reason, counts = UNMEASURED[kind]
    root = write(tmp_path / "images")
    code, out, err = command("run", "--data", f"folder:{root}", *settings, "--json")
    assert code == 0, err
    content = json.loads(out)
    assert content["state"] == "finished"
    assert f"{reason}, so cosine to the full model is measured, no accuracy" in err
    assert [row["top1"] for row in content["measured"]] == [None] * 3
    assert [row["interval"] for row in content["measured"]] == [None] * 3
    assert content["measured"][0]["cosine"] == pytest.approx(1, abs=1e-5)
    assert content["measured"][2]["cosine"] < 0.9
    assert (content["measured"][0]["gallery"], content["measured"][0]["queries"]) == counts
    code, out, err = command("evaluate", content["run"], "--mlp", "0.2", "--heads", "0.1")
    assert code == 0, err
    assert f"no accuracy ({reason}), cosine 0." in out
    assert "top-1" not in out


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda root: write_images(root, 4), "4 usable images; at least 5 are needed"),
        (lambda root: write_classes(root, {"auk": 9, "owl": 3}), "'owl' (3); each class needs at least 5"),
        (lambda root: None, "does not exist"),
    ],
)
def test_images_that_do_not_suffice_are_refused_in_a_sentence(command, tmp_path, write, told):
    write(tmp_path / "images")
    code, out, err = command("run", "--data", f"folder:{tmp_path / 'images'}")
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1
    assert json.loads(command("runs", "--json")[1]) == {"runs": []}


def test_a_folder_that_changed_is_not_measured_with_the_old_ranking(command, tmp_path):
    root = write_images(tmp_path / "images", 20)
    run = json.loads(command("run", "--data", f"folder:{root}", "--json")[1])["run"]
    (root / "05.png").write_bytes((root / "06.png").read_bytes())
    code, _, err = command("evaluate", run, "--mlp", "0.2", "--heads", "0.1")
    assert code == 2
    assert f"images of run {run} changed" in err


def small(data: str, settings: tuple[str, ...], *more: str) -> RunRequest:
    return RunRequest(data=data, config=with_settings(PRESETS["quick"], [*settings, *more]))


def test_an_upload_belongs_to_its_cache(tmp_path, small_settings):
    store = Store(tmp_path / "cache")
    request = small(unpack_upload(zipped(birds()), store.root), small_settings)
    run_pipeline(request, store, Reporter())
    assert measure_cut(store, request.run, 0.3, 0.2, Reporter()).gallery == 6
    with pytest.raises(InputError, match="upload the zip again"):
        run_pipeline(request, Store(tmp_path / "other"), Reporter())


def test_numbers_do_not_depend_on_whether_pixels_are_held(tmp_path, small_settings, monkeypatch):
    root = write_stripes(tmp_path / "stripes", 15)
    request = small(f"folder:{root}", small_settings)
    tables = []
    for name, held in (("held", pixels.HELD_BYTES), ("mapped", 0)):
        monkeypatch.setattr(pixels, "HELD_BYTES", held)
        workspace = run_pipeline(request, Store(tmp_path / name), Reporter())
        assert (workspace.table("queries").pixels is None) == (name == "mapped")
        assert bool(list((tmp_path / name).glob("pixels/*"))) == (name == "mapped")
        results = load_results(Store(tmp_path / name), request.run)
        tables.append((results.measurements, results.search, results.cka))
    (a, search_a, cka_a), (b, search_b, cka_b) = tables
    np.testing.assert_array_equal(a.answers, b.answers)
    np.testing.assert_array_equal(a.cosine, b.cosine)
    np.testing.assert_array_equal(search_a.factors, search_b.factors)
    np.testing.assert_array_equal(cka_a.values, cka_b.values)
