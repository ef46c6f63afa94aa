"""Loading: the bundled model is what it says, and every bad checkpoint is answered in one sentence and runs nothing."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy

import numpy as np
import pytest
import timm
import torch
from loading_checks import METADATA, TINY, refused, saved, weights_of
from safetensors import safe_open
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from snapvit.data.fashion_mnist import FASHION_MNIST
from snapvit.models.embedding import normalise_pixels
from snapvit.models.loading import BUNDLED_CHECKPOINT, load_model, weights_digest
from snapvit.models.spec import ModelSpec, canonical_model
from snapvit.pipeline.request import make_request


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
        {"config": json.dumps(TINY | {"num_heads": -1})},
        {"config": json.dumps(TINY | {"depth": 1_000_000})},
        {"config": json.dumps(TINY | {"mlp_ratio": 1e5})},
        {"config": json.dumps(TINY | {"mlp_ratio": 60, "embed_dim": 12_288})},
        {"config": json.dumps(TINY | {"act_layer": "no such layer"})},
        {"config": json.dumps(TINY | {"norm_layer": {"a": 1}})},
        {"config": "[" * 10_000},
        {"mean": "grey"},
        {"mean": "nan"},
        {"mean": "inf"},
        {"std": ""},
        {"std": "0"},
        {"std": "-0.5"},
        {"std": "inf"},
    ],
    ids=lambda change: str(change)[:80],
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path, tiny_vit, change):
    path = saved(tmp_path / "mine.safetensors", weights_of(tiny_vit), METADATA | change)
    refused(ModelSpec(checkpoint=path), "mine.safetensors")


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_225", "my_model", "", "../bundled", "vit[", "*", "local-dir:/tmp", "hf-hub:x/vit"]
)
def test_an_unknown_name_is_refused(name):
    asked = name.removeprefix("hf-hub:")
    refused(ModelSpec(name), repr(asked))


def test_a_near_miss_is_answered_with_names_that_exist():
    for asked, meant in (
        ("vit_tiny_patch16_225", "vit_tiny_patch16_224"),
        ("vit_smal_patch16_224.dino", "vit_small_patch16_224.dino"),
        ("vit_small_patch16_224.dinoo", "vit_small_patch16_224.dino"),
        ("bundeled", "bundled"),
    ):
        suggestions = refused(ModelSpec(asked), "Did you mean").split("Did you mean ")[1].rstrip("?").split(", ")
        assert meant in suggestions
        assert all(timm.is_model(name) or name == "bundled" for name in suggestions)


@pytest.mark.parametrize(
    "written",
    [
        "timm/vit_small_patch16_224.dino",
        "hf-hub:timm/vit_small_patch16_224.dino",
        "hf_hub:timm/vit_small_patch16_224.dino",
        "https://huggingface.co/timm/vit_small_patch16_224.dino",
        "  ViT_Small_Patch16_224.DINO ",
        "vit small patch16 224 .dino",
        "'vit_small_patch16_224.dino'",
    ],
)
def test_the_ways_to_write_a_name_are_one_name(written):
    assert canonical_model(written) == "vit_small_patch16_224.dino"
    assert make_request(ModelSpec(written)).run == make_request(ModelSpec("vit_small_patch16_224.dino")).run


def test_an_architecture_that_cannot_be_cut_is_refused_by_name(tmp_path):
    with torch.random.fork_rng():
        weights = timm.create_model("resnet10t").state_dict()
    path = saved(tmp_path / "mine.safetensors", weights)
    refused(ModelSpec("resnet10t", path), "ResNet", "VisionTransformer")


@pytest.mark.parametrize("size", [0, -16, 8, 100, 4096])
def test_an_image_size_that_does_not_work_is_refused(tmp_path, tiny_vit, size):
    path = saved(tmp_path / "mine.safetensors", weights_of(tiny_vit))
    refused(ModelSpec("vit_tiny_patch16_224", path, image_size=size), f"Image size {size} ", "multiple of 16")


def test_the_sizes_that_a_refusal_names_work(tmp_path):
    with torch.random.fork_rng():
        source = timm.create_model("test_vit")
    path = saved(tmp_path / "mine.safetensors", weights_of(source))
    message = refused(ModelSpec("test_vit", path, image_size=41))
    assert message.endswith("such as 32 or 48.")
    for size in (32, 48):
        loaded = load_model(ModelSpec("test_vit", path, image_size=size))
        assert loaded.preprocess.size == (size, size)
        assert loaded.anatomy.topology.tokens == 1 + (size // 16) ** 2
