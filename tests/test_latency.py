"""Timing cuts with a clock that only the model moves, so every number is known beforehand."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snapvit.artifacts import Cut, Preprocess
from snapvit.elastic import latency
from snapvit.elastic.latency import PASSES, VISIT_SECONDS, measure_latencies
from snapvit.elastic.vit import ElasticViT
from snapvit.errors import Cancelled
from snapvit.machine import Machine
from snapvit.models.anatomy import describe
from snapvit.tables import Latencies, Latency

LEAST_ROUNDS, MOST_ROUNDS = 5, 41


@pytest.fixture(autouse=True)
def rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the explorer; other tests make do with one."""
    monkeypatch.setattr(latency, "LEAST_ROUNDS", LEAST_ROUNDS)
    monkeypatch.setattr(latency, "MOST_ROUNDS", MOST_ROUNDS)


PREPROCESS = Preprocess((12, 20), (0.5,) * 3, (0.5,) * 3)
SHARES = (0.9, 0.5, 0.3)  # of the whole model's time
CUTS = [Cut(round(1 - share, 2), 0.0, (), ()) for share in SHARES]


@dataclass
class FakeModel(nn.Module):
    """Takes `cost` seconds a pass of the whole model on the fake clock, and records what it was shown."""

    cost: float = 0.004
    speed: Callable[[float], float] = lambda now: 1.0  # by which a pass at this time takes longer
    delay: Callable[[int], float] = lambda number: 0.0  # that pass `number` takes besides
    now: float = 100.0
    shown: float = 1.0
    passes: list[float] = field(default_factory=list)  # the share shown at each pass
    threads: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    __hash__ = nn.Module.__hash__

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape == (1, 3, 12, 20)
        assert torch.is_inference_mode_enabled()
        assert not gc.isenabled()
        first = not self.passes or self.passes[-1] != self.shown
        self.now += self.cost * self.shown * self.speed(self.now) * (3 if first else 1) + self.delay(len(self.passes))
        self.passes.append(self.shown)
        self.threads.add(torch.get_num_threads())
        return images

    def clock(self) -> float:
        return self.now


class FakeElastic:
    """Stands for ElasticViT."""

    def __init__(self, model: FakeModel) -> None:
        self.model = model

    def keep(self, cut: Cut) -> None:
        self.model.shown = round(1 - cut.mlp, 2)

    def show_all(self) -> None:
        self.model.shown = 1.0


def measure(model: FakeModel, seconds: float = 1e9, check: Callable[[], None] = lambda: None) -> list[Latency]:
    return measure_latencies(FakeElastic(model), CUTS, PREPROCESS, check, seconds, model.clock)


def visits(model: FakeModel) -> list[float]:
    """What was shown, one entry a visit."""
    return [share for i, share in enumerate(model.passes) if i == 0 or share != model.passes[i - 1]]


def test_quotients_and_times_are_those_of_the_model() -> None:
    rows = measure(FakeModel())
    assert [(row.mlp, row.heads) for row in rows] == [(cut.mlp, cut.heads) for cut in CUTS]
    for row, share in zip(rows, SHARES, strict=True):
        assert (row.ms, row.full_ms) == pytest.approx((4 * share, 4.0))
        assert (row.low, row.ratio, row.high) == pytest.approx((share,) * 3)
        assert row.repeats == MOST_ROUNDS
    assert measure_latencies(FakeElastic(FakeModel()), [], PREPROCESS) == []


def test_every_cut_stands_between_two_visits_to_the_whole_model() -> None:
    model = FakeModel()
    measure(model)
    seen = visits(model)  # two visits to the whole model where one round ends and the next begins count as one here
    assert set(seen[::2]) == {1.0}
    orders = np.array(seen[1::2]).reshape(MOST_ROUNDS, len(SHARES))
    assert all(set(order) == set(SHARES) for order in orders)
    assert len({tuple(order) for order in orders}) == 6  # all orders come up
    again = FakeModel()
    measure(again)
    assert again.passes == model.passes


@pytest.mark.parametrize("rate", [0.05, -0.02])
def test_a_machine_that_slows_down_or_wakes_up_changes_no_quotient(rate: float) -> None:
    model = FakeModel(speed=lambda now: 1 + rate * (now - 100))
    rows = measure(model)
    assert abs(rate) * (model.now - 100) > 0.1  # by more than a tenth while it was measured
    for row, share in zip(rows, SHARES, strict=True):
        assert row.ratio == pytest.approx(share, rel=2e-3)


def test_what_interrupts_a_pass_or_a_whole_visit_changes_no_quotient() -> None:
    for delay in (lambda number: 0.2 * (number % 4 == 0), lambda number: 0.01 * (number % 97 < 15)):
        for row, share in zip(measure(FakeModel(delay=delay)), SHARES, strict=True):
            assert row.ratio == pytest.approx(share, rel=1e-9)


