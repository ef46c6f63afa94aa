"""One cut in five tiles: what is exact, and what is measured or interpolated."""

from __future__ import annotations

from snapvit.elastic.ranking import cut_at
from snapvit.evaluation.budget import Quality
from snapvit.formats import amount, decimal, milliseconds, percent
from snapvit.pipeline.path import no_accuracy
from snapvit.pipeline.results import RunResults
from snapvit.ui.numbers import Number, number_row


def cut_tiles(results: RunResults, params: int, macs: int, quality: Quality | None, key: str) -> None:
    """Accuracy, cosine and latency of `quality`, None where nothing is measured; parameters and MACs are exact."""
    costs, full = results.facts.costs, cut_at(results.ranking, 0.0, 0.0)
    how = "not measured yet" if quality is None else ("measured" if quality.measured else "interpolated")
    top1, interval, missing = "–", how, no_accuracy(results)
    if quality is not None and quality.top1 is not None:
        top1, interval = percent(quality.top1), f"{percent(quality.low)} to {percent(quality.high)}, {how}"
    elif missing is not None:
        interval = missing
    tiles = [
        ("k-NN top-1", top1, interval),
        ("Cosine to full model", "–" if quality is None else decimal(quality.cosine, 3), how),
        ("Parameters", amount(params), f"{percent(params / costs.params(full))} of the full model, exact"),
        ("MACs per image", amount(macs), f"{percent(macs / costs.macs(full))} of the full model, exact"),
        ("Latency per image", *_latency(results, quality, how)),
    ]
    number_row([Number(*tile) for tile in tiles], key)


def _latency(results: RunResults, quality: Quality | None, how: str) -> tuple[str, str]:
    """The number, and what it is: times of another computer are called so."""
    if quality is None or quality.latency_ms is None:
        return "–", "not timed"
    where = how if results.timed_here else "another computer's"
    return milliseconds(quality.latency_ms), f"{where}, one thread"
