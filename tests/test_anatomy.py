"""What anatomy says of a model, and what it refuses with which words."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import timm
import torch
from timm.layers import AttentionPoolLatent, GatedMlp, Mlp
from timm.models.eva import Eva, EvaAttention
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock, VisionTransformer
from torch import nn

from snapvit.elastic.vit import ElasticViT
from snapvit.errors import InputError
from snapvit.models.anatomy import describe, replace_forwards, restore_forwards
from snapvit.models.embedding import embed
from snapvit.models.families import FAMILIES

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3, "num_classes": 5}


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: timm.create_model("resnet10t"), "ResNet"),
        (lambda: timm.create_model("beit_base_patch16_224", depth=1), "Beit"),
        (lambda: VisionTransformer(**TINY, mlp_layer=GatedMlp), "GatedMlp"),
        (lambda: VisionTransformer(**TINY, attn_layer="diff"), "DiffAttention"),
        (lambda: VisionTransformer(**TINY, block_fn=ParallelScalingBlock), "ParallelScalingBlock"),
        (lambda: VisionTransformer(**TINY, block_fn=ResPostBlock), "ResPostBlock"),
        (lambda: Eva(**TINY, use_post_norm=True), "EvaBlockPostNorm"),
    ],
    ids=["resnet", "beit", "mlp", "attention", "parallel blocks", "post norm", "Eva post norm"],
)
def test_unknown_architectures_are_refused_by_name(build, named):
    with pytest.raises(InputError, match=rf"\b{named}\b.*knows the families") as refusal:
        describe(build())
    assert all(family.name in str(refusal.value) for family in FAMILIES)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"global_pool": ""}, "no single embedding"),
        ({"use_rot_pos_emb": True, "rope_type": "mixed"}, "frequencies of its own for every head"),
        ({"attn_type": "rope", "qkv_fused": False, "num_kv_heads": 1}, "block 1 of this Eva 3 heads share"),
        ({"scale_mlp": True}, "normalises across its whole MLP .*exact slicing is impossible"),
        ({"scale_mlp": True, "swiglu_mlp": True}, "normalises across its whole MLP .*exact slicing is impossible"),
        ({"scale_attn_inner": True}, "normalises across its whole attention .*exact slicing is impossible"),
        ({"attn_type": "rope", "scale_attn_inner": True}, "normalises across its whole attention"),
    ],
    ids=lambda value: next(reversed(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_cut_exactly_in_an_eva_is_refused_with_the_reason(settings, reason):
    with pytest.raises(InputError, match=reason):
        describe(Eva(**(TINY | settings)))


def test_other_pools_and_stems_are_refused():
    with pytest.raises(InputError, match="AttentionPoolPrr"):
        describe(VisionTransformer(**TINY, global_pool="prr"))
    with torch.device("meta"):
        hybrid = timm.create_model("vit_tiny_r_s16_p8_224")
    with pytest.raises(InputError, match="HybridEmbed"):
        describe(hybrid)


def test_layers_that_are_not_plain_are_refused(make_vit):
    class Adapted(nn.Linear):
        """As from a library that puts adapters into models."""

    model = make_vit()
    model.blocks[2].attn.proj = Adapted(24, 24)
    with pytest.raises(InputError, match=r"Block 3 .* has a Adapted as proj"):
        describe(model)
    model = make_vit(mlp_layer=lambda *args, **kwargs: Mlp(*args, **kwargs, use_conv=True))
    with pytest.raises(InputError, match="has a Conv2d as fc1"):
        describe(model)


@pytest.mark.parametrize("where", ["attn", "mlp"])
def test_norms_across_heads_or_neurons_are_refused_with_the_reason(make_vit, where):
    with pytest.raises(InputError, match=r"Block 1 .* normalises across its whole .*exact slicing is impossible"):
        describe(make_vit(**{f"scale_{where}_norm": True}))


def test_blocks_that_differ_are_refused(tiny_vit):
    tiny_vit.blocks[1] = VisionTransformer(**{**TINY, "num_heads": 6}).blocks[0]
    with pytest.raises(InputError, match="differ in heads or neurons"):
        describe(tiny_vit)


@pytest.mark.parametrize(
    ("settings", "prefix", "tokens", "has_class_token"),
    [
        ({}, 1, 5, True),
        ({"reg_tokens": 2}, 3, 7, True),
        ({"class_token": False, "global_pool": "avg"}, 0, 4, False),
        ({"img_size": 32, "reg_tokens": 4, "no_embed_class": True}, 5, 21, True),
    ],
)
def test_topology_counts_what_is_there(make_vit, settings, prefix, tokens, has_class_token):
    found = describe(make_vit(**settings))
    t = found.topology
    assert (t.blocks, t.heads, t.hidden, t.width, t.head_width, t.tokens) == (3, 3, 96, 24, 8, tokens)
    assert (found.prefix_tokens, found.has_class_token) == (prefix, has_class_token)
    assert t.structures == 12


def test_prefix_tokens_are_counted_and_pooling_sees_what_it_sees(make_form, make_vit):
    distilled = describe(make_form("distilled"))
    assert (distilled.prefix_tokens, distilled.topology.tokens, distilled.pooled_tokens) == (2, 6, 0)
    assert describe(make_form("Eva, no bias")).has_class_token is False
    assert describe(make_form("Eva, as DINOv3")).prefix_tokens == 3
    assert describe(make_form("Eva, attention pool")).pooled_tokens == 5
    for include, pooled in ((False, 4), (True, 6)):
        model = make_vit(global_pool="map", reg_tokens=1, pool_include_prefix=include)
        assert describe(model).pooled_tokens == pooled


def test_hidden_neurons_of_a_gated_mlp_are_counted_once(make_form):
    assert describe(make_form("packed MLP, gate first")).topology.hidden == 48
    assert describe(make_form("split MLP")).topology.hidden == 96
    assert describe(make_form("heads wider than their share")).topology.head_width == 12


@pytest.mark.parametrize("name", ["packed MLP, gate last", "AttentionRope, separate qkv", "Eva, separate qkv"])
def test_a_model_that_is_held_is_refused_until_its_release(make_form, name):
    model = make_form(name)
    anatomy = describe(model)
    orders = [np.tile(np.arange(n), (3, 1)) for n in (anatomy.topology.hidden, 3)]
    with ElasticViT(model, anatomy, *orders) as elastic:
        elastic.show((1, 2, 3), (1, 2, 3))
        with pytest.raises(InputError, match=rf"{type(model).__name__} is held by an ElasticViT"):
            describe(model)
        with pytest.raises(ValueError, match="held by another"):
            ElasticViT(model, anatomy, *orders)
        describe(make_form(name))  # others are free
    assert describe(model).topology == anatomy.topology


@pytest.mark.parametrize("fused", [True, False], ids=["fused attention", "plain attention"])
def test_the_forward_that_replaces_evas_computes_the_same(form, images, fused):
    for block in form.blocks:
        block.attn.fused_attn = fused
    anatomy, want = describe(form), form(images.double())
    assert all((b.forward is not None) == isinstance(b.attention, EvaAttention) for b in anatomy.blocks)
    replace_forwards(anatomy)
    torch.testing.assert_close(form(images.double()), want, rtol=1e-12, atol=1e-12)
    restore_forwards(anatomy)
    assert torch.equal(form(images.double()), want)
    assert not any("forward" in vars(block.attn) for block in form.blocks)


POOLS = ("token", "avg", "max", "avgmax", "map")


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("classes", [5, 0], ids=["classifier", "no classifier"])
@pytest.mark.parametrize("kind", [VisionTransformer, Eva])
def test_the_embedding_is_what_each_pool_gives(images, kind, classes, pool):
    prefix = "reg_tokens" if kind is VisionTransformer else "num_reg_tokens"
    model = kind(**TINY | {"global_pool": pool, "num_classes": classes, prefix: 2}).eval()
    describe(model)
    with torch.no_grad():
        tokens = model.forward_features(images)
        found, logits = embed(model, images), model(images)
        if isinstance(model.attn_pool, AttentionPoolLatent):
            patches = tokens[:, 3:] if kind is VisionTransformer else tokens
            want = model.attn_pool(patches)
        else:
            patches = tokens[:, 3:]
            want = {
                "token": tokens[:, 0],
                "avg": patches.mean(1),
                "max": patches.amax(1),
                "avgmax": (patches.mean(1) + patches.amax(1)) / 2,
            }[pool]
        torch.testing.assert_close(found, model.fc_norm(want))
        torch.testing.assert_close(logits, model.head(found))
    assert found.shape == (6, 24)
    assert (pool == "map") == (model.attn_pool is not None)


def test_the_embedding_of_a_distilled_model_is_the_mean_of_both_tokens(make_form, images):
    model = make_form("distilled")
    tokens = model.forward_features(images.double())
    torch.testing.assert_close(embed(model, images.double()), (tokens[:, 0] + tokens[:, 1]) / 2)


def test_describing_changes_nothing(form):
    before = deepcopy(form.state_dict())
    names = [name for name, _ in form.named_modules()]
    describe(form)
    assert [name for name, _ in form.named_modules()] == names
    assert all(torch.equal(tensor, before[name]) for name, tensor in form.state_dict().items())
