"""Loading: the bundled model is what it says, and every bad checkpoint is answered in one sentence and runs nothing."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from snapvit.data.fashion_mnist import FASHION_MNIST
from snapvit.errors import InputError
from snapvit.models.embedding import normalise_pixels
from snapvit.models.loading import BUNDLED_CHECKPOINT, load_model, weights_digest
from snapvit.models.spec import ModelSpec

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}
METADATA = {"config": json.dumps(TINY), "mean": "0.25", "std": "0.5"}


def refused(spec: ModelSpec, *told: str) -> str:
    """The sentence with which `spec` is refused; it must hold every one of `told`."""
    with pytest.raises(InputError) as caught:
        load_model(spec)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    for part in told:
        assert part in message, message
    return message


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def saved(path: Path, weights: dict[str, Tensor], metadata: dict[str, str] | None = None) -> str:
    save_file(weights, path, metadata)
    return str(path)


def test_bundled_model_is_a_plain_frozen_vision_transformer(bundled):
    model = bundled.model
    assert type(model) is VisionTransformer
    assert not model.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in model.parameters())
    t = bundled.anatomy.topology
    assert (t.blocks, t.heads, t.hidden, t.width, t.head_width, t.tokens) == (12, 6, 576, 144, 24, 17)
    assert bundled.preprocess.size == (28, 28)
    assert bundled.label == "bundled"


def test_bundled_weights_are_those_of_the_file(bundled):
    own = bundled.model.state_dict()
    with safe_open(BUNDLED_CHECKPOINT, framework="pt") as file:
        assert set(file.keys()) == set(own)
        for name in file.keys():  # noqa: SIM118 not a dict
            assert torch.equal(own[name], file.get_tensor(name).float()), name


def test_bundled_model_names_the_test_images(bundled):
    """Pixels, normalisation, weights and the order of classes belong together."""
    images, labels = (
        np.frombuffer(gzip.decompress((FASHION_MNIST / f"t10k-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    pixels = torch.from_numpy(images[: 400 * 784].reshape(400, 1, 28, 28).copy()).expand(-1, 3, -1, -1)
    with torch.inference_mode():
        named = bundled.model(normalise_pixels(pixels, bundled.preprocess)).argmax(dim=1).numpy()
    assert (named == labels[:400]).mean() > 0.85


def test_digest_is_stable_and_follows_every_weight(bundled):
    again = load_model(ModelSpec())
    assert again.digest == bundled.digest == weights_digest(deepcopy(again.model).double())
    assert len(bundled.digest) == 64
    seen = {bundled.digest}
    for parameter in (again.model.cls_token, again.model.blocks[7].mlp.fc1.weight, again.model.head.bias):
        parameter.view(-1)[3] = torch.nextafter(parameter.view(-1)[3], torch.tensor(torch.inf))
        seen.add(weights_digest(again.model))
    assert len(seen) == 4


def test_bundled_size_is_fixed():
    assert load_model(ModelSpec(image_size=28)).preprocess.size == (28, 28)
    refused(ModelSpec(image_size=32), "28", "32")


def test_a_checkpoint_that_describes_itself_is_loaded(tmp_path, tiny_vit, images):
    path = saved(tmp_path / "mine.safetensors", weights_of(tiny_vit.half()), METADATA)
    loaded = load_model(ModelSpec(checkpoint=path))
    assert loaded.preprocess.size == (16, 16)
    assert loaded.preprocess.mean == (0.25,) * 3
    assert loaded.preprocess.std == (0.5,) * 3
    assert loaded.label == "bundled (mine.safetensors)"
    assert torch.equal(loaded.model(images), tiny_vit.float()(images))


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt", "bin"])
def test_a_checkpoint_for_a_timm_name_is_loaded(tmp_path, suffix):
    name = "vit_tiny_patch16_224"
    with torch.random.fork_rng():
        source = timm.create_model(name, img_size=32)
    path = tmp_path / f"mine.{suffix}"
    save_file(weights_of(source), path) if suffix == "safetensors" else torch.save(source.state_dict(), path)
    loaded = load_model(ModelSpec(name, str(path), image_size=32))
    assert loaded.digest == weights_digest(source)
    assert loaded.preprocess.size == (32, 32)
    assert loaded.preprocess.mean == (0.5,) * 3  # of this model's own config
    assert not any(p.requires_grad for p in loaded.model.parameters())


FAULTS: dict[str, tuple[Callable[[dict[str, Tensor]], object], tuple[str, ...]]] = {
    "shape": (
        lambda w: w.update({"blocks.1.mlp.fc1.weight": torch.zeros(95, 24)}),
        ("blocks.1.mlp.fc1.weight", "(95, 24)", "(96, 24)"),
    ),
    "missing": (lambda w: w.pop("norm.bias"), ("1 missing", "norm.bias")),
    "unexpected": (lambda w: w.update({"blocks.9.mlp.fc1.bias": torch.zeros(2)}), ("1 unexpected", "blocks.9.mlp")),
    "other names": (
        lambda w: [w.update({f"module.{name}": w.pop(name)}) for name in list(w)],
        ("missing", "unexpected", "module."),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_that_does_not_fit_is_told_apart(tmp_path, tiny_vit, fault):
    spoil, told = FAULTS[fault]
    weights = weights_of(tiny_vit)
    spoil(weights)
    path = saved(tmp_path / "mine.safetensors", weights, METADATA)
    refused(ModelSpec(checkpoint=path), "mine.safetensors does not fit", *told)


def test_weights_of_another_size_do_not_fit_a_timm_model(tmp_path, tiny_vit):
    path = saved(tmp_path / "mine.safetensors", weights_of(tiny_vit))
    refused(ModelSpec("vit_tiny_patch16_224", path), "mine.safetensors does not fit", "missing")


@pytest.mark.parametrize("metadata", [None, {"mean": "0.5", "std": "0.5"}, {"format": "pt"}], ids=str)
def test_a_checkpoint_that_does_not_describe_itself_needs_a_name(tmp_path, tiny_vit, metadata):
    path = saved(tmp_path / "mine.safetensors", weights_of(tiny_vit), metadata)
    refused(ModelSpec(checkpoint=path), "mine.safetensors", "config", "timm")


def test_a_file_of_tensors_without_a_description_needs_a_name(tmp_path, tiny_vit):
    path = tmp_path / "mine.pth"
    torch.save(weights_of(tiny_vit), path)
    refused(ModelSpec(checkpoint=str(path)), "mine.pth", "timm")


@pytest.mark.parametrize(
    "change",
    [
        {"config": "{not json"},
        {"config": "[1, 2]"},
        {"config": json.dumps(TINY | {"wings": 2})},
        {"config": json.dumps(TINY | {"num_heads": 5})},
        {"config": json.dumps(TINY | {"num_heads": 0})},
        {"config": json.dumps(TINY | {"embed_dim": -24})},
        {"mean": "grey"},
        {"std": ""},
    ],
    ids=str,
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path, tiny_vit, change):
    path = saved(tmp_path / "mine.safetensors", weights_of(tiny_vit), METADATA | change)
    refused(ModelSpec(checkpoint=path), "mine.safetensors")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("kind", ["empty", "text", "cut short"])
def test_a_damaged_checkpoint_is_refused(tmp_path, tiny_vit, suffix, kind):
    path = tmp_path / f"mine.{suffix}"
    if suffix == "safetensors":
        save_file(weights_of(tiny_vit), path, METADATA)
    else:
        torch.save(weights_of(tiny_vit), path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"hello, this is text", "cut short": whole[: len(whole) // 2]}[kind])
    for name in ("bundled", "vit_tiny_patch16_224"):
        refused(ModelSpec(name, str(path)), f"mine.{suffix}")


def test_a_missing_checkpoint_is_named(tmp_path):
    refused(ModelSpec(checkpoint=str(tmp_path / "gone.safetensors")), "gone.safetensors", "does not exist")
    refused(ModelSpec(checkpoint=str(tmp_path)), "does not exist")


class Payload:
    """Unpickled carelessly, it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("suffix", ["pth", "pt", "bin", "safetensors"])
