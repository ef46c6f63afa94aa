"""Gauss-Newton against `torch.func` Jacobians of the masked model, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from snapvit.errors import Cancelled
from snapvit.method.gauss_newton import estimate_gauss_newton
from snapvit.method.interactions import Directions
from snapvit.models.anatomy import Anatomy, describe
from snapvit.models.embedding import embed

SOME = ("packed MLP, gate first", "split MLP", "Eva, as DINOv3", "Eva, biases apart", "gated attention")
COMPONENTS, PROBES, SEED = 5, 3, 4


@pytest.fixture
def photos() -> Tensor:
    return torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(params=["plain", *SOME])
def model(request, make_vit, make_form) -> nn.Module:
    return make_vit().double() if request.param == "plain" else make_form(request.param)


def jacobians(model: nn.Module, anatomy: Anatomy, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of e by the masks on neurons (N, C, L, F), heads (N, C, L, H) and whole MLPs (N, C, L), by torch.func."""
    topology = anatomy.topology
    pca = PCA(COMPONENTS, svd_solver="full").fit(embed(model, images).numpy())
    mean, components = torch.from_numpy(pca.mean_), torch.from_numpy(pca.components_)

    def e(masks: tuple[Tensor, Tensor, Tensor], image: Tensor) -> Tensor:
        neurons, heads, mlps = masks
        hooks = []
        for b, block in enumerate(anatomy.blocks):
            columns = heads[b].repeat_interleave(topology.head_width)
            hooks += [
                block.fc2.register_forward_pre_hook(lambda _, i, m=neurons[b] * mlps[b]: (i[0] * m,)),
                block.proj.register_forward_pre_hook(lambda _, i, m=columns: (i[0] * m,)),
            ]
        z = components @ (embed(model, image[None])[0] - mean)
        for hook in hooks:
            hook.remove()
        return z / z.norm()

    ones = torch.ones(topology.blocks, topology.hidden), torch.ones(topology.blocks, topology.heads)
    masks = tuple(m.double() for m in (*ones, torch.ones(topology.blocks)))
    by_image = [torch.func.jacrev(e)(masks, image) for image in images]
    return tuple(torch.stack(parts) for parts in zip(*by_image, strict=True))


def estimated(model: nn.Module, images: Tensor, probes: int = PROBES, batch: int = 3, seed: int = SEED):
    def batches() -> tuple[Tensor, ...]:
        return images.split(batch)

    directions = Directions(model, batches, COMPONENTS)
    return estimate_gauss_newton(model, describe(model), batches, directions, probes, seed)


@pytest.mark.parametrize("batch", [3, 7])
def test_equals_jacobians_under_the_same_probes(model, photos, batch):
    anatomy = describe(model)
    neurons, heads, mlps = jacobians(model, anatomy, photos)
    v = torch.from_numpy(np.random.default_rng(SEED).standard_normal((7, PROBES, COMPONENTS)))
    found = estimated(model, photos, batch=batch)
    slopes = [torch.einsum("nkc,nc...->nk...", v, part) for part in (neurons, heads, mlps)]
    np.testing.assert_allclose(found.mlp, slopes[0].square().mean(dim=(0, 1)), rtol=1e-6)
    np.testing.assert_allclose(found.head, slopes[1].square().mean(dim=(0, 1)), rtol=1e-6)
    structures = torch.cat([slopes[2], slopes[1].flatten(2)], dim=2).flatten(0, 1)  # (N*K, S)
    np.testing.assert_allclose(found.interactions, structures.mT @ structures / len(structures), rtol=1e-6, atol=1e-12)
    assert (found.images, found.probes) == (7, PROBES)


def test_many_probes_come_to_the_product_of_the_jacobians(make_vit, photos):
    model = make_vit().double()
    neurons, heads, mlps = jacobians(model, describe(model), photos)
    found = estimated(model, photos, probes=3000, batch=7)
    np.testing.assert_allclose(found.mlp, neurons.square().sum(dim=1).mean(dim=0), rtol=0.25)
    joint = torch.cat([mlps, heads.flatten(2)], dim=2)  # (N, C, S)
    want = torch.einsum("nci,ncj->ij", joint, joint).numpy() / 7
    np.testing.assert_allclose(found.interactions, want, atol=0.04 * np.diag(want).max())
    assert np.corrcoef(found.interactions.ravel(), want.ravel())[0, 1] > 0.999


def test_probes_follow_the_seed_and_the_image_alone(make_vit, photos):
    model = make_vit().double()
    np.testing.assert_allclose(estimated(model, photos).mlp, estimated(model, photos, batch=1).mlp)
    assert not np.allclose(estimated(model, photos).mlp, estimated(model, photos, seed=5).mlp, rtol=0.05)


def test_the_model_is_left_as_it_was(make_vit, photos):
    model = make_vit().double()
    want = embed(model, photos)

    def stop(passes: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        directions = Directions(model, lambda: photos.split(7), COMPONENTS)
        estimate_gauss_newton(model, describe(model), lambda: photos.split(7), directions, 2, 0, stop)
    estimated(model, photos)
    assert torch.equal(embed(model, photos), want)
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(ValueError):
        estimate_gauss_newton(model, describe(model), lambda: (), Directions(model, lambda: [photos], 5), 2, 0)
