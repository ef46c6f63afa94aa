"""Checkpoints: whatever wraps the weights is peeled off, every misfit is named, and nothing in a file is ever run."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from loading_checks import METADATA, refused, saved, weights_of
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from snapvit.models.checkpoints import load_checkpoint
from snapvit.models.loading import load_model, weights_digest
from snapvit.models.spec import ModelSpec


def made(name: str, seed: int = 0, **settings: Any) -> nn.Module:
    """A timm model with weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(name, **settings).eval()


def written(path: Path, content: object) -> ModelSpec:
    """`content` saved by torch, for test_vit at 32 pixels."""
    torch.save(content, path)
    return ModelSpec("test_vit", str(path), image_size=32)


def prefixed(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in weights.items()}


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return made("test_vit", img_size=32)


WRAPPED: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    "plain": lambda w: w,
    "model": lambda w: {"model": w, "epoch": 3},
    "state_dict": lambda w: {"state_dict": w, "optimizer": {"state": {0: {"step": torch.zeros(())}}}},
    "model_ema": lambda w: {"model": {k: t + 1 for k, t in w.items()}, "model_ema": w},
    "state_dict_ema": lambda w: {"state_dict": {k: t + 1 for k, t in w.items()}, "state_dict_ema": w},
    "teacher and student": lambda w: {
        "student": prefixed("module.backbone.", {k: t + 1 for k, t in w.items()}),
        "teacher": prefixed("backbone.", w) | {"head.mlp.0.weight": torch.zeros(2, 2)},
    },
    "student alone": lambda w: {"student": w},
    "nested": lambda w: {"model": {"state_dict": w}},
    "module.": lambda w: prefixed("module.", w),
    "backbone.": lambda w: prefixed("backbone.", w) | {"decoder.weight": torch.zeros(3)},
    "model.": lambda w: prefixed("model.", w),
    "encoder.": lambda w: prefixed("encoder.", w),
    "compiled, parallel": lambda w: prefixed("_orig_mod.module.", w),
    "lightning": lambda w: {"state_dict": prefixed("model.backbone.", w), "global_step": 7},
    "a word that nobody listed": lambda w: {"any": {"thing": [{"at all": w}]}, "epoch": 3},
    "averaged beside": lambda w: {"ema": w, "net": {k: t + 1 for k, t in w.items()}},
    "momentum encoder": lambda w: (
        prefixed("module.base_encoder.", {k: t + 1 for k, t in w.items()}) | prefixed("module.momentum_encoder.", w)
    ),
    "sequential": lambda w: prefixed("0.", w) | {"1.weight": torch.zeros(5, 64)},
    "averaged by torch": lambda w: prefixed("module.", w) | {"n_averaged": torch.tensor(5)},
    "compiled by block": lambda w: within_blocks("_orig_mod.", w),
    "sharded": lambda w: prefixed("_fsdp_wrapped_module.", within_blocks("_checkpoint_wrapped_module.", w)),
    "chunks": lambda w: {"teacher": prefixed("backbone.", in_chunks(w, restart=False))},
    "chunks that count anew": lambda w: {"teacher": prefixed("backbone.", in_chunks(w, restart=True))},
    "decoder and mask": lambda w: w | {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, 64)},
}
QUIET = ("plain", "compiled by block", "sharded")  # nothing is left out, and names in between say nothing


