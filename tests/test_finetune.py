"""Fine-tuning an exported cut towards the whole model's embeddings, and `export` and `finetune` on the command line."""

from __future__ import annotations

import json

import pytest
import torch
from image_samples import write_images
from safetensors.torch import load_file

import snapvit
from snapvit.data.sources import open_source
from snapvit.errors import Cancelled, InputError
from snapvit.export import hand_over
from snapvit.export.distil import Distillation
from snapvit.export.proof import Proof
from snapvit.models.embedding import embed
from snapvit.pipeline import finetuning
from snapvit.pipeline.exporting import export_run
from snapvit.pipeline.finetuning import Tuning, finetune
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import list_runs
from snapvit.store.store import Store

TUNING = Tuning(epochs=2, rate=3e-4, batch=8)  # 36 of 40 images: five steps an epoch


@pytest.fixture
def believed(monkeypatch):
    """No fresh process is asked; test_export asks one."""

    def prove(trials, *_):
        return [Proof(3, 0.0, trial.sample.params, 4 * trial.sample.params, None) for trial in trials]

    monkeypatch.setattr(hand_over, "prove", prove)


@pytest.fixture
def run(finished) -> str:
    return list_runs(finished)[0].run


@pytest.fixture
def export(finished, run, tmp_path, believed):
    """A cut of the small run's model."""
    return export_run(finished, run, (0.8, 0.65), tmp_path / "cut", ["safetensors"], Reporter()).folder


@pytest.fixture
def data(tmp_path) -> str:
    return f"folder:{write_images(tmp_path / 'pictures', 40)}"


