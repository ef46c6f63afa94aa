"""Targets that cannot be, disks that fail, proofs that fail: one sentence, and nothing left that looks whole."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from snapvit.artifacts import Floors, Scores
from snapvit.elastic.ranking import cut_at, rank
from snapvit.elastic.vit import ElasticViT
from snapvit.errors import Cancelled, InputError
from snapvit.export import extras, formats, hand_over, target
from snapvit.export.drafts import Draft, Origin, draft_cut, draft_elastic
from snapvit.export.proof import Proof, ProofFailed


@pytest.fixture(scope="module")
def drafts(bundled) -> dict[str, Draft]:
    """A hard cut of the bundled model, and the same model elastic."""
    topology, origin = bundled.anatomy.topology, Origin.of(bundled)
    rng = np.random.default_rng(0)
    shape = topology.blocks, topology.hidden
    ranking = rank(Scores(rng.random(shape), rng.random((topology.blocks, topology.heads))), Floors())
    images = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    orders = ranking.neuron_order(), ranking.head_order()
    with ElasticViT(bundled.model, bundled.anatomy, *orders) as elastic:
        cut = draft_cut(elastic, cut_at(ranking, 0.95, 0.8), origin, images)
        return {"cut": cut, "elastic": draft_elastic(elastic, ranking, origin, images)}


@pytest.fixture
def draft(drafts) -> Draft:
    return drafts["cut"]


@pytest.fixture
def believed(monkeypatch):
    """No fresh process is asked: these tests are of what happens around it."""

    def prove(trials, *_):
        return [Proof(3, 0.0, trial.sample.params, 4 * trial.sample.params, None) for trial in trials]

    monkeypatch.setattr(hand_over, "prove", prove)


def nothing_but(folder: Path, *names: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_an_empty_folder_is_filled(draft, tmp_path, believed):
    place = tmp_path / "empty"
    place.mkdir()
    hand_over.hand_over(draft, place)
    assert (place / "model.safetensors").is_file()
    assert nothing_but(tmp_path, "empty")


def full(place: Path) -> None:
    place.mkdir()
    (place / "thesis.tex").write_text("all of it")


def link(place: Path) -> None:
    place.symlink_to(place.with_name("elsewhere"))


def link_to_a_folder(place: Path) -> None:
    place.with_name("elsewhere").mkdir()
    link(place)


TARGETS = {
    "full": (full, "is not empty \\(it holds thesis.tex\\)"),
    "a file": (lambda place: place.write_text("mine"), "is no folder"),
    "a pipe": (os.mkfifo, "is no folder"),
    "a link to nothing": (link, "is a link"),
    "a link to a folder": (link_to_a_folder, "is a link"),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_a_target_that_cannot_be_is_left_as_it_is(draft, tmp_path, kind, believed):
    make, sentence = TARGETS[kind]
    place = tmp_path / "out"
    make(place)
    before = sorted(os.walk(tmp_path))
    with pytest.raises(InputError, match=sentence) as refused:
        hand_over.hand_over(draft, place)
    assert str(place) in str(refused.value)
    assert sorted(os.walk(tmp_path)) == before


def test_a_target_below_a_file_is_named(draft, tmp_path, believed):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        hand_over.hand_over(draft, tmp_path / "file" / "out")
    assert nothing_but(tmp_path, "file")


def test_too_little_space_is_said_before_anything_is_written(draft, tmp_path, monkeypatch, believed):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(target.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    monkeypatch.setattr(hand_over, "save_file", lambda *_, **__: pytest.fail("it was written"))
    with pytest.raises(InputError, match=r"takes about [\d.]+ MB and .* has 1.00 MB left"):
        hand_over.hand_over(draft, tmp_path / "out")
    assert nothing_but(tmp_path)


FAILURES = {
    "no space left": (OSError(errno.ENOSPC, "No space left on device"), InputError, "No space left on device"),
    "no space left, in Rust": (SafetensorError("I/O error: No space left"), InputError, "No space left"),
    "interrupted": (KeyboardInterrupt(), KeyboardInterrupt, None),
    "cancelled": (Cancelled(), Cancelled, None),
}


@pytest.mark.parametrize("when", ["model.safetensors", "load.py", "README.md"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_write_that_ends_early_leaves_nothing(draft, tmp_path, monkeypatch, believed, failure, when):
    raised, seen, sentence = FAILURES[failure]
    write = Path.write_text

    def save(tensors, path, **_):
        Path(path).write_bytes(b"half of it")
        if when == "model.safetensors":
            raise raised

    def write_text(path, *args, **kwargs):
        write(path, *args, **kwargs)
        if path.name == when:
            raise raised

    monkeypatch.setattr(hand_over, "save_file", save)
    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(seen, match=sentence):
        hand_over.hand_over(draft, tmp_path / "out")
    assert nothing_but(tmp_path)


def test_what_a_kill_left_goes_with_a_later_export(draft, tmp_path, believed):
    """A young one may be another process's work."""
    for name, age in (("old", 2 * target.STALE_SECONDS), ("young", 0)):
        part = tmp_path / f".out.{name}.part"
        (part / "export").mkdir(parents=True)
        os.utime(part, (time.time() - age,) * 2)
    hand_over.hand_over(draft, tmp_path / "out")
    assert nothing_but(tmp_path, "out", ".out.young.part")


