"""The files that are shipped with an export, in this process: every form in which timm keeps neurons and heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.models.eva import EvaAttention

from snapvit.artifacts import Cut, Floors, Scores
from snapvit.elastic.correction import packed
from snapvit.elastic.ranking import cut_at, rank
from snapvit.elastic.vit import ElasticViT
from snapvit.export import cut as shipped_cut
from snapvit.export import load as shipped_load
from snapvit.export.shown import outputs, pooling_of, shown_tensors
from snapvit.models.anatomy import describe
from snapvit.models.pooling import set_pool

PAIRS = ((0.35, 0.2), (0.65, 0.5), (0.95, 0.8))


def with_ranking(tensors, ranking):
    """All that model.safetensors of an elastic export holds."""
    return dict(tensors) | {f"elastic.{name}": tensor for name, tensor in ranking.items()}


@pytest.fixture
def config(request, form, make_form, randomise_model, monkeypatch):
    """config.json of the form; what timm is said to build of it has the form, but other numbers."""
    name = request.node.callspec.params["form"]

    def create(asked: str, **_: object) -> torch.nn.Module:
        model = make_form(asked)
        randomise_model(model, 1)
        return model.requires_grad_(True)

    monkeypatch.setattr(shipped_load.timm, "create_model", create)
    return {"model": {"name": name, "arguments": {}, "attributes": pooling_of(form)}}


def ranking_for(topology, floors=Floors(0, 0)):  # noqa: B008
    rng = np.random.default_rng(0)
    mlp, heads = ((topology.blocks, topology.hidden), (topology.blocks, topology.heads))
    return rank(Scores(rng.exponential(size=mlp), rng.exponential(size=heads)), floors)


def test_every_form_is_built_exactly_as_it_was_shown(form, config, images):
    """Both by load.py, of what is shown, and by cut.py, of the whole model and the ranking."""
    images, anatomy = images.double(), describe(form)
    topology = anatomy.topology
    ranking = ranking_for(topology)
    neurons, heads = (topology.hidden,) * topology.blocks, (topology.heads,) * topology.blocks
    cuts = [cut_at(ranking, *pair) for pair in PAIRS]
    cuts += [Cut(0, 0, neurons, (0, *heads[1:])), Cut(0, 0, (*neurons[1:], 0), heads)]
    order = {"mlp": torch.from_numpy(ranking.mlp), "heads": torch.from_numpy(ranking.head)}
    with ElasticViT(form, anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
        whole = shown_tensors(form)
        kept = {"kept_heads": whole.kept_heads, "kept_neurons": whole.kept_neurons}
        elastic_config = config | kept | {"elastic": {"mlp_protected": 0, "heads_protected": 0}}
        for number, cut in enumerate(cuts):
            elastic.keep(cut)
            shown = shown_tensors(form)
            assert (shown.kept_heads, shown.kept_neurons) == (cut.kept_heads, cut.kept_neurons)
            kept = {"kept_heads": cut.kept_heads, "kept_neurons": cut.kept_neurons}
            built = shipped_load.build(config | kept, shown.tensors)
            for found, want in zip(outputs(built, images), outputs(form, images), strict=True):
                torch.testing.assert_close(found, want, rtol=0, atol=1e-12 * float(want.abs().max()))
            assert sum(parameter.numel() for parameter in built.parameters()) == shown.params
            built.train()(images).sum().backward()
            assert all(p.grad.isfinite().all() for p in built.parameters() if p.grad is not None)
            if number < len(PAIRS):
                left, tensors = shipped_cut.cut(elastic_config, with_ranking(whole.tensors, order), *PAIRS[number])
                assert tuple(left["kept_heads"]) == cut.kept_heads and tuple(left["kept_neurons"]) == cut.kept_neurons
                assert tensors.keys() == shown.tensors.keys()
                assert all(torch.equal(tensor, shown.tensors[name]) for name, tensor in tensors.items())


def test_what_is_shown_is_copied(tiny_vit, anatomy):
    ranking = ranking_for(anatomy.topology)
    with ElasticViT(tiny_vit, anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
        elastic.keep(cut_at(ranking, 0.5, 0.3))
        shown = shown_tensors(tiny_vit)
        assert all(tensor.is_contiguous() for tensor in shown.tensors.values())
        before = {name: tensor.clone() for name, tensor in shown.tensors.items()}
        for parameter in tiny_vit.parameters():
            parameter.data.zero_()
        assert all(torch.equal(shown.tensors[name], tensor) for name, tensor in before.items())


def test_a_built_model_can_be_copied_and_saved_again(form, config, images):
    """A deep copy stands alone, and its state is what it was built of (but for zeros that timm keeps in no state)."""
    from copy import deepcopy

    images, anatomy = images.double(), describe(form)
    ranking = ranking_for(anatomy.topology)
    with ElasticViT(form, anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
        cut = cut_at(ranking, 0.65, 0.5)
        elastic.keep(cut)
        shown = shown_tensors(form)
    kept = {"kept_heads": cut.kept_heads, "kept_neurons": cut.kept_neurons}
    built = shipped_load.build(config | kept, shown.tensors)
    state = built.state_dict()
    assert shown.tensors.keys() - state.keys() == {n for n in shown.tensors if n.endswith("k_bias")}
    assert all(torch.equal(state[name], shown.tensors[name]) for name in state)
    copy, want = deepcopy(built), outputs(built, images)[0]
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.zero_()
    torch.testing.assert_close(outputs(copy, images)[0], want)


def test_a_missing_tensor_is_named(tiny_vit, anatomy):
    tensors = dict(tiny_vit.state_dict())
    tensors.pop("norm.bias")
    topology = anatomy.topology
    config = {
        "model": {
            "name": "vit_base_patch16_224",
            "arguments": {
                "img_size": 16,
                "patch_size": 8,
                "embed_dim": 24,
                "depth": 3,
                "num_heads": 3,
                "num_classes": 5,
            },
            "attributes": {},
        },
        "kept_heads": [topology.heads] * 3,
        "kept_neurons": [topology.hidden] * 3,
    }
    with pytest.raises(ValueError, match=r"lacks norm\.bias"):
        shipped_load.build(config, tensors)


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("vit_base_patch16_siglip_224", "model"),
        ("vit_base_patch16_siglip_224", "mean"),
        ("vit_small_patch16_dinov3", "token"),
        ("deit_tiny_patch16_224", "mean"),
    ],
)
def test_the_embedding_is_made_as_it_was_asked_for(name, pool):
    """Attention pooling that was set aside, and pooling that is not timm's own, come back so."""
    arguments = {"img_size": 48, "depth": 1}
    with torch.random.fork_rng():
        model = timm.create_model(name, **arguments).eval()
    set_pool(model, pool, name)
    topology, images = describe(model).topology, torch.randn(2, 3, 48, 48)
    config = {
        "model": {"name": name, "arguments": arguments, "attributes": pooling_of(model)},
        "kept_heads": [topology.heads],
        "kept_neurons": [topology.hidden],
    }
    built = shipped_load.build(config, dict(model.state_dict()))
    for found, want in zip(outputs(built, images), outputs(model, images), strict=True):
        torch.testing.assert_close(found, want)