def numbers(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


class StopsAfter(Reporter):
    """Asks for a stop after so many batches."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self._left = batches

    def advance(self, units: float) -> None:
        self._left -= 1
        if self._left == 0:
            self.cancel()
        super().advance(units)


def test_training_brings_the_cut_closer_and_is_told_in_the_new_export(finished, export, data, tmp_path):
    reporter = Reporter()
    tuned, exported = finetune(finished, export, data, tmp_path / "tuned", TUNING, reporter)
    assert tuned["images"] == 36 and tuned["held_out"] == 4
    assert tuned["cosine_after"] > tuned["cosine_before"] + 0.01
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (export, exported.folder))
    assert after["provenance"]["tuned"] == tuned
    assert after["kept_heads"] == before["kept_heads"] and after["data"] == before["data"]
    assert str(tmp_path) not in (exported.folder / "config.json").read_text(), "no place of this computer is told"
    assert f"{tuned['cosine_after']:.4f}" in (exported.folder / "README.md").read_text()
    images = torch.randn(2, 3, 28, 28)
    assert embed(snapvit.load_exported(exported.folder), images).isfinite().all()
    losses = [event.values["loss"] for event in reporter.events if event.kind == "loss"]
    assert len(losses) == 10 and losses[-1] < losses[0]
    assert reporter.progress.share == 1.0


@pytest.mark.parametrize("batches", [3, 5, 7], ids=lambda n: f"after {n} steps")
def test_a_training_that_was_stopped_goes_on_to_the_same_result(finished, export, data, tmp_path, batches):
    _, straight = finetune(finished, export, data, tmp_path / "straight", TUNING, Reporter())
    target = tmp_path / "target"
    with pytest.raises(Cancelled):
        finetune(finished, export, data, target, TUNING, StopsAfter(batches))
    checkpoint = tmp_path / "target.tuning.safetensors"
    assert checkpoint.is_file() and not target.exists()
    reporter = Reporter()
    finetune(finished, export, data, target, TUNING, reporter)
    assert f"going on after step {batches}" in [event.text for event in reporter.events]
    assert same(numbers(target), numbers(straight.folder))
    assert not checkpoint.exists()


@pytest.mark.parametrize("fault", ["of another training", "damaged"])
def test_a_checkpoint_that_does_not_fit_is_said_and_not_used(finished, export, data, tmp_path, fault):
    straight = finetune(finished, export, data, tmp_path / "straight", TUNING, Reporter())[1]
    target, checkpoint = tmp_path / "target", tmp_path / "target.tuning.safetensors"
    if fault == "damaged":
        checkpoint.write_bytes(b"no tensors")
    else:
        with pytest.raises(Cancelled):
            finetune(finished, export, data, target, Tuning(2, 1e-3, 8), StopsAfter(2))
        assert checkpoint.is_file()
    reporter = Reporter()
    finetune(finished, export, data, target, TUNING, reporter)
    assert any("begins anew" in event.text for event in reporter.events)
    assert same(numbers(target), numbers(straight.folder))


def test_a_kill_loses_no_more_than_was_not_saved(finished, export, data, tmp_path, monkeypatch):
    """What is raised in the middle of a step leaves the last whole checkpoint."""
    monkeypatch.setattr(finetuning, "SAVE_SECONDS", 0.0)
    step, count = torch.optim.Adam.step, 0

    def killed(self, *args, **kwargs):
        nonlocal count
        count += 1
        step(self, *args, **kwargs)
        if count == 4:
            raise KeyboardInterrupt

    target = tmp_path / "target"
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            finetune(finished, export, data, target, TUNING, Reporter())
    reporter = Reporter()
    finetune(finished, export, data, target, TUNING, reporter)
    assert "going on after step 3" in [event.text for event in reporter.events]
    straight = finetune(finished, export, data, tmp_path / "straight", TUNING, Reporter())[1]
    assert same(numbers(target), numbers(straight.folder))


def test_the_loss_is_the_squared_distance_as_a_share(make_vit, images):
    student, teacher = make_vit(seed=1).requires_grad_(True), make_vit(seed=2)
    made, wanted = embed(student, images).detach(), embed(teacher, images)
    work = Distillation(student, teacher, 1e-3, steps=4)
    assert work.step(images) == pytest.approx(float(((made - wanted) ** 2).sum() / (wanted**2).sum()), rel=1e-5)
    assert work.done == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ((0,), "number of epochs is 0"),
        ((1, 0.0), "learning rate is 0"),
        ((1, float("nan")), "rate is nan"),
        ((1, 1e-4, 0), "batch is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        Tuning(*settings)


def test_what_cannot_be_trained_is_named(finished, run, export, data, tmp_path):
    elastic = export_run(finished, run, None, tmp_path / "elastic", ["safetensors"], Reporter()).folder
    with pytest.raises(InputError, match="is elastic"):
        finetune(finished, elastic, data, tmp_path / "out", TUNING, Reporter())
    few = f"folder:{write_images(tmp_path / 'few', 9)}"
    with pytest.raises(InputError, match="9 images; fine-tuning needs at least 10"):
        finetune(finished, export, few, tmp_path / "out", TUNING, Reporter())
    with pytest.raises(InputError, match="There is no run named"):
        finetune(Store(tmp_path / "other"), export, data, tmp_path / "out", TUNING, Reporter())
    config = json.loads((export / "config.json").read_text())
    config["provenance"]["weights"] = "of another model"
    (export / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="changed since run"):
        finetune(finished, export, data, tmp_path / "out", TUNING, Reporter())
    assert not (tmp_path / "out").exists()


def test_every_image_is_trained_on_once_an_epoch(tmp_path):
    images = finetuning._Images.open(open_source(f"folder:{write_images(tmp_path / 'pictures', 23)}"), 0)
    assert sorted([*images.train, *images.held]) == list(range(23))
    assert len(images.held) == 3


def test_export_and_finetune_on_the_command_line(command, data, tmp_path):
    """Proven for real, by fresh processes."""
    run = command.json("runs")[0]["runs"][0]["run"]
    cut, tuned = tmp_path / "cut", tmp_path / "tuned"
    code, out, err = command("export", run, "--mlp", "0.9", "--heads", "0.75", "--out", str(cut))
    assert code == 0 and str(cut) in out and "fresh process" in err
    content, err = command.json(
        "finetune", str(cut), "--data", data, "--epochs", "2", "--rate", "3e-4", "--batch", "16", "--out", str(tuned)
    )
    assert content["cosine_after"] > content["cosine_before"]
    assert content["proofs"][0]["error"] <= 1e-5 and content["folder"] == str(tuned)
    assert "epochs: loss" in err
    code, _, err = command("export", run, "--mlp", "0.9", "--heads", "0.75", "--out", str(cut))
    assert code == 2 and "is not empty" in err


@pytest.mark.parametrize("given", [[], ["--mlp", "0.5"], ["--heads", "0.5"], ["--elastic", "--mlp", "0.5"]])
def test_what_to_export_must_be_clear(command, tmp_path, given):
    run = command.json("runs")[0]["runs"][0]["run"]
    code, _, err = command("export", run, *given, "--out", str(tmp_path / "out"))
    assert code == 2 and "--mlp and --heads together, or limits" in err
