"""Tables for notebooks, as pandas data frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from snapvit.evaluation.knn import wilson_interval
from snapvit.evaluation.standings import Measure, curve_of, difference_at
from snapvit.extras import needed
from snapvit.method.agreement import Agreement
from snapvit.pipeline.agreements import MAPS
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.results import RunResults, RunSummary
from snapvit.tables import Comparison, Measurement, Measurements

if TYPE_CHECKING:
    import pandas as pd


def frame(rows: list[dict[str, object]], columns: list[str] | None = None) -> pd.DataFrame:
    """A table of these rows."""
    return needed("pandas", "A table").DataFrame(rows, columns=columns)


def runs_frame(summaries: list[RunSummary]) -> pd.DataFrame:
    """A row a run, newest first."""
    columns = ["run", "name", "model", "data", "preset", "seed", "state"]
    return frame([{name: getattr(one, name) for name in columns} for one in summaries], columns)


CUT_COLUMNS = ["mlp", "heads", "correct", "on_path", "top1", "low", "high", "cosine", "params", "macs"]


def accuracy_frame(results: RunResults) -> pd.DataFrame:
    """A row for each measured cut, mildest first: shares removed, quality with its 95 % Wilson interval, costs."""
    tables = ((False, results.as_cut), (True, results.corrected))
    rows = [_cut_row(m, correct) for correct, table in tables for m in _measurements(table)]
    return frame(rows, CUT_COLUMNS).sort_values(["correct", "mlp", "heads"], ignore_index=True)


def _measurements(table: Measurements | None) -> list[Measurement]:
    return [] if table is None else [table.row(i) for i in range(len(table))]


def _cut_row(m: Measurement, correct: bool) -> dict[str, object]:
    low, high = (None, None) if m.hits is None else wilson_interval(m.hits, m.queries)
    on_path = abs(path_pair(m.cut.mlp)[1] - m.cut.heads) < 1e-6
    of = {"mlp": m.cut.mlp, "heads": m.cut.heads, "correct": correct, "on_path": on_path}
    return of | {"top1": m.top1, "low": low, "high": high, "cosine": m.cosine, "params": m.params, "macs": m.macs}


def comparison_frame(found: Comparison, reference: str, measure: Measure) -> pd.DataFrame:
    """A row for each cut of each contender: the mean and range over its seeds, and how much more that is than the
    reference's, with a 95 % interval, paired by query. Quality is `measure`, all in shares."""
    rows = []
    for name in found.contenders:
        for correct in (False, True):
            curve = curve_of(found, name, correct, measure)
            for i in range(0 if curve is None else len(curve.mlp)):
                pair = float(curve.mlp[i]), float(curve.heads[i])
                row: dict[str, object] = {"contender": name, "correct": correct, "mlp": pair[0], "heads": pair[1]}
                row |= {key: getattr(curve, key)[i] for key in ("seeds", "macs", "mean", "low", "high")}
                gap = None
                if name != reference:
                    gap = difference_at(found, (reference, correct), (name, correct), *pair, measure)
                given = {"mean": None, "low": None, "high": None} if gap is None else asdict(gap)
                row |= {f"difference_{key}" if key != "mean" else "difference": v for key, v in given.items()}
                rows.append(row | {"decided": None if gap is None else gap.decided})
    return frame(rows)


def agreement_frame(found: Mapping[str, Agreement]) -> pd.DataFrame:
    """A row for each estimate: Spearman's rank correlation with the measured interactions, and Mantel's p."""
    rows = [{"estimate": MAPS[name], **asdict(one)} for name, one in found.items()]
    return frame(rows, ["estimate", "rho", "mantel_p", "pairs"])
