"""Corrected cuts against numpy's least squares on what the layers really read, in every form of block."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from snapvit.artifacts import Cut, Floors, LayerStatistics
from snapvit.elastic.correction import (
    ElasticCorrection,
    SequentialCorrection,
    collect_statistics,
    ridge_of,
    unpacked,
)
from snapvit.elastic.ranking import rank
from snapvit.elastic.vit import ElasticViT
from snapvit.models.anatomy import Anatomy, describe
from snapvit.models.embedding import embed

DAMPINGS = {"mean": np.mean, "max": np.max, "p95": lambda diagonal: np.quantile(diagonal, 0.95)}
SHARE = 0.01


def orders_of(anatomy: Anatomy) -> tuple[NDArray, NDArray]:
    rng, t = np.random.default_rng(3), anatomy.topology
    return tuple(np.stack([rng.permutation(n) for _ in range(t.blocks)]) for n in (t.hidden, t.heads))


def cuts_of(anatomy: Anatomy) -> list[Cut]:
    """Mild, hard, with a block of no neurons and one of no heads, and with everything kept in some blocks."""
    t = anatomy.topology
    half, few = t.hidden // 2, max(1, t.hidden // 8)
    blocks = range(t.blocks)
    return [
        Cut(0, 0, tuple(t.hidden - b for b in blocks), (t.heads,) * t.blocks),
        Cut(0, 0, tuple(half if b else t.hidden for b in blocks), tuple(max(1, t.heads - 1) for _ in blocks)),
        Cut(0, 0, tuple(few * b for b in blocks), tuple(min(b, t.heads) for b in reversed(blocks))),
    ]


def readers(anatomy: Anatomy) -> list[nn.Linear]:
    return [layer for block in anatomy.blocks for layer in (block.fc2, block.proj)]


@contextmanager
def reading(layers: list[nn.Linear]) -> Iterator[list[list[Tensor]]]:
    """What each layer reads within."""
    found: list[list[Tensor]] = [[] for _ in layers]
    hooks = [
        layer.register_forward_pre_hook(lambda _, read, rows=rows: rows.append(read[0].flatten(0, -2).clone()))
        for layer, rows in zip(layers, found, strict=True)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def inputs_of(model: nn.Module, anatomy: Anatomy, images: Tensor) -> list[NDArray]:
    """(N, n) float64 of each reader, in the full model."""
    with torch.no_grad(), reading(readers(anatomy)) as found:
        embed(model, images)
    return [torch.cat(rows).double().numpy() for rows in found]


def least_squares(
    layer: nn.Linear, rows: NDArray, order: NDArray, kept: int, damping: str, share: float
) -> tuple[NDArray, NDArray]:
    """Weight and bias by numpy: the ridge is on what is added to the weight of the kept columns."""
    weight = layer.weight.detach().double().numpy()[:, order]
    bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().numpy()
    rows = rows[:, order]
    mean = rows.mean(0)
    centred = rows - mean
    ridge = share * DAMPINGS[damping](np.square(centred).mean(0))
    design = np.vstack([centred[:, :kept], np.sqrt(ridge * len(rows)) * np.eye(kept)])
    target = np.vstack([centred[:, kept:] @ weight[:, kept:].T, np.zeros((kept, len(weight)))])
    added = np.linalg.lstsq(design, target, rcond=None)[0].T
    corrected = weight[:, :kept] + added
    return corrected, bias + weight @ mean - corrected @ mean[:kept]


def near(found: Tensor, want: NDArray, share: float = 1e-4) -> None:
    found = found.detach().double().numpy()
    assert found.shape == want.shape
    if want.size:
        np.testing.assert_allclose(found, want, rtol=0, atol=share * np.abs(want).max())


@pytest.fixture
def many() -> Tensor:
    """(40, 3, 16, 16): more tokens than any layer has inputs."""
    return torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(5))


def columns(anatomy: Anatomy, orders: tuple[NDArray, NDArray], b: int) -> tuple[NDArray, NDArray]:
    width = anatomy.topology.head_width
    return orders[0][b], (orders[1][b][:, None] * width + np.arange(width)).ravel()


@pytest.mark.parametrize("damping", DAMPINGS)
def test_every_layer_is_the_least_squares_solution_in_every_form(form, many, damping):
    model, anatomy = form.float(), describe(form)
    orders, width = orders_of(anatomy), anatomy.topology.head_width
    rows = inputs_of(model, anatomy, many)
    cuts = cuts_of(anatomy)
    want = []
    for cut in cuts:
        for b, block in enumerate(anatomy.blocks):
            neurons, heads = columns(anatomy, orders, b)
            want += [
                least_squares(block.fc2, rows[2 * b], neurons, cut.kept_neurons[b], damping, SHARE),
                least_squares(block.proj, rows[2 * b + 1], heads, cut.kept_heads[b] * width, damping, SHARE),
            ]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    statistics = collect_statistics(model, anatomy, many.split(7))
    correction = ElasticCorrection(statistics, *orders, damping, SHARE)
    with ElasticViT(model, anatomy, *orders, correction) as elastic:
        for step in (0, 1, 2, 0):
            elastic.keep(cuts[step])
            for i, layer in enumerate(readers(anatomy)):
                weight, bias = want[step * len(rows) + i]
                near(layer.weight, weight)
                near(layer.bias, bias)
            assert torch.isfinite(embed(model, many[:2])).all()
        elastic.show_all()
        full = embed(model, many[:2])
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    torch.testing.assert_close(full, embed(model, many[:2]), rtol=0, atol=1e-5 * float(full.abs().max()))


def test_no_layer_is_farther_from_the_full_one_than_as_it_was_cut(form, many):
    model, anatomy = form.float(), describe(form)
    orders, width = orders_of(anatomy), anatomy.topology.head_width
    rows, t = inputs_of(model, anatomy, many), anatomy.topology
    full = [
        r @ layer.weight.double().numpy().T + (0 if layer.bias is None else layer.bias.double().numpy())
        for r, layer in zip(rows, readers(anatomy), strict=True)
    ]
    correction = ElasticCorrection(collect_statistics(model, anatomy, [many]), *orders, "mean", SHARE)

    def errors(elastic: ElasticViT, cut: Cut) -> NDArray:
        elastic.keep(cut)
        found = []
        for i, layer in enumerate(readers(anatomy)):
            order, kept = columns(anatomy, orders, i // 2)[i % 2], layer.weight.shape[1]
            assert kept in (cut.kept_neurons[i // 2], cut.kept_heads[i // 2] * width)
            out = rows[i][:, order[:kept]] @ layer.weight.double().numpy().T
            out = out + (0 if layer.bias is None else layer.bias.double().numpy())
            found.append(np.square(out - full[i]).mean())
        return np.array(found)

    for kept in (t.hidden // 8, t.hidden // 2, t.hidden - 1):
        cut = Cut(0, 0, (kept,) * t.blocks, (max(1, t.heads // 2),) * t.blocks)
        with ElasticViT(model, anatomy, *orders) as elastic:
            plain = errors(elastic, cut)
        with ElasticViT(model, anatomy, *orders, correction) as elastic:
            corrected = errors(elastic, cut)
        assert (corrected <= plain * (1 + 1e-5) + 1e-12).all()
        assert (corrected < 0.9 * plain).any()


def test_one_factor_gives_what_each_cut_solved_anew_gives(tiny_vit, anatomy, many):
    orders, t = orders_of(anatomy), anatomy.topology
    statistics = collect_statistics(tiny_vit, anatomy, [many])
    correction = ElasticCorrection(statistics, *orders, "mean", 0.001)
    for b, block in enumerate(anatomy.blocks):
        order = orders[0][b]
        covariance = unpacked(statistics.neuron_covariances[b], t.hidden).double()[order][:, order]
        weight = block.fc2.weight.double()[:, order]
        ridge = ridge_of(covariance, "mean", 0.001)
        factor, _ = correction.factors(b, _in_order(block.fc2, order), block.proj)
        for kept in range(1, t.hidden):
            damped = covariance[:kept, :kept] + ridge * torch.eye(kept)
            want = weight[:, :kept] + weight[:, kept:] @ covariance[kept:, :kept] @ torch.linalg.inv(damped)
            near(factor.solve(weight[:, :kept])[0], want.detach().numpy())


def _in_order(layer: nn.Linear, order: NDArray) -> nn.Linear:
    ordered = nn.Linear(layer.in_features, layer.out_features)
    ordered.weight.data, ordered.bias.data = layer.weight.data[:, order], layer.bias.data
    return ordered


def test_a_layer_without_kept_inputs_gives_its_mean(tiny_vit, anatomy, many):
    orders, t = orders_of(anatomy), anatomy.topology
    correction = ElasticCorrection(collect_statistics(tiny_vit, anatomy, [many]), *orders, "mean", SHARE)
    rows = inputs_of(tiny_vit, anatomy, many)
    want = [layer.weight.double().numpy() @ r.mean(0) + layer.bias.double().numpy() for layer, r in
            zip(readers(anatomy), rows, strict=True)]  # fmt: skip
    with ElasticViT(tiny_vit, anatomy, *orders, correction) as elastic:
        elastic.show([0] * t.blocks, [0] * t.blocks)
        for layer, mean in zip(readers(anatomy), want, strict=True):
            assert layer.weight.shape[1] == 0
            near(layer.bias, mean)


def test_statistics_are_those_of_all_tokens_however_they_are_batched(tiny_vit, anatomy, many):
    rows = inputs_of(tiny_vit, anatomy, many)
    for size in (1, 7, 40):
        found = collect_statistics(tiny_vit, anatomy, many.split(size))
        assert found.images == 40
        assert found.tokens == len(rows[0])
        for b in range(anatomy.topology.blocks):
            for mean, packed, seen in (
                (found.neuron_means[b], found.neuron_covariances[b], rows[2 * b]),
                (found.head_means[b], found.head_covariances[b], rows[2 * b + 1]),
            ):
                near(torch.from_numpy(mean), seen.mean(0))
                near(unpacked(packed, len(mean)), np.cov(seen.T, bias=True))


def test_a_large_mean_costs_no_precision(tiny_vit, anatomy, many):
    """float32 squares of numbers around 1000 would lose a variance of 1."""
    block = anatomy.blocks[1]
    block.mlp.act = _Far()
    (rows,) = [r for i, r in enumerate(inputs_of(tiny_vit, anatomy, many)) if i == 2]
    found = collect_statistics(tiny_vit, anatomy, many.split(7))
    near(unpacked(found.neuron_covariances[1], rows.shape[1]), np.cov(rows.T, bias=True), 1e-3)


class _Far(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1000 + torch.tanh(x)


def test_no_batch_is_held_after_the_next(tiny_vit, anatomy, many):
    seen: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def note(_: nn.Module, read: tuple[Tensor, ...]) -> None:
        seen.append(weakref.ref(read[0]))

    def batches() -> Iterator[Tensor]:
        for batch in many.split(4):
            gc.collect()
            alive.append(sum(ref() is not None for ref in seen))
            yield batch.clone()

    hooks = [layer.register_forward_pre_hook(note) for layer in readers(anatomy)]
    collect_statistics(tiny_vit, anatomy, batches())
    for hook in hooks:
        hook.remove()
    assert len(seen) == 10 * len(hooks)
    assert max(alive) <= 1, "what layers read of earlier batches must be gone"


def test_inputs_that_never_vary_change_nothing(tiny_vit, anatomy, many):
    with torch.no_grad():
        anatomy.blocks[0].mlp.fc1.weight.zero_()
    orders, t = orders_of(anatomy), anatomy.topology
    statistics = collect_statistics(tiny_vit, anatomy, [many])
    want = anatomy.blocks[0].fc2.weight.detach().double().numpy()[:, orders[0][0][:4]]
    with ElasticViT(tiny_vit, anatomy, *orders, ElasticCorrection(statistics, *orders, "mean", SHARE)) as elastic:
        full = embed(tiny_vit, many[:2])
        elastic.show([4] + [t.hidden] * (t.blocks - 1), [t.heads] * t.blocks)
        near(anatomy.blocks[0].fc2.weight, want, 2e-3)
        near(embed(tiny_vit, many[:2]), full.double().detach().numpy())  # the bias takes what the cut neurons said


def test_block_after_block_is_what_a_naive_loop_gives(tiny_vit, anatomy, many):
    orders, width = orders_of(anatomy), anatomy.topology.head_width
    cut = cuts_of(anatomy)[1]
    want = []
    correction = SequentialCorrection(tiny_vit, lambda: many.split(9), "mean", SHARE)
    with ElasticViT(tiny_vit, anatomy, *orders) as plain:
        plain.show_all()
        layers = readers(anatomy)
        held = [(layer.weight.data, layer.bias.data) for layer in layers]
        for b, block in enumerate(anatomy.blocks):
            with torch.no_grad(), reading([block.fc2, block.proj]) as found:
                embed(tiny_vit, many)
            solved = [
                least_squares(
                    layer, torch.cat(rows).double().numpy(), np.arange(layer.in_features), kept, "mean", SHARE
                )
                for layer, rows, kept in (
                    (block.fc2, found[0], cut.kept_neurons[b]),
                    (block.proj, found[1], cut.kept_heads[b] * width),
                )
            ]
            plain._neurons[b].show(cut.kept_neurons[b])
            plain._heads[b].show(cut.kept_heads[b])
            for layer, (weight, bias) in zip((block.fc2, block.proj), solved, strict=True):
                layer.weight.data, layer.bias.data = torch.from_numpy(weight).float(), torch.from_numpy(bias).float()
            want += solved
        for layer, (weight, bias) in zip(layers, held, strict=True):
            layer.weight.data, layer.bias.data = weight, bias
    with ElasticViT(tiny_vit, anatomy, *orders, correction) as elastic:
        elastic.keep(cut)
        for layer, (weight, bias) in zip(layers, want, strict=True):
            near(layer.weight, weight, 1e-3)
            near(layer.bias, bias, 1e-3)


def test_the_kept_part_of_a_ranking_decides_not_the_orders_beyond(tiny_vit, anatomy, many):
    """Two orders that keep the same neurons correct to the same function."""
    orders, t = orders_of(anatomy), anatomy.topology
    other = orders[0].copy()
    other[:, : t.hidden // 2] = other[:, : t.hidden // 2][:, ::-1]
    cut = Cut(0, 0, (t.hidden // 2,) * t.blocks, (t.heads,) * t.blocks)
    statistics = collect_statistics(tiny_vit, anatomy, [many])
    outs = []
    for neurons in (orders[0], other):
        correction = ElasticCorrection(statistics, neurons, orders[1], "mean", SHARE)
        with ElasticViT(tiny_vit, anatomy, neurons, orders[1], correction) as elastic:
            elastic.keep(cut)
            outs.append(embed(tiny_vit, many[:4]))
    near(outs[0], outs[1].double().detach().numpy())


@pytest.mark.parametrize(("damping", "want"), [("mean", 0.02), ("max", 0.04), ("p95", 0.01 * (3 + 0.85))])
def test_damping_is_a_share_of_the_diagonal(damping, want):
    covariance = torch.diag(torch.tensor([1.0, 0.0, 4.0, 3.0]))
    assert ridge_of(covariance, damping, 0.01) == pytest.approx(want)


def test_shapes_of_the_statistics(tiny_vit, anatomy, many):
    found: LayerStatistics = collect_statistics(tiny_vit, anatomy, [many])
    t = anatomy.topology
    width = t.heads * t.head_width
    assert found.neuron_covariances.shape == (t.blocks, t.hidden * (t.hidden + 1) // 2)
    assert found.head_covariances.shape == (t.blocks, width * (width + 1) // 2)
    assert found.neuron_means.dtype == found.head_covariances.dtype == np.float32


def test_the_ranking_s_own_orders_fit(tiny_vit, anatomy, many):
    """What a ranking with floors of 0 gives works through the whole of a path."""
    from test_elastic import ranking_of

    ranking = ranking_of(tiny_vit, Floors(0, 0))
    assert rank is not None
    orders = ranking.neuron_order(), ranking.head_order()
    correction = ElasticCorrection(collect_statistics(tiny_vit, anatomy, [many]), *orders, "mean", SHARE)
    with ElasticViT(tiny_vit, anatomy, *orders, correction) as elastic:
        for kept in range(anatomy.topology.hidden, -1, -7):
            elastic.show([kept] * anatomy.topology.blocks, [1] * anatomy.topology.blocks)
            assert torch.isfinite(embed(tiny_vit, many[:2])).all()