@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("keep", [0, 1, 5, 11])
def test_the_correction_is_least_squares_on_the_kept_inputs(keep, has_bias):
    """With next to no damping: numpy's own answer, with a column of ones for the bias."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 12)) @ rng.normal(size=(12, 12)) + rng.normal(size=12)
    weight, bias = rng.normal(size=(7, 12)), rng.normal(size=7) if has_bias else np.zeros(7)
    columns = np.hstack([inputs[:, :keep], np.ones((400, 1))])
    want = np.linalg.lstsq(columns, inputs @ weight.T + bias, rcond=None)[0]
    covariance = np.cov(inputs, rowvar=False, bias=True) + 1e-9 * np.eye(12)
    lower = np.linalg.cholesky(covariance)
    found_weight, found_bias = shipped_cut.corrected(
        torch.from_numpy(weight),
        torch.from_numpy(bias) if has_bias else None,
        keep,
        packed(torch.from_numpy(np.linalg.inv(lower))),
        torch.from_numpy(weight @ lower),
        torch.from_numpy(inputs.mean(0)),
    )
    np.testing.assert_allclose(found_weight.numpy(), want[:-1].T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found_bias.numpy(), want[-1], rtol=1e-4, atol=1e-6)


def test_cut_py_corrects_the_layers_it_has_factors_of(tiny_vit, anatomy):
    """And those alone, heads by whole heads; a whole layer needs none."""
    ranking, topology = ranking_for(anatomy.topology), anatomy.topology
    tensors = dict(tiny_vit.state_dict())
    config = {"kept_heads": [topology.heads] * 3, "elastic": {"mlp_protected": 0, "heads_protected": 0}}
    order = {"mlp": torch.from_numpy(ranking.mlp), "heads": torch.from_numpy(ranking.head)}
    generator, factors = torch.Generator().manual_seed(0), {}
    for layer, width in (("blocks.0.mlp.fc2", topology.hidden), ("blocks.1.attn.proj", topology.width)):
        factors[f"{layer}.inverse"] = torch.randn(width * (width + 1) // 2, generator=generator)
        factors[f"{layer}.product"] = torch.randn(topology.width, width, generator=generator)
        factors[f"{layer}.mean"] = torch.randn(width, generator=generator)
    left, plain = shipped_cut.cut(config, with_ranking(tensors, order), 0.5, 0.7)
    _, found = shipped_cut.cut(config, with_ranking(tensors, order | factors), 0.5, 0.7)
    changed = set()
    for layer, keep in (
        ("blocks.0.mlp.fc2", left["kept_neurons"][0]),
        ("blocks.1.attn.proj", 8 * left["kept_heads"][1]),
    ):
        weight, bias = tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]
        want = shipped_cut.corrected(weight, bias, keep, *(factors[f"{layer}.{n}"] for n in shipped_cut.CORRECTION))
        assert keep < weight.shape[1]
        assert all(torch.equal(found[f"{layer}.{name}"], w) for name, w in zip(("weight", "bias"), want, strict=True))
        changed |= {f"{layer}.weight", f"{layer}.bias"}
    assert {name for name in plain if not torch.equal(plain[name], found[name])} == changed
    _, whole = shipped_cut.cut(config, with_ranking(tensors, order | factors), 0.0, 0.0)
    assert all(torch.equal(whole[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("floors", [Floors(), Floors(0, 0)], ids=["floors", "no floors"])
@pytest.mark.parametrize("ratio", [0.0, 0.29, 0.5, 0.97])
def test_cut_py_keeps_what_the_ranking_says(anatomy, floors, ratio):
    ranking = ranking_for(anatomy.topology, floors)
    want = cut_at(ranking, ratio, ratio)
    for order, protected, kept in (
        (ranking.mlp, ranking.mlp_protected, want.kept_neurons),
        (ranking.head, ranking.head_protected, want.kept_heads),
    ):
        assert tuple(shipped_cut.kept(torch.from_numpy(order), protected, ranking.blocks, ratio)) == kept


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_cut_py_refuses_a_ratio_that_is_none(ratio):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        shipped_cut.kept(torch.arange(6), 0, 2, ratio)


@pytest.mark.parametrize(("name", "most"), [("load.py", 80), ("cut.py", 90)])
def test_shipped_files_are_short(name, most):
    text = (Path(shipped_load.__file__).with_name(name)).read_text(encoding="utf-8")
    assert len(text.splitlines()) < most


def test_eva_attention_with_all_heads_is_timms_own(images):
    torch.manual_seed(0)
    own = EvaAttention(24, num_heads=3, qkv_bias=True, norm_layer=torch.nn.LayerNorm, scale_norm=False).eval()
    tokens = torch.randn(2, 5, 24)
    with torch.no_grad():
        want = own(tokens)
        own.__class__ = shipped_load.CutEvaAttention
        torch.testing.assert_close(own(tokens), want)
