"""What the preset `direct` should cost: `python -m scripts.direct_settings RUN [--cache DIR]` writes markdown tables.

Gauss-Newton's order drawn again from other images and probes, by how many of them; and k-NN top-1 of its corrected cuts
by the correction's images, damping and form, each paired with the preset's own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from snapvit.artifacts import Ints, LayerStatistics, Ranking
from snapvit.elastic.correction import collect_statistics
from snapvit.elastic.ranking import cut_at, rank
from snapvit.evaluation.standings import curve_of, difference_at
from snapvit.formats import ratio
from snapvit.method.gauss_newton import estimate_gauss_newton
from snapvit.method.interactions import Directions
from snapvit.pipeline.config import PRESETS, path_pair, seeded, with_settings
from snapvit.pipeline.meter import Meter, empty_table
from snapvit.pipeline.methods import scores_of
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.running import open_workspace
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store
from snapvit.tables import Comparison

DRAWN = ((16, 4), (64, 1), (64, 4), (128, 4), (256, 4))  # images, probes
OWN = "as in the preset"
CORRECTED = {
    OWN: (),
    "64 images": ("correction.images=64",),
    "1,024 images": ("correction.images=1024",),
    "damping by the 95th percentile": ("correction.damping=p95",),
    "damping by the maximum": ("correction.damping=max",),
    "block after block": ("correction.form=sequential",),
}
KEPT = 0.65  # sparsity at which two orders' structures are compared


@dataclass(frozen=True)
class Draw:
    """One ranking, and what it took."""

    ranking: Ranking
    seconds: float


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cuts", default="0.65,0.8", help="of the MLP neurons, on the path")
    args = parser.parse_args()
    workspace = open_workspace(Store(args.cache), args.run)
    print("\n".join(_drawn_again(workspace, args.seeds)), flush=True)
    cuts = [path_pair(float(cut)) for cut in args.cuts.split(",")]
    print("\n".join(_corrections(workspace, args.seeds, cuts)), flush=True)


def _asking(workspace: Workspace, seed: int, settings: Sequence[str]) -> Workspace:
    """The run's model, gallery and queries, ranked and corrected as `direct` does but for `settings`."""
    config, own = PRESETS["direct"], workspace.request.config
    config = replace(config, evaluation=own.evaluation, split_seed=own.split_seed, floors=own.floors)
    return workspace.asking(replace(workspace.request, config=seeded(with_settings(config, list(settings)), seed)))


def _draw(workspace: Workspace) -> Draw:
    """Gauss-Newton's ranking."""
    config, loaded = workspace.request.config, workspace.loaded
    table, begun = workspace.table("interactions"), time.perf_counter()
    directions = Directions(loaded.model, lambda: workspace.batches(table), config.search.components)
    found = estimate_gauss_newton(
        loaded.model,
        loaded.anatomy,
        lambda: workspace.batches(table),
        directions,
        config.interactions.probes,
        config.interactions.seed,
        images_at_once=workspace.effort.images_at_once,
    )
    scores = scores_of("gauss-newton", lambda _: found)
    return Draw(rank(scores, config.floors), time.perf_counter() - begun)


def _drawn_again(workspace: Workspace, seeds: int) -> list[str]:
    """How much an order changes with other images and probes, over all pairs of seeds."""
    rows = [
        f"Gauss-Newton from other images and probes, {seeds} times: agreement of pairs\n",
        f"| images | probes | seconds | neurons, Spearman | heads, Spearman | neurons kept by both at {ratio(KEPT)} |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for images, probes in DRAWN:
        settings = (f"interactions.images={images}", f"interactions.probes={probes}")
        draws = [_draw(_asking(workspace, seed, settings)) for seed in range(seeds)]
        alike = np.mean([_agreement(a.ranking, b.ranking) for a, b in combinations(draws, 2)], axis=0)
        took = np.median([draw.seconds for draw in draws])
        rows.append(f"| {images} | {probes} | {took:.1f} | {alike[0]:.3f} | {alike[1]:.3f} | {100 * alike[2]:.1f} % |")
    return rows


def _agreement(a: Ranking, b: Ranking) -> tuple[float, float, float]:
    """Spearman of the places of neurons and of heads, and the share of the kept neurons that both keep."""

    def places(order: Ints) -> Ints:
        return np.argsort(order)

    neurons, heads = (spearmanr(places(x), places(y)).statistic for x, y in ((a.mlp, b.mlp), (a.head, b.head)))
    gone = int(KEPT * len(a.mlp))
    both = np.intersect1d(a.mlp[gone:], b.mlp[gone:])
    return neurons, heads, len(both) / (len(a.mlp) - gone)


def _corrections(workspace: Workspace, seeds: int, cuts: Sequence[tuple[float, float]]) -> list[str]:
    found = Comparison.empty(empty_table(workspace), headed=False)
    for seed in range(seeds):
        ranking = _draw(_asking(workspace, seed, ())).ranking
        collected: dict[int, LayerStatistics] = {}
        for name, settings in CORRECTED.items():
            asked = _asking(workspace, seed, settings)
            found = _corrected(asked, ranking, collected, cuts, found, name, seed)
    rows = [
        f"\nCorrected cuts, {seeds} seeds: k-NN top-1, and points more than {OWN}\n",
        f"| correction | {' | '.join(f'at {ratio(mlp)}' for mlp, _ in cuts)} |",
        "|---|" + "--:|" * len(cuts),
    ]
    for name in CORRECTED:
        curve, cells = curve_of(found, name, True), []
        for cut in cuts:
            cell = f"{curve.mean[abs(curve.mlp - cut[0]) < 1e-6][0]:.3f}"
            gap = None if name == OWN else difference_at(found, (OWN, True), (name, True), *cut)
            if gap is not None:
                told = f"{100 * gap.mean:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
                cell += f", {told}{'' if gap.decided else ' (undecided)'}"
            cells.append(cell)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def _corrected(
    workspace: Workspace,
    ranking: Ranking,
    collected: dict[int, LayerStatistics],
    cuts: Sequence[tuple[float, float]],
    found: Comparison,
    name: str,
    seed: int,
) -> Comparison:
    """`found` with the corrected cuts. collected: statistics by their number of images, which is added to."""
    loaded, images = workspace.loaded, workspace.request.config.correction.images

    def statistics() -> LayerStatistics:
        if images not in collected:
            collected[images] = collect_statistics(loaded.model, loaded.anatomy, workspace.own_batches("correction"))
        return collected[images]

    correction = workspace.correction(ranking, statistics, lambda: None)
    with workspace.elastic(ranking, correction) as elastic:
        meter = Meter(workspace, elastic, Reporter())
        for mlp, heads in cuts:
            measured, _, _ = meter.measure_with_embeddings(cut_at(ranking, mlp, heads))
            found = found.with_row(name, seed, True, measured, None, None)
    return found


if __name__ == "__main__":
    main()
