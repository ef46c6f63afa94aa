"""Fitness against masking full copies of the model, one candidate and one pair at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from snapvit.artifacts import PAPER_PAIRS, Curvature, Floors, Scores
from snapvit.elastic.correction import ElasticCorrection, collect_statistics
from snapvit.elastic.ranking import final_scores, rank
from snapvit.elastic.vit import ElasticViT
from snapvit.method.fitness import Fitness, fit_projection
from snapvit.models.anatomy import Anatomy, describe

PAIRS = ((0.0, 0.0), *PAPER_PAIRS, (0.9, 0.8))


@pytest.fixture
def model(make_vit) -> nn.Module:
    return make_vit().double()


@pytest.fixture
def curvature() -> Curvature:
    rng = np.random.default_rng(0)
    return Curvature(rng.exponential(size=(3, 96)).astype(np.float32), rng.random((3, 3), np.float32), images=1)


@pytest.fixture
def photos() -> Tensor:
    return torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def elastic_of(model: nn.Module, anatomy: Anatomy, curvature: Curvature, correct=lambda *orders: None) -> ElasticViT:
    ranking = rank(Scores(curvature.mlp, curvature.head), Floors())
    orders = ranking.neuron_order(), ranking.head_order()
    return ElasticViT(model, anatomy, *orders, correct(*orders))


def embedding(model: nn.Module, images: Tensor) -> np.ndarray:
    return model.forward_head(model.forward_features(images), pre_logits=True).numpy()


def random_factors(count: int) -> np.ndarray:
    return np.random.default_rng(5).normal(1, 0.6, size=(count, 12))


@pytest.mark.parametrize("floors", [Floors(), Floors(0, 0)], ids=str)
@pytest.mark.parametrize("components", [5, 192], ids=["projected", "as many as there are"])
def test_fitness_equals_masking_and_sklearns_pca(model, curvature, photos, masked_copy, naive_kept, floors, components):
    full = embedding(model, photos)
    pca = PCA(min(components, 24), svd_solver="full").fit(full)
    target = pca.transform(full)

    def by_hand(factors: np.ndarray, mlp: float, heads: float) -> float:
        mlp_scores = curvature.mlp.astype(float) * np.abs(factors[:3])[:, None]
        head_scores = curvature.head.astype(float) * np.abs(factors[3:]).reshape(3, 3)
        kept = naive_kept(mlp_scores, floors.neurons, mlp), naive_kept(head_scores, floors.heads, heads)
        cut = pca.transform(embedding(masked_copy(model, *kept), photos))
        cosines = [a @ b / np.sqrt(a @ a * (b @ b)) for a, b in zip(cut, target, strict=True)]
        return 1 - float(np.mean(cosines))

    candidates = random_factors(4)
    want = [[by_hand(c, mlp, heads) for mlp, heads in PAIRS] for c in candidates]
    with elastic_of(model, describe(model), curvature) as elastic:
        fitness = Fitness(elastic, curvature, floors, PAIRS, lambda: photos.split(16), components)
        found = [fitness(c) for c in candidates]

    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12)
    assert np.shape(found) == (4, 6)
    np.testing.assert_allclose(np.array(found)[:, 0], 0, atol=1e-12)
    assert (np.array(found)[:, 1:] > 1e-4).all()
    assert np.ptp(found, axis=0)[1:].max() > 1e-3, "candidates must differ"


def test_fitness_depends_on_the_candidate_alone(model, curvature, photos):
    """Not on the candidates before it, the signs of factors or the batches; and the model comes back whole."""
    a, b, c = random_factors(3)
    whole = embedding(model, photos)
    with elastic_of(model, describe(model), curvature) as elastic:
        fitness = Fitness(elastic, curvature, Floors(), PAIRS, lambda: photos.split(40), 8)
        first = fitness(a)
        fitness(b), fitness(c)
        np.testing.assert_array_equal(fitness(a), first)
        np.testing.assert_array_equal(fitness(-a), first)
        np.testing.assert_array_equal(fitness(a * np.tile([1, -1], 6)), first)
        elastic.show_all()
        small = Fitness(elastic, curvature, Floors(), PAIRS, lambda: photos.split(7), 8)
        np.testing.assert_allclose(small(a), first, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(embedding(model, photos), whole)


def test_corrected_fitness_is_that_of_a_correction_made_for_the_candidate(model, curvature, photos):
    """Though one correction serves them all, as heads change places and neurons do not."""
    anatomy, candidates = describe(model), random_factors(3)
    statistics = collect_statistics(model, anatomy, photos.split(10))

    def corrected(neurons, heads):
        return ElasticCorrection(statistics, neurons, heads, "mean", 0.001)

    def fitness_of(elastic: ElasticViT) -> Fitness:
        return Fitness(elastic, curvature, Floors(), PAIRS, lambda: photos.split(16), 8)

    with elastic_of(model, anatomy, curvature, corrected) as elastic:
        fitness = fitness_of(elastic)
        found = [fitness(c) for c in candidates]
    with elastic_of(model, anatomy, curvature) as elastic:
        fitness = fitness_of(elastic)
        uncorrected = [fitness(c) for c in candidates]
    for candidate, values, raw in zip(candidates, found, uncorrected, strict=True):
        ranking = rank(final_scores(curvature, candidate), Floors())
        orders = ranking.neuron_order(), ranking.head_order()
        with ElasticViT(model, anatomy, *orders, corrected(*orders)) as own:
            want = fitness_of(own)(candidate)
        np.testing.assert_allclose(values, want, rtol=1e-5, atol=1e-9)
        assert (values[1:] < raw[1:]).all(), "on the images that it was made of, a correction brings embeddings closer"


def test_images_are_read_anew_for_every_pair(model, curvature, photos):
    turns = 0

    def batches() -> Iterator[Tensor]:
        nonlocal turns
        turns += 1
        yield from photos.split(20)

    with elastic_of(model, describe(model), curvature) as elastic:
        fitness = Fitness(elastic, curvature, Floors(), PAIRS, batches, 8)
        fitness(np.ones(12))
    assert turns == 1 + len(PAIRS)


def test_projection_equals_sklearns(photos):
    embeddings = photos.flatten(1)[:, :30]
    pca = PCA(7, svd_solver="full").fit(embeddings.numpy())
    projection = fit_projection(embeddings, 7)
    other = photos.flatten(1)[:, 30:60]
    np.testing.assert_allclose(projection(other), pca.transform(other.numpy()), atol=1e-12)
    assert fit_projection(embeddings, 192).components.shape == (30, 30)
    assert fit_projection(embeddings[:4], 192).components.shape == (3, 30)  # 4 centred points span 3 dimensions
