"""The best measured cut of a run within a budget, or what the smallest model that it has would cost."""

from __future__ import annotations

from snapvit.elastic.ranking import cut_at
from snapvit.errors import InputError
from snapvit.evaluation.budget import Best, Budget, best_within
from snapvit.formats import amount, milliseconds
from snapvit.pipeline.config import PATH_END, path_pair
from snapvit.pipeline.results import RunResults


def best_cut(results: RunResults, budget: Budget) -> Best:
    """Of the measured cuts, as they are to be looked at. Latencies are this machine's.

    Raises InputError where none meets the budget, naming the smallest model.
    """
    table = results.measurements
    rows = [] if table is None else [table.row(i) for i in range(len(table))]
    timed = results.latencies if results.timed_here else None
    found = best_within(budget, rows, timed)
    if found is not None:
        return found
    run = results.summary.run
    if results.ranking is None or results.facts.costs is None or not rows:
        raise InputError(f"Nothing is measured of run {run} yet; finish it first, on the Run page or with `run`.")
    least, costs = cut_at(results.ranking, *path_pair(PATH_END)), results.facts.costs
    fastest = ""
    if budget.latency_ms is not None and timed is None:
        fastest = f"; no latency is known on this machine, which `latency {run}` measures"
    elif budget.latency_ms is not None:
        fastest = f"; the fastest measured cut takes {milliseconds(min(row.ms for row in timed.rows()))}"
    raise InputError(
        f"No measured cut of {run} meets this budget. The smallest model that it can become, at --mlp {least.mlp:g} "
        f"--heads {least.heads:g}, has {amount(costs.params(least))} parameters and needs {amount(costs.macs(least))} "
        f"MACs an image{fastest}."
    )
