"""Curvature against autograd's own gradients of the weights, one image at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import pytest
import torch
from timm.layers import GluMlp, SwiGLU
from torch import Tensor, nn

from snapvit.errors import Cancelled
from snapvit.method import curvature as curvature_module
from snapvit.method.curvature import estimate_curvature, label_curvature
from snapvit.method.loss import teacher_targets, view_agreement
from snapvit.models.anatomy import describe

GLOBAL = 2
VARIANTS = {
    "class token": {},
    "no qkv bias": {"qkv_bias": False},
    "average pool, no class token": {"class_token": False, "global_pool": "avg"},
    "registers, layer scale, qk norm": {"reg_tokens": 2, "init_values": 0.5, "qk_norm": True},
}


@pytest.fixture
def views() -> Tensor:
    """(V, n, 3, h, w): five views of four images, the first two global."""
    return torch.randn(5, 4, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def naive_loss(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """L_n as the design writes it, view by view; each of (D,)."""
    total = torch.zeros((), dtype=student[0].dtype)
    for k, z_teacher in enumerate(teacher):
        exponent = (z_teacher / z_teacher.norm()).exp()
        t = exponent / exponent.sum()
        for m, z_student in enumerate(student):
            if m != k:
                unit = z_student / z_student.norm()
                total = total - (t * (unit - unit.exp().sum().log())).sum()
    return total


def embedding(model: nn.Module, image: Tensor) -> Tensor:
    return model.forward_head(model.forward_features(image[None]), pre_logits=True)[0]


def watched(block: nn.Module) -> list[tuple[Tensor, slice]]:
    """The weights, and their rows, of the MLP's gate (or only) projection and of the values."""
    mlp, attention = block.mlp, block.attn
    gate = (mlp.fc1_g if isinstance(mlp, SwiGLU) else mlp.fc1).weight
    rows = slice(None)
    if isinstance(mlp, GluMlp):
        half = len(gate) // 2
        rows = slice(half, None) if mlp.gate_last else slice(0, half)
    if attention.qkv is None:
        return [(gate, rows), (attention.v_proj.weight, slice(None))]
    return [(gate, rows), (attention.qkv.weight, slice(2 * len(attention.qkv.weight) // 3, None))]


def weight_gradients(model: nn.Module, views: Tensor) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Of each image: (dL/dW_fc1 (F, D), dL/dW_v (H*d, D)) of every block."""
    model = deepcopy(model)
    parts = [part for block in model.blocks for part in watched(block)]
    weights = [weight.requires_grad_() for weight, _ in parts]
    for n in range(views.shape[1]):
        with torch.no_grad():
            teacher = [embedding(model, view) for view in views[:GLOBAL, n]]
        loss = naive_loss([embedding(model, view) for view in views[:, n]], teacher)
        grads = torch.autograd.grad(loss, weights)
        grads = [grad[rows] for grad, (_, rows) in zip(grads, parts, strict=True)]
        yield list(zip(grads[::2], grads[1::2], strict=True))


def row_means(squares: Tensor, groups: int) -> Tensor:
    """Mean over the weights of each of `groups` equal bands of rows."""
    return torch.stack([band.mean() for band in squares.chunk(groups)])


def test_curvature_of_labels_is_that_of_the_cross_entropy(make_vit, views):
    model, images, labels = make_vit().double(), views[0], torch.tensor([0, 2, 1, 2])
    classifier = nn.Linear(model.embed_dim, 3, dtype=torch.float64)
    copy = deepcopy(model)
    parts = [part for block in copy.blocks for part in watched(block)]
    weights = [weight.requires_grad_() for weight, _ in parts]
    want = [torch.zeros(count, dtype=torch.float64) for _ in copy.blocks for count in (96, 3)]
    for image, label in zip(images, labels, strict=True):
        loss = -classifier(embedding(copy, image)).log_softmax(0)[label]
        for total, grad, (_, rows) in zip(want, torch.autograd.grad(loss, weights), parts, strict=True):
            total += row_means(grad[rows] ** 2, len(total)) / len(images)

    found = label_curvature(model, describe(model), classifier, zip(images.split(3), labels.split(3), strict=True))

    np.testing.assert_allclose(found.mlp, torch.stack(want[::2]), rtol=1e-6)
    np.testing.assert_allclose(found.head, torch.stack(want[1::2]), rtol=1e-6)
    assert found.images == 4 and hooks_of(model) == 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_fisher_is_the_mean_of_squared_per_image_gradients(make_vit, views, variant):
    model = make_vit(**VARIANTS[variant]).double()
    per_image = list(weight_gradients(model, views))
    mlp = torch.stack([sum(row_means(g[b][0] ** 2, 96) for g in per_image) / 4 for b in range(3)])
    head = torch.stack([sum(row_means(g[b][1] ** 2, 3) for g in per_image) / 4 for b in range(3)])

    found = estimate_curvature(model, describe(model), [views], GLOBAL)

    assert found.images == 4
    np.testing.assert_allclose(found.mlp, mlp, rtol=1e-6)
    np.testing.assert_allclose(found.head, head, rtol=1e-6)
    assert (found.head > 0).all()


def test_fisher_is_the_mean_of_squared_per_image_gradients_in_every_form(form, views):
    per_image = list(weight_gradients(form, views))
    hidden = describe(form).topology.hidden
    mlp = torch.stack([sum(row_means(g[b][0] ** 2, hidden) for g in per_image) / 4 for b in range(3)])
    head = torch.stack([sum(row_means(g[b][1] ** 2, 3) for g in per_image) / 4 for b in range(3)])
    before = {name: parameter.clone() for name, parameter in form.named_parameters()}

    found = estimate_curvature(form, describe(form), [views], GLOBAL)

    np.testing.assert_allclose(found.mlp, mlp, rtol=1e-6)
    np.testing.assert_allclose(found.head, head, rtol=1e-6)
    assert (found.head > 0).all() and (found.mlp > 0).all()
    assert_untouched(form, before)
    assert not any("forward" in vars(block.attn) for block in form.blocks)


def test_fisher_in_single_precision(tiny_vit, anatomy, views):
    model64 = deepcopy(tiny_vit).double()
    want = estimate_curvature(model64, describe(model64), [views], GLOBAL)
    found = estimate_curvature(tiny_vit, anatomy, [views.float()], GLOBAL)
    np.testing.assert_allclose(found.mlp, want.mlp, rtol=1e-3, atol=1e-4 * want.mlp.mean())
    np.testing.assert_allclose(found.head, want.head, rtol=1e-3)


def test_accumulated_squares_the_gradient_of_all_images_together(tiny_vit, anatomy, views):
    per_image = list(weight_gradients(deepcopy(tiny_vit).double(), views))
    mlp = torch.stack([row_means((sum(g[b][0] for g in per_image) / 4) ** 2, 96) for b in range(3)])
    head = torch.stack([row_means((sum(g[b][1] for g in per_image) / 4) ** 2, 3) for b in range(3)])

    found = estimate_curvature(tiny_vit, anatomy, views.float().split([1, 3], dim=1), GLOBAL, "accumulated")

    np.testing.assert_allclose(found.mlp, mlp, rtol=1e-3, atol=1e-4 * float(mlp.mean()))
    np.testing.assert_allclose(found.head, head, rtol=1e-3)
    fisher = estimate_curvature(tiny_vit, anatomy, [views.float()], GLOBAL)
    assert (fisher.head > 1.01 * found.head).all(), "the two criteria must not be the same thing"


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], [2, 2], [3, 1]])
def test_fisher_does_not_depend_on_the_batch_size(make_vit, views, sizes):
    model = make_vit().double()
    whole = estimate_curvature(model, describe(model), [views], GLOBAL)
    parts = estimate_curvature(model, describe(model), views.split(sizes, dim=1), GLOBAL)
    np.testing.assert_allclose(parts.mlp, whole.mlp, rtol=1e-6)
    np.testing.assert_allclose(parts.head, whole.head, rtol=1e-6)
    assert parts.images == whole.images


def test_fisher_does_not_depend_on_how_much_is_held_at_once(make_vit, views, monkeypatch):
    model = make_vit().double()
    whole = estimate_curvature(model, describe(model), [views], GLOBAL)
    monkeypatch.setattr(curvature_module, "CHUNK_NUMBERS", 1)
    parts = estimate_curvature(model, describe(model), [views], GLOBAL)
    np.testing.assert_allclose(parts.mlp, whole.mlp, rtol=1e-6)
    np.testing.assert_allclose(parts.head, whole.head, rtol=1e-6)


@pytest.mark.parametrize(
    ("criterion", "kind", "rtol"),
    [("fisher", torch.float64, 1e-6), ("fisher", torch.float32, 1e-4), ("accumulated", torch.float32, 1e-4)],
)
@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 12])
def test_curvature_does_not_depend_on_how_many_views_go_through_together(
    make_vit, views, criterion, kind, rtol, at_once
):
    model, views = make_vit().to(kind), views.to(kind)
    anatomy = describe(model)
    whole = estimate_curvature(model, anatomy, [views], GLOBAL, criterion)
    parts = estimate_curvature(model, anatomy, views.split([1, 3], dim=1), GLOBAL, criterion, at_once)
    np.testing.assert_allclose(parts.mlp, whole.mlp, rtol=rtol, atol=rtol * whole.mlp.mean())
    np.testing.assert_allclose(parts.head, whole.head, rtol=rtol)


@pytest.mark.parametrize("at_once", [1, 2, 3, 5])
def test_only_so_many_views_are_in_memory_at_once(make_vit, at_once):
    """By the batch sizes of the forward passes, and by what autograd keeps at any time for the backward pass."""
    model, views = make_vit(), torch.randn(12, 2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    anatomy = describe(model)
    all_views = most_kept(model, lambda: estimate_curvature(model, anatomy, [views], GLOBAL))
    seen = []
    handle = model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    some = most_kept(model, lambda: estimate_curvature(model, anatomy, [views], GLOBAL, views_at_once=at_once))
    handle.remove()
    assert max(seen) == 2 * at_once
    assert sum(seen) == 2 * (12 + max(0, GLOBAL - at_once))  # nothing goes through twice that need not
    assert some == pytest.approx(all_views * at_once / 12, rel=0.1)


def most_kept(model: nn.Module, work: Callable[[], object]) -> int:
    """The most bytes that autograd keeps at one time while `work` runs, each storage once and weights not at all."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    uses: Counter[tuple[int, int]] = Counter()
    most = 0

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal most
            self.tensor = tensor
            self.storage = (tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
            uses[self.storage] += 1
            most = max(most, sum(size for (at, size), count in uses.items() if count and at not in weights))

        def __del__(self) -> None:
            uses[self.storage] -= 1

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        work()
    assert not any(uses.values()), "something is kept for ever"
    return most


def test_a_neuron_that_reaches_nothing_has_no_curvature(tiny_vit, anatomy, views):
    tiny_vit.blocks[1].mlp.fc2.weight.data[:, 5] = 0
    tiny_vit.blocks[2].attn.proj.weight.data[:, 8:16] = 0  # head 1 of width 8
    found = estimate_curvature(tiny_vit, anatomy, [views.float()], GLOBAL)
    assert found.mlp[1, 5] == 0
    assert found.head[2, 1] == 0
    assert (np.delete(found.mlp[1], 5) > 0).any()


@pytest.mark.parametrize("global_views", [1, 2, 3])
def test_loss_matches_the_formula(global_views):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 3, 10, generator=generator, dtype=torch.float64)
    want = [naive_loss(list(z[:, n]), list(z[:global_views, n])) for n in range(3)]
    targets = teacher_targets(z[:global_views])
    for at_once in (1, 2, 3, 4):
        groups = z.split(at_once)
        found = sum(view_agreement(group, targets, at_once * number) for number, group in enumerate(groups))
        torch.testing.assert_close(found, torch.stack(want), rtol=1e-12, atol=1e-12)


def hooks_of(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def assert_untouched(model: nn.Module, before: dict[str, Tensor]) -> None:
    assert hooks_of(model) == 0
    for name, parameter in model.named_parameters():
        assert not parameter.requires_grad, name
        assert parameter.grad is None, name
        assert torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("criterion", ["fisher", "accumulated"])
def test_the_model_is_left_as_it_was(tiny_vit, anatomy, views, criterion):
    before = {k: v.clone() for k, v in tiny_vit.state_dict().items()}
    estimate_curvature(tiny_vit, anatomy, [views.float()], GLOBAL, criterion)
    assert_untouched(tiny_vit, before)


class Stops(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        raise Cancelled


def test_the_model_is_left_as_it_was_when_work_is_cancelled(tiny_vit, anatomy, views):
    before = {k: v.clone() for k, v in tiny_vit.state_dict().items()}
    norm, tiny_vit.norm = tiny_vit.norm, Stops()
    with pytest.raises(Cancelled):
        estimate_curvature(tiny_vit, anatomy, [views.float()], GLOBAL)
    tiny_vit.norm = norm
    assert_untouched(tiny_vit, before)


def test_curvature_works_where_the_caller_switched_gradients_off(tiny_vit, anatomy, views):
    want = estimate_curvature(tiny_vit, anatomy, [views.float()], GLOBAL)
    with torch.no_grad():
        found = estimate_curvature(tiny_vit, anatomy, [views.float()], GLOBAL)
    np.testing.assert_array_equal(found.mlp, want.mlp)


def test_no_images_is_an_error(tiny_vit, anatomy):
    with pytest.raises(ValueError, match="no images"):
        estimate_curvature(tiny_vit, anatomy, [], GLOBAL)
