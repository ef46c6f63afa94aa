"""Linear CKA against its definition by centred Gram matrices, and what it reads against a forward by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snapvit.errors import Cancelled
from snapvit.method import cka as cka_module
from snapvit.method.cka import collect_structures, estimate_cka, linear_cka_map, nearest_correlation
from snapvit.models.anatomy import describe


def map_by_definition(features: list[Tensor]) -> Tensor:
    centring = torch.eye(len(features[0]), dtype=torch.float64) - 1 / len(features[0])
    grams = [centring @ f @ f.T @ centring for f in features]
    return torch.stack([torch.stack([(k * g).sum() / (k.norm() * g.norm()) for g in grams]) for k in grams])


@pytest.fixture
def features() -> list[Tensor]:
    """Four related float64 features of 40 images, of different widths."""
    g = torch.Generator().manual_seed(0)
    base = torch.randn(40, 6, generator=g, dtype=torch.float64)
    mixed = [base @ torch.randn(6, w, generator=g, dtype=torch.float64) for w in (7, 5, 3)]
    noisy = [m + s * torch.randn(m.shape, generator=g, dtype=m.dtype) for m, s in zip(mixed, (0, 0.5, 3), strict=True)]
    return [*noisy, torch.randn(40, 9, generator=g, dtype=torch.float64) + 5]


@pytest.mark.parametrize("chunk", [None, 1, 500])
def test_map_equals_the_centred_gram_definition(features, chunk, monkeypatch):
    if chunk:  # Gram rows taken one, or a few, at a time
        monkeypatch.setattr(cka_module, "CHUNK_NUMBERS", chunk)
    want = map_by_definition(features)
    found = linear_cka_map(features).double()
    torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-6)
    assert 2 * want[0, 3] < want[0, 1], "the example must tell near from far"
    assert torch.equal(found, found.T)
    assert (found.diagonal() == 1).all()


def test_map_ignores_rotation_scale_and_shift(features):
    g = torch.Generator().manual_seed(1)
    moved = []
    for x in features:
        rotation = torch.linalg.qr(torch.randn(x.shape[1], x.shape[1], generator=g, dtype=torch.float64)).Q
        moved.append(-3.7 * x @ rotation + 11)
    torch.testing.assert_close(linear_cka_map(moved), linear_cka_map(features), rtol=1e-6, atol=1e-6)
    sheared = [features[0] * torch.logspace(0, 2, 7, dtype=torch.float64), *features[1:]]
    assert not torch.allclose(linear_cka_map(sheared), linear_cka_map(features), atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constants", [(0.0, 0.0), (0.1, 0.3), (1000.1, -7.7)])
def test_features_without_variance_are_like_nothing_else(features, constants, dtype):
    dead = [torch.full((40, 4), c) for c in constants]
    found = linear_cka_map([f.to(dtype) for f in [*features[:2], *dead]])
    assert found.isfinite().all()
    assert (found.diagonal() == 1).all()
    off_diagonal = found[2:] - torch.eye(4)[2:]
    torch.testing.assert_close(off_diagonal, torch.zeros(2, 4), rtol=0, atol=1e-6)


def structures_by_hand(model: nn.Module, images: Tensor, read: slice) -> list[Tensor]:
    """The forward pass written out: fc1's output and each head's part of proj's input, mean over the tokens `read`."""
    tokens = model.norm_pre(model._pos_embed(model.patch_embed(images)))
    mlp, head = [], []
    for block in model.blocks:
        count, width = block.attn.num_heads, block.attn.head_dim
        normed = block.norm1(tokens)
        q, k, v = (normed @ block.attn.qkv.weight.T + block.attn.qkv.bias).chunk(3, dim=-1)
        outs = []
        for h in range(count):
            rows = slice(h * width, (h + 1) * width)
            weights = (q[..., rows] @ k[..., rows].mT / width**0.5).softmax(dim=-1)
            outs.append(weights @ v[..., rows])
        head += [out[:, read].mean(dim=1) for out in outs]
        tokens = tokens + torch.cat(outs, dim=-1) @ block.attn.proj.weight.T + block.attn.proj.bias
        hidden = block.norm2(tokens) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
        mlp.append(hidden[:, read].mean(dim=1))
        tokens = tokens + F.gelu(hidden) @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    return mlp + head