def broken_proof(draft: Draft, monkeypatch, change) -> None:
    """The folder is written whole, and then one of its files changed before anybody proves it."""
    write = hand_over.write_files

    def write_and_change(of: Draft, folder: Path) -> None:
        write(of, folder)
        change(folder)

    monkeypatch.setattr(hand_over, "write_files", write_and_change)


def shifted(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["blocks.3.mlp.fc2.bias"][0] += 0.01
    save_file(tensors, folder / "model.safetensors")


def padded(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["blocks.3.mlp.fc2.spare"] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors")


def asks_for_us(folder: Path) -> None:
    script = folder / "load.py"
    script.write_text(f"import snapvit.errors\n{script.read_text()}")


BROKEN = {
    "other numbers": (shifted, r"embedding of the held-out images that lie .* off"),
    "more parameters": (padded, r"parameters, the elastic model"),
    "needs this package": (asks_for_us, r"knows only torch and timm cannot load it \(ModuleNotFoundError"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_failed_proof_says_what_differs_and_hands_nothing_over(draft, tmp_path, monkeypatch, fault):
    change, sentence = BROKEN[fault]
    broken_proof(draft, monkeypatch, change)
    with pytest.raises(ProofFailed, match=sentence):
        hand_over.hand_over(draft, tmp_path / "out", seconds=0)
    assert nothing_but(tmp_path)


def test_a_request_to_stop_ends_the_fresh_process(draft, tmp_path):
    asked = []

    def check() -> None:
        asked.append(time.monotonic())
        if len(asked) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        hand_over.hand_over(draft, tmp_path / "out", check=check)
    assert nothing_but(tmp_path)


def test_unknown_formats_are_named(draft, tmp_path):
    with pytest.raises(InputError, match="'tflite' is not known; there are safetensors, onnx, program"):
        hand_over.hand_over(draft, tmp_path / "out", ["safetensors", "tflite"])


def test_an_elastic_export_is_no_program(drafts, tmp_path):
    with pytest.raises(InputError, match="has no one shape"):
        hand_over.hand_over(drafts["elastic"], tmp_path / "out", ["program"])


def test_missing_onnx_is_said_with_what_to_install(draft, tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(InputError, match=r"onnxruntime, which is not installed; .*requirements-export\.txt"):
        hand_over.hand_over(draft, tmp_path / "out", ["onnx"])
    assert nothing_but(tmp_path)


def test_a_model_that_torch_cannot_export_is_one_sentence(draft, tmp_path, monkeypatch, believed):
    def fail(*_, **__):
        raise RuntimeError("found no way\nand a page more")

    monkeypatch.setattr(formats.torch.export, "export", fail)
    with pytest.raises(InputError, match=r"cannot write model\.pt2 of this model \(RuntimeError: found no way\)"):
        hand_over.hand_over(draft, tmp_path / "out", ["program"])
    assert nothing_but(tmp_path)
