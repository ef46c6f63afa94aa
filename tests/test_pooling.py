"""Which tokens make the embedding, against taking them out by hand; and what the pool changes of a model's identity."""

from __future__ import annotations

import pytest
import torch
from loading_checks import TINY, refused
from timm.layers import GluMlp
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from snapvit.errors import InputError
from snapvit.method.cka import collect_structures
from snapvit.models import loading
from snapvit.models.anatomy import describe
from snapvit.models.embedding import embed
from snapvit.models.identity import architecture_of
from snapvit.models.loading import weights_digest
from snapvit.models.pooling import set_pool
from snapvit.models.spec import ModelSpec

# with a class token: the norm before pooling, after it, and with registers that no patch mean may hold
WITH_TOKEN = ("Eva, as DINOv3", "Eva, biases apart", "Eva, packed MLP", "AttentionRope", "packed MLP, gate first")


def tokens_of(model: nn.Module, images: Tensor) -> Tensor:
    """What leaves the last block and the norm that the model has before pooling."""
    return model.forward_features(images)


@pytest.mark.parametrize("name", [*WITH_TOKEN, "Eva, attention pool"])
def test_the_class_token_and_the_mean_of_patches_by_hand(make_form, images, name):
    images = images.double()
    model = make_form(name)
    tokens, prefix = tokens_of(model, images), model.num_prefix_tokens
    want = {"token": tokens[:, 0], "mean": tokens[:, prefix:].mean(dim=1)}
    for pool, pooled in want.items():
        model = make_form(name)
        set_pool(model, pool, name)
        after = model.fc_norm(pooled)  # an identity where the norm comes before pooling
        torch.testing.assert_close(embed(model, images), after, rtol=1e-12, atol=1e-12)
        assert describe(model).reads_class_token == (pool == "token")


@pytest.mark.parametrize("name", WITH_TOKEN)
def test_the_models_own_pool_changes_nothing(make_form, images, name):
    model = make_form(name)
    before = embed(model, images.double())
    set_pool(model, "model", name)
    assert torch.equal(embed(model, images.double()), before)


def test_dinov3s_class_token_is_the_normalised_one(make_form, images):
    model = make_form("Eva, as DINOv3")
    normed = {}
    handle = model.norm.register_forward_hook(lambda _m, _i, y: normed.update(tokens=y))
    set_pool(model, "token", "DINOv3")
    found = embed(model, images.double())
    handle.remove()
    torch.testing.assert_close(found, normed["tokens"][:, 0])
    assert found.mean(dim=1).abs().max() > 0


def test_tokens_that_are_not_there_are_refused(make_form):
    with pytest.raises(InputError, match="has none"):
        set_pool(make_form("Eva, no bias"), "token", "this one")
    with pytest.raises(InputError, match="distilled"):
        set_pool(make_form("distilled"), "mean", "this one")
    with pytest.raises(InputError, match="'cls' is not known"):
        ModelSpec(pool="cls")


@pytest.mark.parametrize(
    ("name", "pool", "first", "last"),
    [
        ("Eva, as DINOv3", "model", 3, None),  # it has a class token, which the mean of its patches never sees
        ("Eva, as DINOv3", "token", 0, 1),
        ("Eva, packed MLP", "model", 0, 1),
        ("Eva, attention pool", "model", 0, None),  # which looks at the class token too
        ("Eva, attention pool", "mean", 1, None),
        ("distilled", "model", 0, 2),
    ],
)
def test_cka_reads_what_the_embedding_reads(make_form, images, name, pool, first, last):
    model = make_form(name)
    set_pool(model, pool, name)
    anatomy, images = describe(model), images.double()
    assert anatomy.has_class_token and anatomy.reads_class_token == (last is not None)
    seen = {}
    handle = model.blocks[1].attn.proj.register_forward_pre_hook(lambda _m, i: seen.update(tokens=i[0]))
    found = collect_structures(model, anatomy, [images])
    handle.remove()
    tokens = seen["tokens"]
    want = tokens[:, first:last].mean(dim=1)
    topology = anatomy.topology
    heads = torch.cat(found[topology.blocks + topology.heads : topology.blocks + 2 * topology.heads], dim=1)
    torch.testing.assert_close(heads, want)


