"""Removals, displacement and measured pairs against masked copies of the whole model, one at a time."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from snapvit.artifacts import MeasuredInteractions
from snapvit.errors import Cancelled
from snapvit.method.interactions import estimate_displacement, measured_rows, rows_of, sampled_pairs
from snapvit.method.removal import Passage
from snapvit.models.anatomy import Anatomy, describe
from snapvit.models.embedding import embed

SOME = ("packed MLP, gate last", "distilled", "Eva, biases apart", "Eva, as DINOv3", "Eva, attention pool")


@pytest.fixture
def photos() -> Tensor:
    return torch.randn(10, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def without(masked_copy):
    """Embeddings (N, D) of a copy of the model in which structures are masked."""

    def embedding(model: nn.Module, anatomy: Anatomy, images: Tensor, out: tuple[int, ...]) -> Tensor:
        topology = anatomy.topology
        neurons = [[] if b in out else list(range(topology.hidden)) for b in range(topology.blocks)]
        heads = [
            [h for h in range(topology.heads) if topology.blocks + b * topology.heads + h not in out]
            for b in range(topology.blocks)
        ]
        return embed(masked_copy(model, neurons, heads), images)

    return embedding


@pytest.fixture
def directions(without):
    """e (N, C) of a masked copy, by scikit-learn's PCA of the full model's embeddings."""

    def of(
        model: nn.Module, anatomy: Anatomy, images: Tensor, components: int, out: tuple[int, ...] = ()
    ) -> np.ndarray:
        full = without(model, anatomy, images, ()).numpy()
        pca = PCA(min(components, full.shape[1], len(full) - 1), svd_solver="full").fit(full)
        e = pca.transform(without(model, anatomy, images, out).numpy())
        return e / np.linalg.norm(e, axis=1, keepdims=True)

    return of


def batches(images: Tensor, size: int = 4):
    return lambda: images.split(size)


def measured(model: nn.Module, anatomy: Anatomy, images: Tensor, components: int, pairs: np.ndarray, size: int = 4):
    found = MeasuredInteractions.empty(anatomy.topology.structures, len(images))
    for piece in measured_rows(model, anatomy, batches(images, size), components, pairs):
        found = found.filled(piece)
    return found


def test_a_passage_is_the_models_own_forward_from_any_block_on(form, photos, without):
    anatomy = describe(form)
    passage = Passage(form, anatomy)
    before = form.blocks
    for out in ((), (1,), (3,), (2, 5), (0, 3, 4, 5)):
        want = without(form, anatomy, photos, out)
        first = min((passage.block_of[i] for i in out), default=0)
        tokens = passage.enter(photos)
        for block in range(first):
            tokens = passage.step(block, tokens)
        with passage.without(out):
            torch.testing.assert_close(passage.leave(first, tokens), want)
    assert form.blocks is before
    torch.testing.assert_close(embed(form, photos), without(form, anatomy, photos, ()))


def test_cores_that_share_a_batch_give_the_same(make_vit, photos):
    model = make_vit().double()
    passage = Passage(model, describe(model))
    alone = passage.leave(0, passage.enter(photos))
    torch.set_num_threads(2)
    try:
        with passage.without([1, 7]):
            shared = passage.leave(1, passage.step(0, passage.enter(photos)))
    finally:
        torch.set_num_threads(1)
    with passage.without([1, 7]):
        torch.testing.assert_close(shared, passage.leave(1, passage.step(0, passage.enter(photos))))
    assert not torch.allclose(shared, alone)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("components", [4, 192])
def test_displacement_equals_masking_whole_copies(make_form, photos, directions, name, components):
    model = make_form(name)
    anatomy = describe(model)
    full = directions(model, anatomy, photos, components)
    moved = [directions(model, anatomy, photos, components, (i,)) - full for i in range(anatomy.topology.structures)]
    found = estimate_displacement(model, anatomy, batches(photos), components)
    for i, j in np.ndindex(found.inner.shape):
        assert found.inner[i, j] == pytest.approx(np.mean((moved[i] * moved[j]).sum(axis=1)))
    # 1 - cos is half a squared distance, exactly
    np.testing.assert_allclose(found.singles, np.diag(found.inner) / 2)
    assert found.images == 10


@pytest.mark.parametrize("name", SOME)
def test_measured_pairs_equal_masking_whole_copies(make_form, photos, directions, name):
    model = make_form(name)
    anatomy = describe(model)
    size = anatomy.topology.structures
    full = directions(model, anatomy, photos, 4)

    def loss(*out: int) -> float:
        return float(np.mean(1 - (directions(model, anatomy, photos, 4, out) * full).sum(axis=1)))

    found = measured(model, anatomy, photos, 4, sampled_pairs(size, 10**6, 0))
    single = [loss(i) for i in range(size)]
    np.testing.assert_allclose(found.singles, single)
    for i, j in combinations(range(size), 2):
        assert found.pairs[i, j] == found.pairs[j, i] == pytest.approx(loss(i, j))
        assert found.interactions[i, j] == pytest.approx(loss(i, j) - single[i] - single[j])
    assert np.isnan(np.diag(found.pairs)).all()


def test_a_sample_holds_the_same_numbers_and_only_its_pairs(make_vit, photos):
    model = make_vit().double()
    anatomy = describe(model)
    every = measured(model, anatomy, photos, 192, sampled_pairs(12, 66, 0))
    pairs = sampled_pairs(12, 7, 3)
    few = measured(model, anatomy, photos, 192, pairs, size=10)
    known = np.isfinite(few.interactions)
    assert known.sum() == 14 and known[pairs[:, 0], pairs[:, 1]].all()
    np.testing.assert_allclose(few.interactions[known], every.interactions[known], atol=1e-12)


def test_samples_are_nested_seeded_and_without_repeats():
    large, small = sampled_pairs(84, 500, 1), sampled_pairs(84, 50, 1)
    np.testing.assert_array_equal(large[:50], small)
    assert len({tuple(pair) for pair in large.tolist()}) == 500 and (large[:, 0] < large[:, 1]).all()
    assert not np.array_equal(small, sampled_pairs(84, 50, 2))
    assert len(sampled_pairs(84, 10**6, 0)) == 84 * 83 // 2


def test_a_row_comes_after_those_of_its_partners(anatomy):
    topology = anatomy.topology
    pairs = sampled_pairs(topology.structures, 30, 0)
    seen, met = set(), set()
    for structure, partners in rows_of(topology, pairs):
        assert set(partners.tolist()) <= seen, "a partner's own loss must be known by then"
        seen.add(structure)
        met |= {frozenset((structure, int(p))) for p in partners}
    assert met == {frozenset(pair) for pair in pairs.tolist()}


@pytest.mark.parametrize("after", [0.5, 20.0, 100.0])
def test_a_stop_gives_the_model_back(make_vit, photos, after):
    model = make_vit().double()
    anatomy, want, told = describe(model), embed(model, photos), 0.0

    def done(passes: float) -> None:
        nonlocal told
        told += passes
        if told > after:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(measured_rows(model, anatomy, batches(photos), 192, sampled_pairs(12, 66, 0), done))
    with pytest.raises(Cancelled):
        estimate_displacement(model, anatomy, batches(photos), 192, lambda passes: done(after))
    assert torch.equal(embed(model, photos), want)
    assert not any(m._forward_pre_hooks for m in model.modules())
