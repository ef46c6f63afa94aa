"""The lists that the model picker offers: names that timm has weights of, and what files are thought to be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from snapvit.errors import InputError
from snapvit.models.catalogue import list_checkpoints, models_folder, timm_names
from snapvit.models.families import FAMILIES
from snapvit.models.loading import BUNDLED_CHECKPOINT


def test_every_name_of_the_list_has_pretrained_weights_in_timm():
    assert set(timm_names()) <= set(timm.list_pretrained())
    assert set(timm_names().values()) == {family.name for family in FAMILIES}


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("vit_small_patch16_224.dino.safetensors", "vit_small_patch16_224.dino"),
        ("vit_small_patch16_224_finetuned.pth", "vit_small_patch16_224"),
        ("vit_small_patch14_reg4_dinov2.lvd142m-cut.bin", "vit_small_patch14_reg4_dinov2.lvd142m"),
        ("deit_tiny_distilled_patch16_224.pt", "deit_tiny_distilled_patch16_224"),
        ("vit_small_patch16_2240.pth", None),
        ("mine.pth", None),
    ],
)
def test_a_file_name_tells_the_architecture(tmp_path, file, model):
    (tmp_path / file).write_bytes(b"nothing to read yet")
    (found,) = list_checkpoints(tmp_path)
    assert (found.path, found.size, found.model) == (tmp_path / file, 19, model)


def test_a_file_that_says_what_it_is_is_believed(tmp_path):
    shutil.copy(BUNDLED_CHECKPOINT, tmp_path / "deit_tiny_patch16_224.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors", {"architecture": "vit_tiny_patch16_224"})
    hub = tmp_path / "downloaded"
    hub.mkdir()
    save_file({"a": torch.zeros(2)}, hub / "model.safetensors")
    (hub / "config.json").write_text(json.dumps({"architecture": "deit_small_patch16_224"}))
    named = tmp_path / "vit_base_patch16_224.dino"
    named.mkdir()
    (named / "pytorch_model.bin").write_bytes(b"")
    (named / "config.json").write_text("[not json")
    assert {str(f.path.relative_to(tmp_path)): f.model for f in list_checkpoints(tmp_path)} == {
        "deit_tiny_patch16_224.safetensors": "bundled",
        "downloaded/model.safetensors": "deit_small_patch16_224",
        "vit_base_patch16_224.dino/pytorch_model.bin": "vit_base_patch16_224.dino",
        "x.safetensors": "vit_tiny_patch16_224",
    }


def test_a_checkpoint_in_parts_is_offered_once(tmp_path):
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "MINE.PTH", "a.ckpt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    (tmp_path / "other.index.json").write_text("{}")
    assert [f.path.name for f in list_checkpoints(tmp_path)] == ["MINE.PTH", "a.ckpt", "model.safetensors.index.json"]


def test_other_files_and_deeper_folders_are_passed_over(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "deep.pth").write_bytes(b"x")
    assert list_checkpoints(tmp_path) == []


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(InputError, match=r"SNAPVIT_MODELS names .*gone, which is not a folder"):
        list_checkpoints(tmp_path / "gone")


def test_the_environment_names_the_folder(monkeypatch):
    monkeypatch.delenv("SNAPVIT_MODELS", raising=False)
    assert models_folder() is None
    monkeypatch.setenv("SNAPVIT_MODELS", "~/models")
    assert models_folder() == Path.home() / "models"
