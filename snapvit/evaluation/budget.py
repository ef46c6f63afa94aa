"""The least cut that meets a budget: exact for parameters and multiply-accumulates, by measurement for latency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snapvit.artifacts import Doubles, Ints
from snapvit.evaluation.knn import wilson_interval
from snapvit.evaluation.paired import PairedComparison, answers_of, compare, describe
from snapvit.formats import amount, milliseconds, percent, ratio
from snapvit.tables import Latencies, Measurement


@dataclass(frozen=True)
class Budget:
    """At most this much; None sets no limit."""

    params: float | None = None
    macs: float | None = None  # of one image
    latency_ms: float | None = None  # of one image on one thread

    def admits(self, params: float, macs: float, latency_ms: float | None) -> bool:
        """Whether a model with these costs meets it. An unknown latency meets no limit on it."""
        if self.params is not None and params > self.params:
            return False
        if self.macs is not None and macs > self.macs:
            return False
        return self.latency_ms is None or (latency_ms is not None and latency_ms <= self.latency_ms)


@dataclass(frozen=True)
class PathCosts:
    """Every position of the slider; n of them, sorted by sparsity."""

    sparsity: Doubles  # (n,)
    heads: Doubles  # (n,) the share of heads that goes with it
    params: Ints  # (n,)
    macs: Ints  # (n,)


@dataclass(frozen=True)
class Quality:
    """What is measured of a cut, or of its neighbours on the path and joined by a straight line."""

    measured: bool  # False: interpolated
    top1: float | None  # with its 95 % interval; None without labels
    low: float | None
    high: float | None
    cosine: float
    latency_ms: float | None = None  # None where it is not known


@dataclass(frozen=True)
class Choice:
    """One cut that meets a budget."""

    mlp: float
    heads: float
    params: int
    macs: int
    quality: Quality | None  # None where nothing near it is measured


@dataclass(frozen=True)
class Best:
    """The measured cut that keeps the most of those within a budget."""

    cut: Measurement
    choice: Choice
    runner_up: Measurement | None  # the next of them; None where there is no other
    pair: PairedComparison | None  # the best beside the runner-up, on the same queries; None without either's answers


@dataclass(frozen=True)
class Answer:
    """What a budget allows."""

    best: Best | None  # of all measured cuts
    on_path: Choice | None  # the least sparsity of the path that meets it, measured or not
    least: Choice  # where the path has its least parameters
    least_latency_ms: float | None  # the least on the path, as far as it is measured


def quality_of(m: Measurement, timed: Latencies | None = None) -> Quality:
    """A measured cut's; `timed` are the latencies of one machine."""
    low, high = (None, None) if m.hits is None else wilson_interval(m.hits, m.queries)
    took = None if timed is None else timed.find(m.cut.mlp, m.cut.heads)
    return Quality(True, m.top1, low, high, m.cosine, None if took is None else took.ms)


def quality_at(sparsity: float, on_path: list[Measurement], timed: Latencies | None = None) -> Quality | None:
    """Measured, interpolated between neighbours, or None outside of what is measured. `on_path` by sparsity."""
    same = next((m for m in on_path if abs(m.cut.mlp - sparsity) < 1e-6), None)
    if same is not None:
        return quality_of(same, timed)
    after = next((i for i, m in enumerate(on_path) if m.cut.mlp > sparsity), 0)
    if after == 0:
        return None
    left, right = on_path[after - 1], on_path[after]
    part = (sparsity - left.cut.mlp) / (right.cut.mlp - left.cut.mlp)
    a, b = quality_of(left, timed), quality_of(right, timed)

    def between(x: float | None, y: float | None) -> float | None:
        return None if x is None or y is None else x + part * (y - x)

    return Quality(
        False,
        between(a.top1, b.top1),
        between(a.low, b.low),
        between(a.high, b.high),
        between(a.cosine, b.cosine),
        between(a.latency_ms, b.latency_ms),
    )


def meet(
    budget: Budget, path: PathCosts, on_path: list[Measurement], measured: list[Measurement], timed: Latencies | None
) -> Answer:
    """The best measured cut within `budget`, and the least sparsity on the path that meets it.

    measured: all of the ranking; on_path: those of them that lie on the path, by sparsity. timed: on the machine that
    the budget is for.
    """

    def choice(i: int) -> Choice:
        sparsity = float(path.sparsity[i])
        costs = (int(path.params[i]), int(path.macs[i]))
        return Choice(sparsity, float(path.heads[i]), *costs, quality_at(sparsity, on_path, timed))

    choices = [choice(i) for i in range(len(path.sparsity))]
    found = next((c for c in choices if _admitted(budget, c)), None)
    latencies = [ms for c in choices if c.quality is not None and (ms := c.quality.latency_ms) is not None]
    least = choices[int(np.argmin(path.params))]
    return Answer(best_within(budget, measured, timed), found, least, min(latencies, default=None))


def best_within(budget: Budget, measured: list[Measurement], timed: Latencies | None = None) -> Best | None:
    """Of the measured cuts within `budget` the one with the most right answers, else with the largest cosine.

    Of equal ones the smaller model. None where no measured cut meets it.
    """
    inside = [(m, c) for m in measured if _admitted(budget, c := _choice_of(m, timed))]
    inside.sort(key=lambda pair: (-_worth(pair[1]), pair[0].macs, pair[0].params))
    if not inside:
        return None
    (cut, choice), runner_up = inside[0], inside[1][0] if len(inside) > 1 else None
    pair = None
    if runner_up is not None and None not in (cut.answers, runner_up.answers):
        pair = compare(answers_of(runner_up), answers_of(cut))
    return Best(cut, choice, runner_up, pair)


def _choice_of(m: Measurement, timed: Latencies | None) -> Choice:
    return Choice(m.cut.mlp, m.cut.heads, m.params, m.macs, quality_of(m, timed))


def _admitted(budget: Budget, choice: Choice) -> bool:
    latency = None if choice.quality is None else choice.quality.latency_ms
    return budget.admits(choice.params, choice.macs, latency)


def _worth(choice: Choice) -> float:
    quality = choice.quality
    return quality.cosine if quality.top1 is None else quality.top1


def within(best: Best, budget: Budget) -> str:
    """How far below each limit the best cut lies, and how it stands beside the next best; for people."""
    choice, latency = best.choice, None if best.choice.quality is None else best.choice.quality.latency_ms
    parts = [
        f"{percent(1 - cost / limit)} below the limit of {written}" if cost < limit else f"at the limit of {written}"
        for cost, limit, written in (
            (choice.params, budget.params, f"{amount(budget.params or 0)} parameters"),
            (choice.macs, budget.macs, f"{amount(budget.macs or 0)} MACs"),
            (latency, budget.latency_ms, milliseconds(budget.latency_ms or 0)),
        )
        if limit is not None
    ]
    return f"It lies {' and '.join(parts)}. {_beside(best)}"


def _beside(best: Best) -> str:
    """Better is only what the paired interval says."""
    if best.runner_up is None:
        return "No other measured cut meets the budget."
    other = best.runner_up.cut
    which = f"the next best, at {ratio(other.mlp)} of neurons and {ratio(other.heads)} of heads"
    if best.pair is None:
        more = f"{best.cut.cosine:.3f} against {best.runner_up.cosine:.3f}"
        return f"Its cosine to the full model is the largest: {more} of {which}."
    verdict = "It does better than" if best.pair.decided else "It cannot be told apart from"
    return f"{verdict} {which}: {describe(best.pair)}, paired by query."
