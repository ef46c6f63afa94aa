"""Rival rankings against direct, naive code on whole tensors."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from timm.layers import GluMlp, SwiGLU
from torch import Tensor, nn

from snapvit.artifacts import Scores
from snapvit.elastic.correction import collect_statistics
from snapvit.method.loss import teacher_targets, view_agreement
from snapvit.method.rivals import (
    lamp_scores,
    magnitude_scores,
    random_scores,
    snip_scores,
    unexplained_shares,
    variance_scores,
)
from snapvit.models.anatomy import describe
from snapvit.models.embedding import embed

SOME = ("plain", "packed MLP, gate last", "split MLP", "Eva, as DINOv3", "Eva, separate qkv")


@pytest.fixture(params=SOME)
def model(request, make_vit, make_form) -> nn.Module:
    return make_vit().double() if request.param == "plain" else make_form(request.param)


@pytest.fixture
def photos() -> Tensor:
    return torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def views() -> Tensor:
    """(V, n, 3, h, w): four views of five images, the first two global."""
    return torch.randn(4, 5, 3, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def found_by(name: str, model: nn.Module, photos: Tensor, views: Tensor) -> Scores:
    anatomy = describe(model)
    return {
        "magnitude": lambda: magnitude_scores(anatomy),
        "lamp": lambda: lamp_scores(anatomy),
        "snip": lambda: snip_scores(model, anatomy, views.split(2, dim=1), 2),
        "variance": lambda: variance_scores(model, anatomy, photos.split(3)),
    }[name]()


def parts_of(block: nn.Module) -> tuple[nn.Parameter, slice, nn.Parameter, slice]:
    """The weight and its rows that lead into the neurons, and those that make the heads' values."""
    mlp, attention = block.mlp, block.attn
    rows, gate = slice(None), (mlp.fc1_g if isinstance(mlp, SwiGLU) else mlp.fc1).weight
    if isinstance(mlp, GluMlp):
        half = len(gate) // 2
        rows = slice(half, None) if mlp.gate_last else slice(0, half)
    if attention.qkv is None:
        return gate, rows, attention.v_proj.weight, slice(None)
    return gate, rows, attention.qkv.weight, slice(2 * len(attention.qkv.weight) // 3, None)


def naive(model: nn.Module, of_weight, square_heads: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Means over units of of_weight(weight, rows), with loops."""
    mlp, head = [], []
    for block in model.blocks:
        fc1, fc1_rows, value, value_rows = parts_of(block)
        mlp.append([float(row.mean()) for row in of_weight(fc1, fc1_rows)])
        heads = of_weight(value, value_rows).chunk(block.attn.num_heads)
        head.append([float((part**2 if square_heads else part).mean()) for part in heads])
    return np.array(mlp), np.array(head)


def check(model: nn.Module, photos: Tensor, views: Tensor, name: str, want: tuple[np.ndarray, np.ndarray]) -> None:
    found = found_by(name, model, photos, views)
    assert found.mlp.dtype == found.head.dtype == np.float64
    np.testing.assert_allclose(found.mlp, want[0], rtol=1e-5)
    np.testing.assert_allclose(found.head, want[1], rtol=1e-5)


def test_magnitude(model, photos, views):
    check(model, photos, views, "magnitude", naive(model, lambda weight, rows: weight[rows] ** 2))


def naive_lamp(weight: Tensor, rows: slice) -> Tensor:
    flat = weight[rows].flatten().tolist()
    scores = [abs(w) / sum(other**2 for other in flat if abs(other) >= abs(w)) ** 0.5 for w in flat]
    return torch.tensor(scores, dtype=torch.float64).view_as(weight[rows])


def test_lamp(make_vit, photos, views):
    model = make_vit(depth=2, embed_dim=6, num_heads=3, mlp_ratio=2).double()
    check(model, photos, views, "lamp", naive(model, naive_lamp))


def test_lamp_knows_the_rows_of_every_form(model):
    anatomy, before = describe(model), deepcopy(model)
    scores = lamp_scores(anatomy)
    for block, old in zip(model.blocks, before.blocks, strict=True):
        fc1, rows, *_ = parts_of(block)
        fc1.data[rows][0] *= 100  # neuron 0 outweighs all others of its block
        assert torch.equal(parts_of(old)[0][rows][1:], fc1[rows][1:])
    after = lamp_scores(anatomy)
    assert (after.mlp.argmax(axis=1) == 0).all() and (after.mlp[:, 1:] < scores.mlp[:, 1:]).all()
    np.testing.assert_array_equal(after.head, scores.head)


def test_snip_magnitude(model, photos, views):
    copy = deepcopy(model)
    weights = {id(w) for block in copy.blocks for w in (parts_of(block)[0], parts_of(block)[2])}
    for parameter in copy.parameters():
        parameter.requires_grad_(id(parameter) in weights)
    z = embed(copy, views.flatten(0, 1)).unflatten(0, views.shape[:2])
    view_agreement(z, teacher_targets(z[:2])).mean().backward()

    def saliency(weight: nn.Parameter, rows: slice) -> Tensor:
        return ((weight * weight.grad).abs() + 0.001 * weight**2)[rows].detach()

    mlp, _ = naive(copy, saliency)
    _, head = naive(copy, saliency, square_heads=True)
    check(model, photos, views, "snip", (mlp, head))


def test_activation_variance(model, photos, views):
    neurons, heads, hooks = {}, {}, []
    for b, block in enumerate(model.blocks):
        for seen, layer in ((neurons, block.mlp.fc2), (heads, block.attn.proj)):
            hooks.append(layer.register_forward_pre_hook(lambda _, i, s=seen, b=b: s.update({b: i[0].flatten(0, 1)})))
    embed(model, photos)
    for hook in hooks:
        hook.remove()
    mlp = np.array([neurons[b].numpy().var(axis=0) for b in sorted(neurons)])
    width = model.blocks[0].attn.head_dim
    head = np.array([heads[b].numpy().var(axis=0).reshape(-1, width).mean(axis=1) for b in sorted(heads)])
    check(model, photos, views, "variance", (mlp, head))
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_random_follows_its_seed(anatomy):
    one, again, other = (random_scores(anatomy.topology, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.mlp, again.mlp)
    np.testing.assert_array_equal(one.head, again.head)
    assert one.mlp.shape == (3, 96) and one.head.shape == (3, 3)
    assert abs(np.corrcoef(one.mlp.ravel(), other.mlp.ravel())[0, 1]) < 0.2


def test_unexplained_is_the_residual_of_a_regression_on_the_others(make_vit, photos):
    model = make_vit().double()
    anatomy = describe(model)
    read = {}
    for b, block in enumerate(model.blocks):
        for kind, layer in (("mlp", block.mlp.fc2), ("head", block.attn.proj)):
            layer.register_forward_pre_hook(lambda _, i, k=(kind, b): read.update({k: i[0].flatten(0, 1).numpy()}))
    many = torch.randn(60, 3, 16, 16, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    embed(model, many)
    statistics = collect_statistics(model, anatomy, [many])
    found = unexplained_shares(statistics, anatomy.topology.heads, 1e-9)
    for kind, table, size in (("mlp", found.mlp, 1), ("head", found.head, model.blocks[0].attn.head_dim)):
        for b in range(len(model.blocks)):
            tokens = read[kind, b] - read[kind, b].mean(0)
            for unit in range(0, table.shape[1], 5 if size == 1 else 1):
                own = np.arange(unit * size, (unit + 1) * size)
                others = np.delete(tokens, own, axis=1)
                left = tokens[:, own] - others @ np.linalg.lstsq(others, tokens[:, own], rcond=None)[0]
                want = (left**2).sum() / (tokens[:, own] ** 2).sum()
                assert table[b, unit] == pytest.approx(want, abs=2e-3), (kind, b, unit)
    assert (found.mlp > 0).all() and (found.mlp <= 1).all() and (found.head <= 1).all()
