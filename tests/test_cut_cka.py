"""CKA of a cut model against the masked full model, and main directions against scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from snapvit.artifacts import Curvature, Cut, Floors, Ranking
from snapvit.elastic.ranking import cut_at, final_scores, rank
from snapvit.elastic.vit import ElasticViT
from snapvit.method.cka import collect_structures, estimate_cka, estimate_cut_cka, main_directions
from snapvit.models.anatomy import Anatomy, describe


def ranking_of(anatomy: Anatomy) -> Ranking:
    """Without floors; block 2 loses all its heads first, and block 3 its whole MLP."""
    topology = anatomy.topology
    rng = np.random.default_rng(1)
    mlp = rng.uniform(size=(topology.blocks, topology.hidden)).astype(np.float32)
    head = rng.uniform(size=(topology.blocks, topology.heads)).astype(np.float32)
    head[1] *= 1e-3
    mlp[2] *= 1e-6
    return rank(final_scores(Curvature(mlp, head, images=1), np.ones(topology.structures)), Floors(0.0, 0.0))


def cka_by_definition(a: Tensor, b: Tensor) -> float:
    centring = torch.eye(len(a), dtype=torch.float64) - 1 / len(a)
    k, g = (centring @ f.double() @ f.double().T @ centring for f in (a, b))
    return float((k * g).sum() / (k.norm() * g.norm()))


def check_cut(
    model: nn.Module, masked_copy: Callable[..., nn.Module], images: Tensor, pair: tuple[float, float]
) -> Cut:
    """Compare the map of one cut with brute force on the full model in which what is cut reaches nothing."""
    anatomy = describe(model)
    topology, ranking = anatomy.topology, ranking_of(anatomy)
    cut = cut_at(ranking, *pair)
    neurons = [order[:kept] for order, kept in zip(ranking.neuron_order(), cut.kept_neurons, strict=True)]
    heads = [order[:kept] for order, kept in zip(ranking.head_order(), cut.kept_heads, strict=True)]
    masked = masked_copy(model, neurons, heads)
    seen = collect_structures(masked, describe(masked), [images])
    features = {b: seen[b][:, kept] for b, kept in enumerate(neurons) if len(kept)}
    for b, kept in enumerate(heads):
        features |= {i: seen[i] for i in (topology.blocks + b * topology.heads + int(head) for head in kept)}

    with ElasticViT(model, anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
        found = estimate_cut_cka(elastic, anatomy, cut, images.split(4))

    assert found.images == len(images)
    assert found.values.shape == (topology.structures,) * 2
    for i in range(topology.structures):
        for j in range(topology.structures):
            if i in features and j in features:
                want = cka_by_definition(features[i], features[j])
                assert found.values[i, j] == pytest.approx(want, abs=2e-5), (i, j)
            else:
                assert np.isnan(found.values[i, j])
    return cut


@pytest.mark.parametrize("pair", [(0.0, 0.0), (0.3, 0.2), (0.5, 0.5), (0.9, 0.8)])
def test_cut_map_equals_brute_force_on_the_masked_model(make_vit, masked_copy, images, pair):
    cut = check_cut(make_vit(), masked_copy, images, pair)
    if pair[0] >= 0.5:
        assert 0 in cut.kept_neurons, "the example must lose a whole MLP"
        assert 0 in cut.kept_heads, "the example must lose all heads of a block"


def test_cut_map_of_every_form(form, masked_copy, images):
    check_cut(form, masked_copy, images.double(), (0.5, 0.5))


def test_without_a_cut_the_map_is_the_full_models(make_vit, images):
    model = make_vit()
    anatomy = describe(model)
    ranking = ranking_of(anatomy)
    want = estimate_cka(model, anatomy, [images]).values
    with ElasticViT(model, anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
        found = estimate_cut_cka(elastic, anatomy, cut_at(ranking, 0.0, 0.0), [images])
    np.testing.assert_allclose(found.values, want, atol=1e-5)


@pytest.mark.parametrize("shape", [(60, 7), (20, 50)], ids=["more images", "more features"])
def test_main_directions_equal_scikit_learns(shape):
    rng = np.random.default_rng(4)
    features = [
        (rng.normal(size=shape) * np.linspace(3, 0.1, shape[1]) + 5).astype(np.float32),
        rng.normal(size=shape).astype(np.float32),
    ]
    found = main_directions([torch.from_numpy(f) for f in features])
    assert found.scores.shape == (2, shape[0])
    for own, scores, share in zip(features, found.scores, found.shares, strict=True):
        pca = PCA(1, svd_solver="full").fit(own)
        want = pca.transform(own)[:, 0]
        want = want / want.std()
        assert abs(np.dot(want, scores)) / len(scores) == pytest.approx(1, abs=1e-4)
        assert scores.std() == pytest.approx(1, abs=1e-5)
        assert scores[np.abs(scores).argmax()] > 0
        assert share == pytest.approx(pca.explained_variance_ratio_[0], rel=1e-4)


def test_a_structure_that_does_not_vary_has_no_direction():
    found = main_directions([torch.full((9, 4), 0.3), torch.randn(9, 4)])
    assert (found.scores[0] == 0).all()
    assert found.shares[0] == 0
    assert 0 < found.shares[1] <= 1