def test_noise_shows_in_the_quartiles() -> None:
    rng = np.random.default_rng(0)
    row = measure(FakeModel(cost=VISIT_SECONDS, speed=lambda _: rng.uniform(0.8, 1.2)))[1]
    assert row.low < 0.97 * row.ratio < 1.03 * row.ratio < row.high


def test_time_bounds_the_rounds_but_for_the_least() -> None:
    assert measure(FakeModel(), seconds=0)[0].repeats == LEAST_ROUNDS
    whole = FakeModel()
    measure(whole)
    half = measure(FakeModel(), seconds=(whole.now - 100) / 2)[0].repeats
    assert half in (MOST_ROUNDS // 2, MOST_ROUNDS // 2 + 1)


@pytest.mark.parametrize(("cost", "counted"), [(0.004, PASSES), (0.02, 3), (1.0, 1)])
def test_long_passes_are_repeated_less(cost: float, counted: int) -> None:
    model = FakeModel(cost)
    measure(model, seconds=0)
    cut = model.passes.count(SHARES[1])
    assert cut == LEAST_ROUNDS * (1 + counted)


@pytest.mark.parametrize("collecting", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_threads_and_collector_are_as_before(collecting: bool, fails: bool) -> None:
    def delay(number: int) -> float:
        if fails and number == 20:
            raise RuntimeError("no memory")
        return 0.0

    threads, model = torch.get_num_threads(), FakeModel(delay=delay)
    torch.set_num_threads(3)
    if not collecting:
        gc.disable()
    try:
        if fails:
            with pytest.raises(RuntimeError, match="no memory"):
                measure(model)
        else:
            measure(model)
        assert (torch.get_num_threads(), gc.isenabled()) == (3, collecting)
        assert not torch.is_inference_mode_enabled()
        assert model.shown == 1.0
        assert model.threads == {1}
    finally:
        gc.enable()
        torch.set_num_threads(threads)


def test_a_request_to_stop_takes_effect_before_the_next_pass() -> None:
    model, calls = FakeModel(), 0

    def check() -> None:
        nonlocal calls
        if calls == 7:  # in the first round
            raise Cancelled
        calls += 1
        assert len(model.passes) == calls - 1

    with pytest.raises(Cancelled):
        measure(model, check=check)
    assert len(model.passes) == 7


def test_the_real_elastic_model_is_timed_and_left_as_it_was(tiny_vit) -> None:
    orders = np.tile(np.arange(96), (3, 1)), np.tile(np.arange(3), (3, 1))
    image = torch.ones(1, 3, 16, 16)
    cuts = [Cut(0.0, 0.0, (96,) * 3, (3,) * 3), Cut(0.5, 0.5, (50, 0, 7), (1, 3, 0))]
    with torch.inference_mode(), ElasticViT(tiny_vit, describe(tiny_vit), *orders) as elastic:
        before = tiny_vit(image)
        rows = measure_latencies(elastic, cuts, Preprocess((16, 16), (0.5,) * 3, (0.5,) * 3), seconds=0)
        assert torch.equal(tiny_vit(image), before)
    assert [row.repeats for row in rows] == [LEAST_ROUNDS] * 2
    assert all(0 < row.low <= row.ratio <= row.high and row.ms > 0 for row in rows)


MACHINE = Machine("A processor", 1, "2.6.0", "Linux x86_64")


def row(mlp: float, heads: float, ms: float) -> Latency:
    return Latency(mlp, heads, ms, 4.0, ms / 4, ms / 5, ms / 3, 9)


def test_rows_are_found_and_replaced() -> None:
    table = Latencies.empty(MACHINE)
    assert (len(table), table.find(0.5, 0.35), table.rows()) == (0, None, [])
    table = table.with_rows([row(0.5, 0.35, 3.0), row(0.65, 0.5, 2.0)])
    assert table.find(0.65, 0.5) == row(0.65, 0.5, 2.0)
    assert table.find(0.65, 0.35) is None
    newer = table.with_rows([row(0.9, 0.75, 1.0), row(0.5 + 1e-9, 0.35, 2.5)])
    assert (len(table), len(newer)) == (2, 3)
    assert newer.find(0.5, 0.35).ms == 2.5
    assert newer.rows()[0] == row(0.65, 0.5, 2.0)
    assert newer.with_rows([]).rows() == newer.rows()
    assert newer.machine == MACHINE
    assert (newer.ms.dtype, newer.repeats.dtype) == (table.ms.dtype, table.repeats.dtype) == (np.float64, np.int64)