@pytest.mark.parametrize("container", ["torch.save", "torch.save beside tensors", "legacy", "plain pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(tmp_path, tiny_vit, suffix, container):
    target, path = tmp_path / "was-run", tmp_path / f"mine.{suffix}"
    payload = Payload(target)
    if container == "plain pickle":
        path.write_bytes(pickle.dumps({"weight": payload}))
    elif container == "legacy":
        torch.save({"weight": payload}, path, _use_new_zipfile_serialization=False)
    else:
        beside = weights_of(tiny_vit) if "beside" in container else {}
        torch.save({**beside, "extra": payload}, path)
    for name in ("bundled", "vit_tiny_patch16_224"):
        refused(ModelSpec(name, str(path)), f"mine.{suffix}")
    assert not target.exists()
    if container == "plain pickle":
        pickle.loads(path.read_bytes())
        assert target.exists(), "the payload must be one that works"


def test_a_file_without_tensors_is_refused(tmp_path):
    path = tmp_path / "mine.pth"
    for content in ({"epoch": 3}, [torch.zeros(2)], {"model": {"weight": torch.zeros(2)}}):
        torch.save(content, path)
        refused(ModelSpec("vit_tiny_patch16_224", str(path)), "mine.pth", "no named tensors")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_225", "my model", "", "../bundled", "vit[", "*"])
def test_an_unknown_name_is_refused(name):
    refused(ModelSpec(name), repr(name))


def test_a_near_miss_is_answered_with_names_that_exist():
    message = refused(ModelSpec("vit_tiny_patch16_225"), "Did you mean")
    suggestions = message.split("Did you mean ")[1].rstrip("?").split(", ")
    assert suggestions
    assert all(timm.is_model(name) for name in suggestions)


def test_an_architecture_that_cannot_be_cut_is_refused_by_name(tmp_path):
    with torch.random.fork_rng():
        weights = timm.create_model("resnet10t").state_dict()
    path = saved(tmp_path / "mine.safetensors", weights)
    refused(ModelSpec("resnet10t", path), "ResNet", "VisionTransformer")


@pytest.mark.parametrize(
    "error",
    [
        OSError("We couldn't connect to the Hub\nand more"),
        RuntimeError("No pretrained weights exist"),
        ConnectionError("refused"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_without_network_the_model_is_named_and_the_way_out(monkeypatch, error):
    def offline(*_: object, **__: object) -> nn.Module:
        raise error

    monkeypatch.setattr(timm, "create_model", offline)
    refused(ModelSpec("vit_tiny_patch16_224"), "vit_tiny_patch16_224", "network", "--checkpoint")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet10t"])
def test_an_image_size_that_does_not_work_is_refused(tmp_path, tiny_vit, name):
    path = saved(tmp_path / "mine.safetensors", weights_of(tiny_vit))
    refused(ModelSpec(name, path, image_size=8), name if name == "resnet10t" else "mine.safetensors")
