"""Tables of a comparison as markdown, for docs/evidence.md: `python -m scripts.evidence RUN [--cache DIR]`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from snapvit.evaluation.standings import MEASURES, Measure, curve_of, fitness_curve_of
from snapvit.formats import ratio
from snapvit.pipeline.contenders import PROBED, Contender
from snapvit.pipeline.results import RunResults, load_results
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.report.contestants import AREA, among, gaps_to, label_of, longest_searches, points_of, rivals_in
from snapvit.store.store import Store
from snapvit.tables import Comparison


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--reference", default="snapvit")
    args = parser.parse_args()
    results = load_results(Store(args.cache), args.run)
    found = results.stored.need(COMPARISON)
    names = rivals_in(found, args.reference)
    for measure in ("top1", "probe", "head", "cosine"):
        print("\n".join(_means(found, measure, names)))
    for correct in (False, True):
        print(f"\nPoints of k-NN top-1 more than {label_of(args.reference)}, {'corrected' if correct else 'as cut'}\n")
        places = [*(f"{point:g}" for point in PROBED), AREA]
        rows: dict[str, dict[str, str]] = {}
        for place in places:
            for gap in among(gaps_to(results, found, args.reference, correct, place, "top1"), names):
                rows.setdefault(gap.label, {})[place] = points_of(gap)
        print(_row(["ranking", *(f"at {ratio(float(place))}" for place in places[:-1]), "area"]))
        print("|---|" + "--:|" * len(places))
        for name, row in rows.items():
            print(_row([name, *(row.get(place, "") for place in places)]))
    searches = [name for name in found.contenders if Contender.parse(name).method == "snapvit"]
    lengths = ["curvature", *sorted(searches, key=_by_length)]
    if set(lengths) - set(names):
        print("\n## What the search buys")
        for measure in ("top1", "cosine"):
            print("\n".join(_means(found, measure, lengths)))
    print("\n".join(_fitness(results, found)))


def _by_length(name: str) -> tuple[list[str], int]:
    """Where a search stands in the table: with its like, the shortest first and the run's own length last."""
    settings = [setting.partition("=") for setting in Contender.parse(name).settings]
    others = [f"{key}={value}" for key, _, value in settings if key != "search.generations"]
    return others, next((int(value) for key, _, value in settings if key == "search.generations"), 10**9)


def _means(found: Comparison, measure: Measure, names: Sequence[str]) -> Iterator[str]:
    """Mean over seeds at the probed cuts, as cut / corrected, of these contenders."""
    lines = []
    for name in names:
        curves = [curve_of(found, name, correct, measure) for correct in (False, True)]
        if curves[0] is None:
            continue
        cells = []
        for point in PROBED:
            at = [None if c is None else c.mean[abs(c.mlp - point) < 1e-6] for c in curves]
            cells.append(" / ".join(f"{a[0]:.3f}" for a in at if a is not None and len(a)))
        lines.append(_row([label_of(name), str(len(found.seeds(name))), *cells]))
    if lines:
        yield f"\n{MEASURES[measure]}, as cut / corrected\n"
        yield _row(["ranking", "seeds", *map(ratio, PROBED)])
        yield "|---|" + "--:|" * (len(PROBED) + 1)
        yield from lines


def _fitness(results: RunResults, found: Comparison) -> Iterator[str]:
    """How low searches came by the individuals they judged, as far as they went."""
    kinds = longest_searches(results, found)
    if not kinds:
        return
    known = [course for name in found.contenders if (course := fitness_curve_of(found, name)) is not None]
    lengths = sorted({0, *(int(course.judged[-1]) for course in known)})
    yield "\nBest fitness after so many individuals, and % of that without a search (lowest to highest seed)\n"
    yield _row(["search", "seeds", *(f"{length:,}" for length in lengths)])
    yield "|---|" + "--:|" * (len(lengths) + 1)
    for kind, course in kinds.items():
        cells = []
        for length in lengths:
            at = np.flatnonzero(course.judged == length)
            if not len(at):
                cells.append("")
                continue
            fitness, shares = course.best[:, at[0]].mean(), 100 * course.shares[:, at[0]]
            among = f" ({shares.min():.0f} to {shares.max():.0f})" if length and len(shares) > 1 else ""
            cells.append(f"{fitness:.4f}, {shares.mean():.0f}{among}")
        yield _row([kind, str(len(course.best)), *cells])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
