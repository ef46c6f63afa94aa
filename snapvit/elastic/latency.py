"""How long cuts of one model take beside the whole model, on a machine that does other things as well.

A time by itself tells little: other processes, the clock frequency and the memory's state change it by more than a
step of sparsity does. So every cut is timed between two visits to the whole model, again and again in a new order, and
what counts is the quotient. Within a visit the first pass is not counted: it compiles kernels for the cut's shapes
(half as long again as the next one, on the bundled model). Of the others the fastest counts, since what disturbs only
ever adds; over the rounds the median counts, since by then nothing but chance is left. Whole rounds that are not
counted would change nothing: the first is like the others.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from snapvit.artifacts import Cut, Preprocess
from snapvit.devices import synchronise
from snapvit.elastic.vit import ElasticViT
from snapvit.tables import Latency

LEAST_ROUNDS, MOST_ROUNDS = 5, 41
PASSES = 4  # counted in a visit, fewer where they take longer than
VISIT_SECONDS = 0.05  # in all, which outlasts most of what interrupts
SEED = 0  # of the orders


def measure_latencies(
    elastic: ElasticViT,
    cuts: Sequence[Cut],
    preprocess: Preprocess,
    check: Callable[[], None] = lambda: None,
    seconds: float = 15.0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Latency]:
    """Time each of `cuts` and the whole model: forward passes of one image on one thread. A row for each, in order.

    Rounds go on until MOST_ROUNDS, or until `seconds` are over and there were LEAST_ROUNDS. `check` is called before
    every pass and may raise to stop. Afterwards the whole model is shown, and threads and garbage collector are as
    they were. On one thread because, for a single image, waking the others costs as much as they save and varies more.
    """
    if not cuts:
        return []
    visit = _visitor(elastic, preprocess, check, clock)
    rng, end = np.random.default_rng(SEED), clock() + seconds
    times, fulls, ratios = [], [], []  # of each round: (M,), (M+1,), (M,)
    with _undisturbed(elastic):
        while len(times) < LEAST_ROUNDS or (len(times) < MOST_ROUNDS and clock() < end):
            order = rng.permutation(len(cuts))
            around, between = [visit(None)], []
            for i in order:
                between.append(visit(cuts[i]))
                around.append(visit(None))
            back = np.argsort(order)
            full, cut = np.array(around), np.array(between)[back]
            beside = (full[:-1] + full[1:])[back] / 2  # a steady change of speed cancels out
            times.append(cut)
            fulls.append(full)
            ratios.append(cut / beside)
    full_ms = 1000 * float(np.median(fulls))
    ms = 1000 * np.median(times, axis=0)
    low, ratio, high = np.quantile(ratios, [0.25, 0.5, 0.75], axis=0)
    return [
        Latency(cut.mlp, cut.heads, float(ms[i]), full_ms, float(ratio[i]), float(low[i]), float(high[i]), len(times))
        for i, cut in enumerate(cuts)
    ]


def _visitor(
    elastic: ElasticViT, preprocess: Preprocess, check: Callable[[], None], clock: Callable[[], float]
) -> Callable[[Cut | None], float]:
    """What shows a cut, or None for the whole model, and returns the seconds of its fastest pass."""
    device = next(elastic.model.parameters()).device
    image = torch.zeros(1, 3, *preprocess.size, device=device)
    passes = 0  # not known before the whole model ran

    def timed() -> float:
        check()
        start = clock()
        elastic.model(image)
        synchronise(device)
        return clock() - start

    def visit(cut: Cut | None) -> float:
        nonlocal passes
        if cut is None:
            elastic.show_all()
        else:
            elastic.keep(cut)
        timed()
        if not passes:
            passes = min(PASSES, max(1, math.ceil(VISIT_SECONDS / max(timed(), 1e-9))))
        return min(timed() for _ in range(passes))

    return visit


@contextmanager
def _undisturbed(elastic: ElasticViT) -> Iterator[None]:
    """One thread, no garbage collection and no records for autograd; afterwards everything as it was."""
    threads, collecting = torch.get_num_threads(), gc.isenabled()
    try:
        torch.set_num_threads(1)
        gc.disable()
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
        if collecting:
            gc.enable()
        elastic.show_all()
