"""How long it takes to show a model another sparsity."""

from __future__ import annotations

import random

from benchmarks.subjects import VIT_S, random_ranking, random_vit
from benchmarks.timing import Line, Spread, seconds
from snapvit.elastic.ranking import cut_at
from snapvit.elastic.vit import ElasticViT
from snapvit.pipeline.config import path_pair, path_points

MOVES = 400


def changing_sparsity() -> Line:
    """Jumps between random points of the slider's path on a ViT-S, without a forward pass. The value is the worst."""
    loaded = random_vit(VIT_S)
    ranking = random_ranking(loaded.anatomy.topology)
    cuts = [cut_at(ranking, *path_pair(s)) for s in sorted(path_points(39))]
    picker = random.Random(0)
    sparser, denser = [], []
    with ElasticViT(loaded.model, loaded.anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
        at = 0
        for _ in range(MOVES):
            to = picker.choice([i for i in range(len(cuts)) if i != at])
            taken = seconds(lambda cut=cuts[to]: elastic.keep(cut))
            (sparser if to > at else denser).append(taken)
            at = to
    return Line(
        subject="change sparsity, ViT-S",
        value=1000 * max(sparser + denser),
        unit="ms",
        target=5.0,
        times=(("sparser", Spread.of(sparser)), ("denser", Spread.of(denser))),
        note=f"worst of {MOVES} jumps, no forward",
    )
