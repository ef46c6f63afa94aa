"""Checkpoint files and folders: taken by what they hold, and named as what they are where that is no weights."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from loading_checks import refused, weights_of
from safetensors.torch import save_file
from torch import Tensor, nn

from snapvit.models.loading import load_model, weights_digest
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.request import make_request

SIZE = 32  # pixels


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model("test_vit", img_size=SIZE).eval()


def spec_of(path: Path, name: str = "test_vit") -> ModelSpec:
    return ModelSpec(name, str(path), image_size=SIZE)


def archive_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, "x")
    return buffer.getvalue()


FOREIGN = {
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 343213048\n",
    "a web page (HTML)": b"\n <!DOCTYPE html><html><head><title>404</title></head></html>",
    "is empty": b"",
    "NumPy archive": archive_of("embedding.npy"),
    "TorchScript": archive_of("model/constants.pkl"),
    "zip archive": archive_of("a.txt"),
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "gzip": b"\x1f\x8b\x08" + bytes(20),
    "cut short": b"PK\x03\x04" + bytes(300),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pth"])
@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_in_the_place_of_weights_is_named_as_what_it_is(tmp_path, what, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(FOREIGN[what])
    refused(spec_of(path), path.name, what)


@pytest.mark.parametrize("write", [torch.save, save_file])
@pytest.mark.parametrize("name", ["mine.ckpt", "model_best.pth.tar", "MINE.PTH", "mine.safetensors", "mine"])
def test_the_ending_of_a_file_decides_nothing(tmp_path, vit, name, write):
    write(weights_of(vit), tmp_path / name)
    loaded = load_model(spec_of(tmp_path / name))
    assert loaded.digest == weights_digest(vit)
    misnamed = name != "mine" and (write is torch.save) == (name == "mine.safetensors")
    assert ["whatever its name ends in" in note for note in loaded.notes] == [True] * misnamed


NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "float16": lambda t: t.half(),
    "bfloat16": lambda t: t.bfloat16(),
    "float64": lambda t: t.double(),
    "float8_e4m3fn": lambda t: t.to(torch.float8_e4m3fn),
    "float8_e5m2": lambda t: t.to(torch.float8_e5m2),
    "sparse": lambda t: t.to_sparse(),
    "quantised": lambda t: torch.quantize_per_tensor(t, 0.01, 0, torch.qint8),
}
NAME = "blocks.1.mlp.fc1.weight"


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_another_type_are_converted_exactly(tmp_path, vit, kind):
    told = NUMBERS[kind](weights_of(vit)[NAME])
    torch.save(weights_of(vit) | {NAME: told}, tmp_path / "mine.pth")
    found = load_model(spec_of(tmp_path / "mine.pth")).model.state_dict()[NAME]
    expected = told.dequantize() if told.is_quantized else told.to_dense() if told.is_sparse else told.float()
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.to(torch.int8), "whole numbers (int8)"),
        (lambda t: t.bool(), "whole numbers (bool)"),
        (lambda t: t.to(torch.complex64), "complex"),
        (lambda t: t.to("meta"), "meta"),
        (lambda t: t.double() + 1e300, "not finite in float32"),
    ],
    ids=["int8", "bool", "complex", "meta", "too large for float32"],
)
def test_numbers_that_are_no_weights_are_refused_by_name(tmp_path, vit, change, told):
    torch.save(weights_of(vit) | {NAME: change(weights_of(vit)[NAME])}, tmp_path / "mine.pth")
    refused(spec_of(tmp_path / "mine.pth"), told, NAME)


def in_parts(folder: Path, weights: dict[str, Tensor]) -> Path:
    """The index of a checkpoint in two files, as hubs write it."""
    folder.mkdir(exist_ok=True)
    names, files = sorted(weights), [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    halves = dict(zip(files, (names[: len(names) // 2], names[len(names) // 2 :]), strict=True))
    for file, half in halves.items():
        save_file({name: weights[name] for name in half}, folder / file)
    listed = {name: file for file, half in halves.items() for name in half}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": listed}))
    return index


def test_a_checkpoint_in_parts_is_read_whole(tmp_path, vit):
    index = in_parts(tmp_path / "model", weights_of(vit))
    for path in (index, index.parent):
        assert load_model(spec_of(path)).digest == weights_digest(vit)
    part = index.with_name("model-00001-of-00002.safetensors")
    refused(spec_of(part), "one part", "model.safetensors.index.json")
    part.unlink()
    refused(spec_of(index), part.name, "not there")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "lists no files"),
        ("{", "lists no files"),
        (json.dumps({"weight_map": {"a": "../x.safetensors"}}), "no file of its own folder"),
        (json.dumps({"weight_map": {"a": "/etc/passwd"}}), "no file of its own folder"),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(tmp_path, content, told):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    refused(spec_of(tmp_path), "model.safetensors.index.json", told)


CONFIG = {
    "architecture": "test_vit",
    "num_classes": 1000,
    "model_args": {"img_size": 64},
    "pretrained_cfg": {
        "input_size": [3, 64, 64],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "interpolation": "bilinear",
        "crop_pct": 0.8,
        "hf_hub_id": "x/y",
        "url": "https://example.invalid/",
    },
}


def hub_folder(path: Path, weights: dict[str, Tensor], config: object) -> Path:
    path.mkdir()
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_a_folder_in_timms_layout_says_what_it_is(tmp_path):
    with torch.random.fork_rng():
        source = timm.create_model("test_vit", img_size=64)
    folder = hub_folder(tmp_path / "mine", weights_of(source), CONFIG)
    request = make_request(ModelSpec(checkpoint=str(folder)))
    assert request.model.name == "test_vit"
    for spec in (request.model, ModelSpec(checkpoint=str(folder)), ModelSpec("test_vit", str(folder))):
        loaded = load_model(spec)
        assert loaded.digest == weights_digest(source)
        shown = loaded.preprocess
        assert (shown.size, shown.mean, shown.std) == ((64, 64), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert (shown.interpolation, shown.crop_share) == ("bilinear", 0.8)
    other = hub_folder(tmp_path / "other", weights_of(source), CONFIG | {"architecture": "vit_tiny_patch16_224"})
    assert load_model(ModelSpec("test_vit", str(other), image_size=64)).preprocess.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_args": {"depth": 1_000_000}}, "'depth'"),
        ({"model_args": {"img_size": 10**9}}, "img_size"),
        ({"pretrained_cfg": {"std": [0, 0.5, 0.5]}}, "std"),
        ({"pretrained_cfg": {"mean": [float("nan")] * 3}}, "mean"),
        ({"pretrained_cfg": {"input_size": [3, 10**6, 10**6]}}, "input_size"),
        ({"architecture": "hf-hub:x/y"}, "timm has no model named"),
        ({"architecture": "resnet10t"}, "ResNet"),
    ],
)
def test_a_config_that_cannot_be_is_refused(tmp_path, vit, change, told):
    folder = hub_folder(tmp_path / "mine", weights_of(vit), CONFIG | change)
    refused(ModelSpec(checkpoint=str(folder)), told)


def test_a_folder_with_several_checkpoints_asks_which(tmp_path, vit):
    for name in ("a.pth", "b.pth"):
        torch.save(weights_of(vit), tmp_path / name)
    refused(spec_of(tmp_path), "found: a.pth, b.pth")
    (tmp_path / "b.pth").unlink()
    assert load_model(spec_of(tmp_path)).digest == weights_digest(vit)


def test_weights_without_a_name_are_told_what_they_may_be(tmp_path):
    with torch.random.fork_rng():
        weights = timm.create_model("vit_tiny_patch16_224").state_dict()
    torch.save({"model": weights}, tmp_path / "mine.pth")
    refused(ModelSpec(checkpoint=str(tmp_path / "mine.pth")), "name a timm model", "vit_tiny_patch16_224")
