"""Slicing against masking full copies, there and back, on every kind of block that anatomy admits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from snapvit.artifacts import Cut, Floors, Ranking, Scores
from snapvit.elastic import vit as elastic_module
from snapvit.elastic.ranking import cut_at, rank
from snapvit.elastic.vit import ElasticViT
from snapvit.models.anatomy import describe
from snapvit.models.embedding import embed

VARIANTS = {
    "plain": {},
    "no qkv bias": {"qkv_bias": False},
    "no bias in the blocks": {"qkv_bias": False, "proj_bias": False},
    "qk norm": {"qk_norm": True},
    "layer scale": {"init_values": 0.1},
    "registers": {"reg_tokens": 3},
    "average pool": {"class_token": False, "global_pool": "avg"},
    "attention pool": {"class_token": False, "global_pool": "map"},
    "one head": {"num_heads": 1},
    "no classifier": {"num_classes": 0},
}
SPARSITIES = ((0.0, 0.0), (0.35, 0.2), (0.65, 0.5), (0.9, 0.8), (0.99, 0.99))


def ranking_of(model: nn.Module, floors: Floors, seed: int = 0) -> Ranking:
    """Scores whose last block is the least and whose first block is the most important, but not strictly."""
    t = describe(model).topology
    rng = np.random.default_rng(seed)
    falling = np.logspace(0, -1.5, t.blocks)[:, None]
    return rank(
        Scores(falling * rng.exponential(size=(t.blocks, t.hidden)), falling * rng.random((t.blocks, t.heads))), floors
    )


def elastic_of(model: nn.Module, ranking: Ranking) -> ElasticViT:
    return ElasticViT(model, describe(model), ranking.neuron_order(), ranking.head_order())


def kept_units(ranking: Ranking, cut: Cut) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return (
        [order[:count] for order, count in zip(ranking.neuron_order(), cut.kept_neurons, strict=True)],
        [order[:count] for order, count in zip(ranking.head_order(), cut.kept_heads, strict=True)],
    )


def assert_near(found: Tensor, want: Tensor, share: float) -> None:
    """Equal to within a share of the largest number."""
    torch.testing.assert_close(found, want, rtol=0, atol=share * float(want.abs().max()))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("floors", [Floors(), Floors(0, 0)], ids=["floors", "no floors"])
def test_slicing_equals_masking_there_and_back(make_vit, images, masked_copy, variant, floors):
    model, images = make_vit(**VARIANTS[variant]).double(), images.double()
    ranking = ranking_of(model, floors)
    cuts = [cut_at(ranking, *pair) for pair in SPARSITIES]
    want = [masked_copy(model, *kept_units(ranking, cut))(images) for cut in cuts]
    for other in want[1:]:
        assert (other - want[0]).abs().max() > 1e-3 * want[0].abs().max(), "the cuts must matter"
    with elastic_of(model, ranking) as elastic:
        assert_near(model(images), want[0], 1e-12)
        for i in (0, 1, 2, 3, 4, 3, 1, 0, 4, 0):
            elastic.keep(cuts[i])
            assert_near(elastic.model(images), want[i], 1e-12)


@pytest.mark.parametrize("pair", SPARSITIES, ids=str)
def test_slicing_equals_masking_in_single_precision(tiny_vit, images, masked_copy, pair):
    ranking = ranking_of(tiny_vit, Floors())
    cut = cut_at(ranking, *pair)
    want = embed(masked_copy(tiny_vit, *kept_units(ranking, cut)), images)
    with elastic_of(tiny_vit, ranking) as elastic:
        elastic.keep(cut)
        assert_near(embed(elastic.model, images), want, 1e-5)


FORM_SPARSITIES = ((0.35, 0.4), (0.65, 0.7), (0.9, 0.8))


def test_slicing_equals_masking_in_every_form(form, images, masked_copy):
    images, ranking = images.double(), ranking_of(form, Floors(0, 0))
    hidden = describe(form).topology.hidden
    before = {name: tensor.clone() for name, tensor in all_numbers(form).items()}
    parts, whole = description(form), form(images)
    cuts = [cut_at(ranking, *pair) for pair in FORM_SPARSITIES]
    cuts += [Cut(0, 0, (0, hidden, hidden // 2), (3, 0, 1)), Cut(0, 0, (0, 0, 0), (0, 0, 0))]
    want = [masked_copy(form, *kept_units(ranking, cut))(images) for cut in cuts]
    for other in want:
        assert (other - whole).abs().max() > 1e-3 * whole.abs().max(), "the cuts must matter"
    with elastic_of(form, ranking) as elastic:
        assert_near(form(images), whole, 1e-12)
        for i in (0, 1, 2, 3, 4, 2, 0, 3):
            elastic.keep(cuts[i])
            assert_near(elastic.model(images), want[i], 1e-12)
        elastic.show_all()
        assert_near(form(images), whole, 1e-12)
    assert description(form) == parts
    assert all(torch.equal(tensor, before[name]) for name, tensor in all_numbers(form).items())
    assert torch.equal(form(images), whole)


def test_without_fused_attention_slicing_equals_masking_in_every_form(form, images, masked_copy):
    """As when somebody reads the attention probabilities of a cut model."""
    for block in form.blocks:
        block.attn.fused_attn = False
    ranking = ranking_of(form, Floors())
    cut = cut_at(ranking, 0.35, 0.5)
    want = masked_copy(form, *kept_units(ranking, cut))(images.double())
    with elastic_of(form, ranking) as elastic:
        elastic.keep(cut)
        assert_near(elastic.model(images.double()), want, 1e-12)


@pytest.mark.parametrize("name", ["Eva, as DINOv3", "packed MLP, gate last", "AttentionRope, separate qkv"])
def test_weights_of_other_forms_are_in_memory_once(make_form, name):
    model = make_form(name)

    def bytes_held() -> int:
        tensors = [*model.parameters(), *model.buffers(), *(p for layer in standard for p in layer.parameters())]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(storages.values())

    standard = [m for m in model.modules() if isinstance(m, nn.Linear)]
    before = bytes_held()
    ranking = ranking_of(model, Floors())
    with elastic_of(model, ranking) as elastic:
        elastic.keep(cut_at(ranking, 0.5, 0.5))
        assert bytes_held() == before


@pytest.mark.parametrize("fused", [True, False], ids=["fused attention", "plain attention"])
@pytest.mark.parametrize("variant", ["plain", "no qkv bias", "no bias in the blocks", "qk norm", "layer scale"])
def test_a_block_may_lose_all_heads_or_its_whole_mlp(make_vit, images, masked_copy, variant, fused):
    """The biases of proj and fc2 remain, as they do when everything before them is masked."""
    model, images = make_vit(**VARIANTS[variant]).double(), images.double()
    for block in model.blocks:
        block.attn.fused_attn = fused
    ranking = ranking_of(model, Floors(0, 0))
    with elastic_of(model, ranking) as elastic:
        for neurons, heads in (((0, 96, 40), (3, 0, 1)), ((96, 96, 96), (0, 0, 0)), ((0, 0, 0), (0, 0, 0))):
            elastic.show(neurons, heads)
            found = elastic.model(images)
            elastic.show_all()
            whole = masked_copy(make_vit(**VARIANTS[variant]).double(), *kept_units(ranking, Cut(0, 0, neurons, heads)))
            assert_near(found, whole(images), 1e-12)


def weights(model: nn.Module) -> dict[str, Tensor]:
    out = {}
    for b, block in enumerate(model.blocks):
        parts = {"fc1": block.mlp.fc1, "fc2": block.mlp.fc2, "qkv": block.attn.qkv, "proj": block.attn.proj}
        for name, layer in parts.items():
            out |= {f"{b}.{name}.weight": layer.weight, f"{b}.{name}.bias": layer.bias}
    return out


def test_a_cut_is_a_view_of_the_whole_weights(tiny_vit):
    ranking = ranking_of(tiny_vit, Floors(0.05, 0.34))  # an empty weight has no address
    with elastic_of(tiny_vit, ranking) as elastic:
        whole = {name: (w.data_ptr(), w.untyped_storage().data_ptr()) for name, w in weights(tiny_vit).items()}
        for pair in ((0.35, 0.2), (0.9, 0.8), (0.0, 0.0)):
            cut = cut_at(ranking, *pair)
            elastic.keep(cut)
            for name, w in weights(tiny_vit).items():
                assert (w.data_ptr(), w.untyped_storage().data_ptr()) == whole[name], name
            for block, neurons, heads in zip(tiny_vit.blocks, cut.kept_neurons, cut.kept_heads, strict=True):
                assert block.mlp.fc1.weight.shape == (neurons, 24)
                assert block.mlp.fc1.bias.shape == (neurons,)
                assert block.mlp.fc2.weight.shape == (24, neurons)
                assert block.attn.proj.weight.shape == (24, 8 * heads)
                assert block.attn.qkv.weight.numel() == 3 * 8 * heads * 24
                assert block.attn.qkv.bias.numel() == 3 * 8 * heads
                assert block.mlp.fc1.out_features == block.mlp.fc2.in_features == neurons, "sizes are what they say"
                assert block.attn.proj.in_features == block.attn.attn_dim == 8 * heads


def test_weights_are_in_memory_once(tiny_vit):
    def bytes_held() -> int:
        tensors = [*tiny_vit.parameters(), *(q.weight for q in standard)]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(storages.values())

    standard = [block.attn.qkv for block in tiny_vit.blocks]
    before = bytes_held()
    ranking = ranking_of(tiny_vit, Floors())
    with elastic_of(tiny_vit, ranking) as elastic:
        elastic.keep(cut_at(ranking, 0.5, 0.5))
        assert bytes_held() == before


def description(model: nn.Module) -> list[tuple[object, ...]]:
    """What a model is made of apart from its numbers."""
    counts = ("num_heads", "num_kv_heads", "head_dim", "attn_dim", "kv_dim", "in_features", "out_features")
    return [
        (name, type(m), *(getattr(m, c, None) for c in counts), *(p.requires_grad for p in m.parameters(False)))
        for name, m in model.named_modules()
    ]


def all_numbers(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


@pytest.mark.parametrize("variant", ["plain", "no qkv bias", "qk norm", "one head"])
@pytest.mark.parametrize("fails", [False, True], ids=["normal exit", "exception"])
def test_leaving_gives_every_weight_back_bit_for_bit(make_vit, images, variant, fails):
    model = make_vit(**VARIANTS[variant])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parts, output = description(model), model(images)
    ranking, other = (ranking_of(model, Floors(0, 0), seed) for seed in (0, 1))
    try:
        with elastic_of(model, ranking) as elastic:
            elastic.keep(cut_at(ranking, 0.7, 0.6))
            elastic.order_heads(other.head_order())
            elastic.keep(cut_at(ranking, 0.9, 0.9))
            if fails:
                raise KeyError("from inside")
    except KeyError:
        assert fails
    after = model.state_dict()
    assert list(after) == list(before)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
        assert after[name].is_contiguous(), name
    assert description(model) == parts
    assert all(type(block.attn.qkv) is nn.Linear for block in model.blocks)
    assert torch.equal(model(images), output)


def test_a_model_held_in_inference_mode_can_still_be_differentiated(tiny_vit, images):
    ranking = ranking_of(tiny_vit, Floors())
    with torch.inference_mode(), elastic_of(tiny_vit, ranking) as elastic:
        elastic.keep(cut_at(ranking, 0.5, 0.5))
        elastic.model(images)
    pixels = images.clone().requires_grad_()
    tiny_vit(pixels).sum().backward()
    assert pixels.grad.abs().sum() > 0


def test_releasing_twice_is_harmless(tiny_vit):
    before = {name: tensor.clone() for name, tensor in tiny_vit.state_dict().items()}
    with elastic_of(tiny_vit, ranking_of(tiny_vit, Floors())) as elastic:
        elastic.release()
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_vit.state_dict().items())


def test_reordered_heads_equal_a_fresh_elastic_model(make_vit, images):
    old, new = make_vit(), make_vit()
    first, second, third = (ranking_of(old, Floors(0, 0), seed) for seed in range(3))
    assert not np.array_equal(first.head_order(), second.head_order())
    with (
        elastic_of(old, first) as changed,
        ElasticViT(new, describe(new), first.neuron_order(), second.head_order()) as fresh,
    ):
        changed.order_heads(third.head_order())
        changed.show((96, 50, 10), (2, 1, 3))
        changed.order_heads(second.head_order())
        for block in old.blocks:
            assert (block.attn.num_heads, block.attn.qkv.weight.shape[0]) == (3, 3), "a new order shows every head"
        for heads in ((3, 3, 3), (2, 1, 0), (1, 2, 2)):
            changed.show((96, 50, 10), heads)
            fresh.show((96, 50, 10), heads)
            assert torch.equal(changed.model(images), fresh.model(images))
            for a, b in zip(weights(old).values(), weights(new).values(), strict=True):
                assert torch.equal(a, b)


def test_orders_handed_in_are_copied(tiny_vit, images):
    before = {name: tensor.clone() for name, tensor in tiny_vit.state_dict().items()}
    ranking = ranking_of(tiny_vit, Floors())
    neurons, heads = ranking.neuron_order().copy(), ranking.head_order().copy()
    with ElasticViT(tiny_vit, describe(tiny_vit), neurons, heads):
        neurons[:] = np.arange(96)
        heads[:] = np.arange(3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_vit.state_dict().items())


@pytest.mark.parametrize("kind", ["neuron", "head"])
@pytest.mark.parametrize("fault", ["twice", "too few", "beyond"])
def test_orders_that_are_none_are_refused_and_change_nothing(tiny_vit, anatomy, kind, fault):
    before = {name: tensor.clone() for name, tensor in tiny_vit.state_dict().items()}
    orders = {"neuron": np.tile(np.arange(96), (3, 1)), "head": np.tile(np.arange(3), (3, 1))}
    if fault == "twice":
        orders[kind][1, 0] = 1
    elif fault == "beyond":
        orders[kind][1, 0] = 200
    else:
        orders[kind] = orders[kind][:, 1:]
    with pytest.raises(ValueError, match=f"{kind} order"):
        ElasticViT(tiny_vit, anatomy, orders["neuron"], orders["head"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_vit.state_dict().items())


def test_changing_the_sparsity_of_the_bundled_topology_moves_no_weights(bundled, images):
    """Twelve blocks, both ways, on a model of the bundled config; its own weights stay shared with other tests."""
    model = VisionTransformer(img_size=28, patch_size=7, num_classes=10, embed_dim=144, depth=12, num_heads=6).eval()
    model.load_state_dict(bundled.model.state_dict())
    pixels = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    want = bundled.model(pixels)
    ranking = ranking_of(model, Floors())
    with elastic_of(model, ranking) as elastic:
        for s in (0.95, 0.5, 0.0):
            elastic.keep(cut_at(ranking, s, max(0, s - 0.15)))
        assert_near(model(pixels), want, 1e-5)


@pytest.mark.parametrize("name", ["packed MLP, gate first", "Eva, as DINOv3", "Eva, gated attention"])
@pytest.mark.parametrize("step", ["stack", "units", "order", "heads", "show"])
def test_a_model_is_given_back_whatever_fails_while_it_is_taken(make_form, images, monkeypatch, name, step):
    model = make_form(name)
    anatomy = describe(model)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    rng = np.random.default_rng(0)
    topology = anatomy.topology
    orders = [
        np.stack([rng.permutation(width) for _ in range(topology.blocks)])
        for width in (topology.hidden, topology.heads)
    ]
    with ElasticViT(model, anatomy, *orders) as elastic:
        want = embed(elastic.model, images.double())
    failing = {
        "stack": (elastic_module.StackByUnit, "__init__", 2),
        "units": (elastic_module.ElasticUnits, "__init__", 4),
        "order": (elastic_module.ElasticUnits, "order", 2),
        "heads": (elastic_module.ElasticUnits, "order", topology.blocks + 2),
        "show": (ElasticViT, "show_all", 1),
    }
    owner, method, turn = failing[step]
    if step == "stack" and not any(units.stacks for block in anatomy.blocks for units in (block.neurons, block.heads)):
        pytest.skip("this form keeps no layers stacked")
    with monkeypatch.context() as patch:
        fail_at(patch, owner, method, turn)
        with pytest.raises(MemoryError):
            ElasticViT(model, anatomy, *orders)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
    describe(model)  # nobody holds it
    with ElasticViT(model, anatomy, *orders) as elastic:
        assert torch.equal(embed(elastic.model, images.double()), want)


def fail_at(patch: pytest.MonkeyPatch, owner: type, method: str, turn: int) -> None:
    """The method's call number `turn` fails, once."""
    real, calls = getattr(owner, method), []

    def failing(self: object, *args: object) -> object:
        calls.append(1)
        if len(calls) == turn:
            raise MemoryError
        return real(self, *args)

    patch.setattr(owner, method, failing)