def within_blocks(word: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What wraps each block puts its word behind the block's number."""
    return {re.sub(r"^(blocks\.\d+\.)", rf"\g<1>{word}", name): tensor for name, tensor in weights.items()}


def in_chunks(weights: dict[str, Tensor], restart: bool) -> dict[str, Tensor]:
    def place(found: re.Match) -> str:
        block = int(found[1])
        return f"blocks.{block // 3}.{block % 3 if restart else block}."

    return {re.sub(r"^blocks\.(\d+)\.", place, name): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize("kind", WRAPPED)
def test_what_wraps_the_weights_is_peeled_off(tmp_path, vit, kind):
    spec = written(tmp_path / "mine.pth", WRAPPED[kind](weights_of(vit)))
    loaded = load_model(spec)
    assert loaded.digest == weights_digest(vit)
    assert bool(loaded.notes) == (kind not in QUIET)
    left_out = {
        "teacher and student": "head.mlp.0.weight",
        "backbone.": "decoder.weight",
        "sequential": "1.weight",
        "averaged by torch": "n_averaged",
        "decoder and mask": "decoder_embed.weight",
    }
    if kind in left_out:
        assert any("1 tensor" in note and left_out[kind] in note for note in loaded.notes)


def test_prefixes_are_peeled_off_a_safetensors_file_too(tmp_path, vit):
    path = saved(tmp_path / "mine.safetensors", prefixed("module.", weights_of(vit)))
    assert load_model(ModelSpec("test_vit", path, image_size=32)).digest == weights_digest(vit)


@pytest.mark.parametrize("size", [32, 48, 224])
@pytest.mark.parametrize("name", ["test_vit", "vit_tiny_patch16_224"])
def test_positions_are_resampled_as_timm_does(tmp_path, name, size):
    source = made(name, img_size=160)
    path = tmp_path / "mine.pth"
    torch.save(source.state_dict(), path)
    loaded = load_model(ModelSpec(name, str(path), image_size=size))
    expected = resample_abs_pos_embed(source.pos_embed.detach(), [size // 16, size // 16], num_prefix_tokens=1)
    assert torch.equal(loaded.model.pos_embed, expected)
    others = {k for k, t in loaded.model.state_dict().items() if not torch.equal(t, source.state_dict()[k])}
    assert others == {"pos_embed"}
    assert loaded.model(torch.zeros(1, 3, size, size)).isfinite().all()


@pytest.mark.parametrize("classes", [0, 10, 1000])
@pytest.mark.parametrize("name", ["test_vit", "deit_tiny_distilled_patch16_224"])
def test_the_files_classifier_is_taken_as_it_is(name, classes):
    source, model = made(name, img_size=32, num_classes=classes), made(name, seed=1, img_size=32)
    notes = load_checkpoint(model, weights_of(source), checkpoint_filter_fn, "mine.pth")
    assert model.num_classes == classes
    assert weights_digest(model) == weights_digest(source)
    told = {0: "no classifier", 10: "10 classes"}
    assert [told[classes] in note for note in notes] == ([] if classes == 1000 else [True])
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    assert torch.equal(model.eval()(images), source(images))


def test_a_classifier_of_another_kind_is_left_out(tmp_path, vit):
    weights = {name: tensor for name, tensor in weights_of(vit).items() if not name.startswith("head.")}
    weights |= {"head.mlp.0.weight": torch.zeros(8, 64), "head.last_layer.weight_v": torch.zeros(9, 8)}
    loaded = load_model(written(tmp_path / "mine.pth", weights))
    assert loaded.model.num_classes == 0
    assert torch.equal(loaded.model.blocks[0].mlp.fc1.weight, vit.blocks[0].mlp.fc1.weight)


def test_the_original_dinov2_file_with_registers_loads(tmp_path):
    name = "vit_small_patch14_reg4_dinov2"
    source = made(name, img_size=28)
    weights = weights_of(source)
    at_class = torch.randn(1, 1, 384, generator=torch.Generator().manual_seed(1))
    original = {k: t for k, t in weights.items() if k not in ("reg_token", "cls_token", "pos_embed")}
    original |= {
        "mask_token": torch.zeros(1, 384),
        "register_tokens": weights["reg_token"],
        "cls_token": weights["cls_token"] - at_class,
        "pos_embed": torch.cat([at_class, weights["pos_embed"]], dim=1),
    }
    path = tmp_path / "mine.pth"
    torch.save(original, path)
    loaded = load_model(ModelSpec(name, str(path), image_size=28))
    own = loaded.model.state_dict()
    assert own.keys() == weights.keys()
    for key, tensor in weights.items():  # the class token's position was taken from it and added again
        assert torch.allclose(own[key], tensor, rtol=0, atol=1e-6 if key == "cls_token" else 0), key


def test_the_original_deit3_file_loads(tmp_path):
    name = "deit3_small_patch16_224"
    source = made(name, img_size=32)
    renamed = {
        k.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): t for k, t in weights_of(source).items()
    }
    path = tmp_path / "mine.pth"
    torch.save({"model": renamed}, path)
    assert load_model(ModelSpec(name, str(path), image_size=32)).digest == weights_digest(source)


FAULTS: dict[str, tuple[Callable[[dict[str, Tensor]], object], tuple[str, ...]]] = {
    "shape": (
        lambda w: w.update({"blocks.1.mlp.fc1.weight": torch.zeros(95, 24)}),
        ("blocks.1.mlp.fc1.weight", "(95, 24)", "(96, 24)"),
    ),
    "missing": (lambda w: w.pop("norm.bias"), ("1 missing", "norm.bias")),
    "unexpected": (lambda w: w.update({"blocks.9.mlp.fc1.bias": torch.zeros(2)}), ("1 unexpected", "blocks.9.mlp")),
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
    refused(ModelSpec(checkpoint=str(tmp_path)), "must hold model.safetensors", "found: none")


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
    for content in ({"epoch": 3}, [torch.zeros(2)], {"model": {"epoch": 3}}, {"model": {}}, torch.zeros(2), None):
        torch.save(content, path)
        refused(ModelSpec("test_vit", str(path)), "mine.pth", "no named tensors")


def test_names_of_a_stranger_are_no_markup_and_no_second_line(tmp_path, vit):
    for name in ("a\nb", "![x](http://example.invalid/x.png)", "<b>", "n" * 1_000):
        message = refused(written(tmp_path / "mine.pth", weights_of(vit) | {name: torch.zeros(2)}), "1 unexpected")
        assert not set("<>![]\n") & set(message)
        assert len(message) < 400


def test_many_misfits_are_counted_and_the_first_named(tmp_path, vit):
    weights = weights_of(vit)
    gone = sorted(name for name in weights if ".norm1." in name)
    for name in gone:
        weights[name.replace("norm1", "ln1")] = weights.pop(name)
    message = refused(written(tmp_path / "mine.pth", weights), f"{len(gone)} missing", f"{len(gone)} unexpected")
    assert f"({', '.join(gone[:3])}, ...)" in message


def test_numbers_that_are_not_finite_are_refused(tmp_path, vit):
    weights = weights_of(vit)
    weights["blocks.2.mlp.fc1.weight"][3, 4] = float("nan")
    refused(written(tmp_path / "mine.pth", weights), "not finite", "blocks.2.mlp.fc1.weight")


def test_settings_beside_the_weights_are_refused_with_a_way_out(tmp_path, vit):
    spec = written(tmp_path / "mine.pth", {"model": weights_of(vit), "args": argparse.Namespace(lr=0.1)})
    refused(spec, "mine.pth", "argparse.Namespace", "torch.save(")


@pytest.mark.parametrize("suffix", [".npz", ".onnx", ".txt", ".pth", ".safetensors", ""])
def test_a_file_of_another_kind_is_named(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(b"whatever")
    refused(ModelSpec("test_vit", str(path)), path.name, ".safetensors, .pth, .pt, .bin")


def test_two_places_that_fit_alike_are_both_named(tmp_path, vit):
    weights = weights_of(vit)
    loaded = load_model(written(tmp_path / "mine.pth", {"student": weights, "teacher": weights}))
    (note,) = loaded.notes
    assert "under 'teacher.', not those that fit as well under 'student.'" in note


def test_adapters_apart_from_the_weights_are_named(tmp_path, vit):
    weights = weights_of(vit)
    for name in [name for name in weights if name.endswith("qkv.weight")]:
        base, whole = name.removesuffix("weight"), weights.pop(name)
        weights[f"{base}base_layer.weight"] = whole
        weights |= {f"{base}lora_A.default.weight": whole[:4], f"{base}lora_B.default.weight": whole[:, :4]}
    refused(written(tmp_path / "mine.pth", prefixed("base_model.model.", weights)), "does not fit", "LoRA", "merge")


@pytest.mark.parametrize("extra", ["reg_token", "blocks.9.norm1.bias", "prompt_embeddings", "fc_norm.weight"])
def test_what_may_change_the_function_is_never_left_out(tmp_path, vit, extra):
    spec = written(tmp_path / "mine.pth", weights_of(vit) | {extra: torch.zeros(64)})
    refused(spec, "does not fit", "1 unexpected", extra)


def test_weights_of_another_patch_size_are_refused_with_what_would_fit(tmp_path):
    torch.save(made("vit_small_patch8_224").state_dict(), tmp_path / "mine.pth")
    refused(
        ModelSpec("vit_small_patch16_224", str(tmp_path / "mine.pth")),
        "its patches are of 8 pixels, the model's of 16",
        "vit_small_patch8_224",
    )


def test_resampled_positions_are_told(tmp_path):
    source = made("test_vit", img_size=160)
    torch.save(source.state_dict(), tmp_path / "mine.pth")
    for size, told in ((160, []), (32, ["100 patches were resampled to the 4"])):
        notes = load_model(ModelSpec("test_vit", str(tmp_path / "mine.pth"), image_size=size)).notes
        assert all(part in note for part, note in zip(told, notes, strict=True))


def test_a_checkpoint_of_another_width_is_refused_with_the_name_that_would_fit(tmp_path):
    torch.save(made("vit_tiny_patch16_224").state_dict(), tmp_path / "mine.pth")
    refused(
        ModelSpec("vit_small_patch16_224.dino", str(tmp_path / "mine.pth")),
        "12 blocks, width 192",
        "vit_tiny_patch16_224",
    )