@pytest.mark.parametrize(
    ("settings", "read"),
    [
        ({}, slice(0, 1)),
        ({"reg_tokens": 2}, slice(0, 1)),
        ({"class_token": False, "global_pool": "avg"}, slice(0, None)),
        ({"class_token": False, "global_pool": "avg", "reg_tokens": 2}, slice(2, None)),
    ],
    ids=["class token", "class token and registers", "patches only", "registers are no patches"],
)
def test_structures_are_read_where_the_design_says(make_vit, images, settings, read):
    model, images = make_vit(**settings).double(), images.double()
    want = structures_by_hand(model, images, read)
    found = collect_structures(model, describe(model), images.split([4, 2]))
    assert [tuple(f.shape) for f in found] == [(6, 96)] * 3 + [(6, 8)] * 9
    for index, (a, b) in enumerate(zip(found, want, strict=True)):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=lambda m, i=index: f"structure {i}: {m}")


def test_map_of_a_model(make_vit, images):
    model, images = make_vit().double(), images.double()
    want = map_by_definition(structures_by_hand(model, images, slice(0, 1)))
    found = estimate_cka(model, describe(model), [images[:1], images[1:]])
    assert found.images == 6
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["packed MLP, gate first", "packed MLP, gate last", "split MLP"])
def test_a_gated_mlp_is_read_at_its_gate_projection(make_form, images, name):
    model, images = make_form(name), images.double()
    features = collect_structures(model, describe(model), [images])
    hidden = describe(model).topology.hidden
    tokens = model.norm_pre(model._pos_embed(model.patch_embed(images)))
    for b, block in enumerate(model.blocks):
        tokens = tokens + block.ls1(block.attn(block.norm1(tokens)))
        normed = block.norm2(tokens)
        if "split" in name:
            gate = block.mlp.fc1_g(normed)
        else:
            gate = block.mlp.fc1(normed)[..., hidden:] if "last" in name else block.mlp.fc1(normed)[..., :hidden]
        torch.testing.assert_close(features[b], gate[:, 0], rtol=1e-10, atol=1e-10)
        tokens = tokens + block.ls2(block.mlp(normed))


def test_every_form_has_a_map(form, images):
    topology = describe(form).topology
    features = collect_structures(form, describe(form), [images.double()])
    widths = [topology.hidden] * 3 + [topology.head_width] * 9
    assert [tuple(f.shape) for f in features] == [(6, width) for width in widths]
    found = estimate_cka(form, describe(form), [images.double()])
    np.testing.assert_allclose(found.values, map_by_definition(features), rtol=1e-5, atol=1e-6)


class Stops(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        raise Cancelled


def test_no_hook_stays_behind(tiny_vit, anatomy, images):
    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tiny_vit.modules())

    collect_structures(tiny_vit, anatomy, [images])
    assert hooks() == 0
    tiny_vit.norm = Stops()
    with pytest.raises(Cancelled):
        collect_structures(tiny_vit, anatomy, [images])
    assert hooks() == 0


def test_repair_leaves_a_correlation_matrix_as_it_is():
    samples = np.random.default_rng(0).normal(size=(200, 8)) @ np.random.default_rng(1).normal(size=(8, 8))
    valid = np.corrcoef(samples.T)
    np.testing.assert_allclose(nearest_correlation(valid), valid, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_repair_makes_a_correlation_matrix(seed):
    rng = np.random.default_rng(seed)
    broken = rng.uniform(-1, 1, size=(12, 12))  # neither symmetric nor positive
    np.fill_diagonal(broken, 1)
    given = broken.copy()
    found = nearest_correlation(broken)
    assert np.linalg.eigvalsh((broken + broken.T) / 2)[0] < -0.1, "the example must need repair"
    np.testing.assert_array_equal(broken, given)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(np.diag(found), 1, atol=1e-12)
    assert np.linalg.eigvalsh(found)[0] > 0
    np.linalg.cholesky(found)
    assert np.abs(found).max() <= 1 + 1e-12


def test_repair_of_equal_structures_can_be_searched_with():
    np.linalg.cholesky(nearest_correlation(np.ones((6, 6))))
    np.testing.assert_allclose(nearest_correlation(np.ones((6, 6))), np.ones((6, 6)), atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_repair_refuses_what_is_not_finite(bad):
    matrix = np.eye(3)
    matrix[0, 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        nearest_correlation(matrix)