def test_the_embedding_follows_the_tokens_that_are_said_to_be_read(make_form, images):
    """What `reads_class_token` denies has no influence: at the last block, the token or the patches may be anything."""
    for name in (*WITH_TOKEN, "distilled"):
        model = make_form(name)
        reads = describe(model).reads_class_token
        prefix = model.num_prefix_tokens

        def disturb(_m, _i, tokens, reads=reads, prefix=prefix):
            tokens = tokens.clone()
            unread = slice(prefix, None) if reads else slice(0, prefix)
            tokens[:, unread] += 5
            return tokens

        before = embed(model, images.double())
        handle = model.blocks[-1].register_forward_hook(disturb)
        after = embed(model, images.double())
        handle.remove()
        torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


def test_an_architecture_is_known_by_everything_that_changes_the_function(make_vit):
    def identity(spec: ModelSpec, pool: str = "model", **settings: object) -> dict:
        model = make_vit(**settings)
        set_pool(model, pool, "tiny")
        return architecture_of(model, describe(model), spec, None)

    plain, name = identity(ModelSpec("tiny.one_tag")), ModelSpec("tiny")
    assert identity(ModelSpec("tiny.another_tag")) == plain
    different = [
        identity(ModelSpec("tiny_quickgelu.one_tag")),
        identity(name, num_heads=6),
        identity(name, num_heads=4),
        identity(name, act_layer="quick_gelu"),
        identity(name, act_layer="gelu_tanh"),
        identity(name, img_size=32),
        identity(name, depth=2),
        identity(name, init_values=0.1),
        identity(name, qk_norm=True),
        identity(name, global_pool="avg"),
        identity(name, pool="mean"),
        identity(name, norm_layer="rmsnorm"),
        identity(name, pre_norm=True),
    ]
    for i, other in enumerate(different):
        assert other not in [plain, *different[:i]], i


ROTARY = {"use_rot_pos_emb": True, "use_abs_pos_emb": False}
DINOV3 = ROTARY | {"rope_type": "dinov3", "dynamic_img_size": True}


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (Eva, ROTARY, ROTARY | {"rope_rotate_half": True}),
        (Eva, DINOV3, DINOV3 | {"rope_temperature": 10.0}),
        (Eva, ROTARY, DINOV3),
        (Eva, ROTARY, ROTARY | {"ref_feat_shape": (8, 8)}),
        (Eva, {"global_pool": "map"}, {"global_pool": "map", "attn_pool_num_heads": 6}),
        (VisionTransformer, {"global_pool": "avg"}, {"global_pool": "avg", "pool_include_prefix": True}),
        (
            VisionTransformer,
            {"mlp_layer": GluMlp},
            {"mlp_layer": lambda *args, **settings: GluMlp(*args, **settings, gate_last=False)},
        ),
    ],
    ids=["rotary layout", "rotary temperature", "rotary kind", "rotary grid", "pool heads", "pooled prefix", "gate"],
)
def test_the_same_weights_with_another_setting_are_another_architecture(kind, one, other, randomise_model):
    with torch.random.fork_rng():
        models = [kind(**(TINY | settings)).eval() for settings in (one, other)]
    randomise_model(models[0], 0)
    models[1].load_state_dict(models[0].state_dict())
    assert weights_digest(models[0]) == weights_digest(models[1])
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    first, second = (embed(model, images) for model in models)
    assert not torch.allclose(first, second, atol=1e-4), "the example must matter"
    first, second = (architecture_of(model, describe(model), ModelSpec("tiny"), None) for model in models)
    assert first != second


def test_a_pool_that_cannot_be_is_refused_before_anything_is_fetched(monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("weights were fetched")

    monkeypatch.setattr(loading, "_pretrained", never)
    refused(ModelSpec("vit_base_patch16_siglip_gap_224.v2_webli", pool="token"), "has none")
    refused(ModelSpec("deit_tiny_distilled_patch16_224.fb_in1k", pool="mean"), "distilled")
