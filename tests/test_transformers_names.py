"""Weights under the names of transformers: written out here in the other direction, as its own conversion scripts
list the names, and read back."""

from __future__ import annotations

import json
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

Weights = dict[str, Tensor]

EMBEDDINGS = {
    "cls_token": "embeddings.cls_token",
    "dist_token": "embeddings.distillation_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}


def split_blocks(weights: Weights, layer: str, words: dict[str, str], parts: tuple[str, str, str]) -> Weights:
    """The blocks' tensors: `words` renames modules, `parts` are the names of query, key and value."""
    found: Weights = {}
    for name, tensor in weights.items():
        if not name.startswith("blocks."):
            continue
        _, block, module = name.split(".", 2)
        module, _, kind = module.rpartition(".")
        if module == "attn.qkv":
            for part, rows in zip(parts, tensor.chunk(3), strict=True):
                found[f"{layer}.{block}.{part}.{kind}"] = rows.contiguous()
        else:
            found[f"{layer}.{block}.{words[module]}" + ("" if kind == "gamma" else f".{kind}")] = tensor
    return found


QKV = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))
VIT = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def as_vit(weights: Weights) -> Weights:
    named = {EMBEDDINGS[name]: t for name, t in weights.items() if name in EMBEDDINGS}
    named |= split_blocks(weights, "encoder.layer", VIT, QKV) | {"pooler.dense.weight": torch.zeros(4, 4)}
    return {f"vit.{name}": t for name, t in named.items()} | {"classifier.weight": weights["head.weight"]}


def as_deit(weights: Weights) -> Weights:
    named = {EMBEDDINGS[name]: t for name, t in weights.items() if name in EMBEDDINGS}
    named |= split_blocks(weights, "encoder.layer", VIT, QKV)
    return {f"deit.{name}": t for name, t in named.items()} | {"cls_classifier.weight": weights["head.weight"]}


def as_dinov2_with_registers(weights: Weights) -> Weights:
    at_class = torch.randn(1, 1, 384, generator=torch.Generator().manual_seed(1))
    words = {
        "norm1": "norm1",
        "norm2": "norm2",
        "ls1": "layer_scale1.lambda1",
        "ls2": "layer_scale2.lambda1",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    named = {EMBEDDINGS[name]: t for name, t in weights.items() if name in EMBEDDINGS}
    named |= {
        "embeddings.mask_token": torch.zeros(1, 384),
        "embeddings.register_tokens": weights["reg_token"],
        "embeddings.cls_token": weights["cls_token"] - at_class,
        "embeddings.position_embeddings": torch.cat([at_class, weights["pos_embed"]], dim=1),
    }
    return named | split_blocks(weights, "encoder.layer", words, QKV)


def as_dinov3(weights: Weights) -> Weights:
    named = {
        "embeddings.cls_token": weights["cls_token"],
        "embeddings.mask_token": torch.zeros(1, 1, 384),
        "embeddings.register_tokens": weights["reg_token"],
        "embeddings.patch_embeddings.weight": weights["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.bias": weights["patch_embed.proj.bias"],
        "norm.weight": weights["norm.weight"],
        "norm.bias": weights["norm.bias"],
    }
    words = {
        "norm1": "norm1",
        "norm2": "norm2",
        "attn.proj": "attention.o_proj",
        "mlp.fc1_g": "mlp.gate_proj",
        "mlp.fc1_x": "mlp.up_proj",
        "mlp.fc2": "mlp.down_proj",
    }
    scales = [name for name in weights if "gamma" in name]
    for name in scales:
        _, block, scale = name.split(".")
        named[f"layer.{block}.layer_scale{scale[-1]}.lambda1"] = weights[name]
    rest = {name: t for name, t in weights.items() if name not in scales}
    named |= split_blocks(rest, "layer", words, tuple(f"attention.{part}_proj" for part in "qkv"))
    return named | ZERO_BIASES


# All zero in the published small models, which timm builds without.
ZERO_BIASES = {f"layer.{i}.attention.{part}_proj.bias": torch.zeros(384) for i in range(12) for part in "qv"}


def as_siglip(weights: Weights) -> Weights:
    words = {
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        "attn.proj": "self_attn.out_proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    named = {
        "embeddings.patch_embedding.weight": weights["patch_embed.proj.weight"],
        "embeddings.patch_embedding.bias": weights["patch_embed.proj.bias"],
        "embeddings.position_embedding.weight": weights["pos_embed"][0],
        "post_layernorm.weight": weights["norm.weight"],
        "post_layernorm.bias": weights["norm.bias"],
        "head.probe": weights["attn_pool.latent"],
        "head.attention.out_proj.weight": weights["attn_pool.proj.weight"],
        "head.attention.out_proj.bias": weights["attn_pool.proj.bias"],
    }
    for kind in ("weight", "bias"):
        query, rest = weights[f"attn_pool.q.{kind}"], weights[f"attn_pool.kv.{kind}"]
        named[f"head.attention.in_proj_{kind}"] = torch.cat([query, rest])
        named[f"head.layernorm.{kind}"] = weights[f"attn_pool.norm.{kind}"]
        named |= {f"head.mlp.{fc}.{kind}": weights[f"attn_pool.mlp.{fc}.{kind}"] for fc in ("fc1", "fc2")}
    named |= split_blocks(weights, "encoder.layers", words, tuple(f"self_attn.{part}_proj" for part in "qkv"))
    text = {"text_model.embeddings.token_embedding.weight": torch.zeros(8, 4), "logit_scale": torch.ones(1)}
    return {f"vision_model.{name}": t for name, t in named.items()} | text


LAYOUTS: dict[str, tuple[str, int, Callable[[Weights], Weights]]] = {
    "vit": ("test_vit", 32, as_vit),
    "deit": ("deit_tiny_distilled_patch16_224", 32, as_deit),
    "dinov2_with_registers": ("vit_small_patch14_reg4_dinov2", 28, as_dinov2_with_registers),
    "dinov3_vit": ("vit_small_plus_patch16_dinov3", 32, as_dinov3),
    "siglip": ("vit_base_patch16_siglip_224", 32, as_siglip),
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


def without_classifier(model: nn.Module) -> nn.Module:
    model.reset_classifier(0)
    return model


def test_a_folder_of_transformers_loads(tmp_path: Path, layout: str, capfd: pytest.CaptureFixture) -> None:
    name, size, renamed = LAYOUTS[layout]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        source = timm.create_model(name, img_size=size)
    weights = renamed(weights_of(source))
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": layout, "hidden_size": 64}))
    own = load_model(ModelSpec(name, str(tmp_path), image_size=size)).model
    expected = without_classifier(source)
    if layout == "dinov2_with_registers":  # the class token's position was taken from it and added again
        assert torch.allclose(own.cls_token, expected.cls_token, rtol=0, atol=1e-6)
        own.cls_token.copy_(expected.cls_token)
    assert weights_digest(own) == weights_digest(expected)
    assert capfd.readouterr().out == ""  # --json has standard output to itself


def test_biases_that_the_architecture_has_not_are_not_dropped(tmp_path: Path) -> None:
    name = "vit_small_plus_patch16_dinov3"
    with torch.random.fork_rng():
        weights = as_dinov3(weights_of(timm.create_model(name, img_size=32)))
    weights["layer.3.attention.v_proj.bias"] = torch.ones(384)
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, tmp_path / "model.safetensors")
    refused(ModelSpec(name, str(tmp_path), image_size=32), "1 unexpected (blocks.3.attn.qkv.bias)")
