"""What each command does: the answer, as one JSON object and as text."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from snapvit.artifacts import RunFacts, SearchHistory
from snapvit.devices import chosen, timing_machine
from snapvit.elastic.ranking import cut_at, rank
from snapvit.errors import InputError
from snapvit.evaluation.budget import Budget, within
from snapvit.evaluation.knn import wilson_interval
from snapvit.evaluation.standings import MEASURES, Measure, area_difference, curve_of, difference_at, fitness_curve_of
from snapvit.extras import needed
from snapvit.formats import amount, milliseconds, percent, ratio, size
from snapvit.launching import launch
from snapvit.method.agreement import Agreement
from snapvit.models.families import CHECKED, FAMILIES, plain_text
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.agreements import MAPS, agreements, wants_of
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.contenders import PROBED, Contender, all_methods
from snapvit.pipeline.methods import METHODS
from snapvit.pipeline.progress import Event, Reporter
from snapvit.pipeline.published_runs import export_scores, import_scores
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import StoredRun, list_runs, load_results
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.published.scores import read_scores
from snapvit.store.store import Store
from snapvit.streams import tell
from snapvit.tables import Comparison, Latency, Measurement, Measurements

Answer = tuple[dict[str, Any], str]  # for --json, for people
NOTHING: Answer = ({}, "")  # of a process that is not the first of several


def run(args: argparse.Namespace, store: Store) -> Answer:
    """Bring a run to its end."""
    from snapvit.pipeline.running import run_pipeline  # imports torch, which the other commands can do without

    published = None if args.scores is None else read_scores(args.scores)
    spec = ModelSpec(args.model, args.checkpoint, args.image_size, args.pool)
    images = (args.data, args.gallery, args.queries)
    device = chosen(args.device)
    how = (args.preset, args.method, args.set, args.seed)
    request = make_request(spec, *images, *how, published, device, args.precision)
    run_pipeline(request, store, _reporter(args), published, device=device, ranks=args.ranks)
    if not args.ranks.first:
        return NOTHING
    results = load_results(store, request.run)
    tables = {"measured": results.as_cut, "corrected": results.corrected}
    if published is not None:
        found, how = {}, f"cut by the scores in {args.scores.name}"
    elif results.search is not None:
        found, how = _found(results.search)
    else:
        found, how = {}, f"ranked by {METHODS[request.config.ranking.method].what}"
    content = _summary_dict(results.summary) | {"method": request.config.ranking.method} | found
    lines = [f"Run {request.run} is finished: {how}."]
    for name, table in tables.items():
        path = [_plain(table.row(i)) for i in range(len(table))]
        content[name] = sorted(path, key=lambda row: (row["mlp"], row["heads"]))
        lines += [_sentence(table.row(i), results.facts, name == "corrected") for i in _some_cuts(table)]
    return content, "\n".join(lines)


def _some_cuts(table: Measurements) -> list[int]:
    """Rows of at most five measured cuts, from the mildest to the hardest."""
    order = np.lexsort((table.heads, table.mlp))
    return order[np.unique(np.linspace(0, len(order) - 1, 5).round().astype(int))].tolist() if len(order) else []


def _found(history: SearchHistory) -> Answer:
    """What the search reached."""
    values = history.individual_fitness
    best = float(values.min(where=np.isfinite(values), initial=np.inf))
    fitness = best if np.isfinite(best) else None  # JSON knows no infinity
    content = {
        "generations": history.generations,
        "fitness": fitness,
        "non_finite": history.non_finite,
        "factors": history.factors.tolist(),
    }
    reached = "no finite fitness" if fitness is None else f"fitness {fitness:.4f}"
    return content, f"{history.generations} generations, {reached}"


def app(args: argparse.Namespace, store: Store) -> NoReturn:
    """Become the dashboard's server."""
    launch(store, args.port, args.read_only, args.base_path, args.host)


def runs(args: argparse.Namespace, store: Store) -> Answer:
    """Bring a run to its end.s"""
    summaries = list_runs(store)
    lines = [
        f"{s.run:44} {s.model:20} {s.data:12} {s.preset:7} {'' if s.seed is None else f'seed {s.seed}':9} {s.state}"
        for s in summaries
    ]
    text = "\n".join(lines) or "The cache holds no run yet; make one with `python -m snapvit run`."
    return {"runs": [_summary_dict(s) for s in summaries]}, text


def models(args: argparse.Namespace, store: Store) -> Answer:
    """Families with examples and what was checked."""
    families = [
        {
            "name": family.name,
            "models": family.example_names(),
            "mlp": family.mlp,
            "attention": family.attention,
            "special": family.special,
            "reference": f"https://arxiv.org/abs/{family.reference}",
            "checked": [
                {"architecture": check.architecture, "extent": check.extent, "checks": check.claims}
                for check in family.checks
            ],
        }
        for family in FAMILIES
    ]
    return {"families": families, "checks": CHECKED}, plain_text()


def evaluate(args: argparse.Namespace, store: Store) -> Answer:
    """Measure one cut."""
    from snapvit.pipeline.measure import measure_cut

    measured = measure_cut(store, args.run, args.mlp, args.heads, Reporter(), correct=args.correct)
    stored = StoredRun.open(store, args.run)
    table = stored.load(LATENCY, timing_machine(stored.request.device).id)
    timed = None if table is None else table.find(args.mlp, args.heads)
    took = "" if timed is None else f" {_took(timed)}."
    times = {"latency": None if timed is None else asdict(timed)}
    content = {"run": args.run, "correct": args.correct} | times | _plain(measured)
    return content, _sentence(measured, stored.manifest.facts, args.correct) + took


def latency(args: argparse.Namespace, store: Store) -> Answer:
    """Time the cuts of the path here."""
    from snapvit.pipeline.running import machine_latency, open_workspace, run_wants

    workspace = open_workspace(store, args.run)
    want = machine_latency(workspace.request)
    run_wants(workspace, store, Reporter(ProgressLine()), [want])
    table = StoredRun.open(store, args.run).need(want.stage, *want.args)
    rows = sorted(table.rows(), key=lambda row: (row.mlp, row.heads))
    lines = [f"{row.mlp:6.1%} of neurons, {row.heads:6.1%} of heads removed: {_took(row)}" for row in rows]
    content = {"run": args.run, "machine": asdict(table.machine), "cuts": [asdict(row) for row in rows]}
    return content, "\n".join([f"One image at a time on {table.machine.label}:", *lines])


def interactions(args: argparse.Namespace, store: Store) -> Answer:
    """Measure interactions, and hold every estimate against them."""
    from snapvit.pipeline.running import check_unchanged, open_workspace, run_wants, take_part

    ranks = args.ranks
    wants = wants_of(StoredRun.open(store, args.run), args.pairs, args.images) if ranks.first else []
    workspace = open_workspace(store, args.run, ranks)
    if not ranks.first:
        take_part(workspace)
        return NOTHING
    check_unchanged(store, args.run, workspace)
    run_wants(workspace, store, _reporter(args), wants)
    stored = StoredRun.open(store, args.run)
    measured = stored.need(wants[-1].stage, *wants[-1].args)
    found = agreements(stored, measured)
    content = {
        "run": args.run,
        "images": measured.images,
        "agreement": {name: {key: _finite(value) for key, value in asdict(one).items()} for name, one in found.items()},
    }
    lines = [f"{MAPS[name]:18} {_agreed(one)}" for name, one in found.items()]
    pairs = max(one.pairs for one in found.values())
    return content, "\n".join([f"Against {pairs:,} pairs, measured on {measured.images:,} images:", *lines])


def compare(args: argparse.Namespace, store: Store) -> Answer:
    """Measure rivals beside a run's ranking."""
    from snapvit.pipeline.comparing import compare_rankings

    contenders = [Contender.parse(text) for text in args.contender] or list(all_methods())
    found = compare_rankings(store, args.run, contenders, args.seeds, _reporter(args), ranks=args.ranks)
    if found is None:
        return NOTHING
    results = load_results(store, args.run)
    uncut = None if results.as_cut is None else results.as_cut.find(0, 0)
    measure: Measure = "cosine" if results.facts.accuracy_missing else "top1"
    entries, lines = [], []
    for one in contenders:
        for correct in (False, True):
            curve = curve_of(found, one.name, correct, measure)
            if curve is None:
                continue
            beside = {} if measure == "cosine" else _beside(found, (one.name, correct), correct, uncut)
            entry = {"contender": one.name, "correct": correct, "measure": measure, "seeds": found.seeds(one.name)}
            entry |= {name: getattr(curve, name).tolist() for name in ("mlp", "heads", "macs", "mean", "low", "high")}
            entries.append(entry | {"against_snapvit": beside})
            at = dict(zip(curve.mlp.round(4).tolist(), curve.mean.tolist(), strict=True))
            shown = "  ".join(f"{ratio(point)} {at[point]:.3f}" for point in PROBED if point in at)
            area = beside.get("area")
            against = "" if area is None else f"  area to SnapViT {_points_with_interval(area)}"
            lines.append(f"{one.label + (', corrected' if correct else ''):52} {shown}{against}")
    courses = {one.name: course for one in contenders if (course := fitness_curve_of(found, one.name)) is not None}
    for name, course in courses.items():
        first, *_, last = course.best.mean(axis=0)
        told = f"{first:.4f} without a search, {last:.4f} of the best of {course.judged[-1]:,}"
        lines.append(f"{Contender.parse(name).label}: fitness {told}")
    fitness = {
        name: {"judged": course.judged.tolist(), "best": [list(map(_finite, seed)) for seed in course.best.tolist()]}
        for name, course in courses.items()
    }
    head = f"{MEASURES[measure]} at shares of neurons removed, {args.seeds} seed{'s' * (args.seeds > 1)}, mean:"
    return {"run": args.run, "contenders": entries, "fitness": fitness}, "\n".join([head, *lines])


def _beside(found: Comparison, one: tuple[str, bool], correct: bool, uncut: Measurement | None) -> dict[str, Any]:
    """Differences to SnapViT's ranking with the same treatment of weights, where it was measured too."""
    own = ("snapvit", correct)
    if one == own:
        return {}
    differences = {f"{point:g}": difference_at(found, own, one, *path_pair(point)) for point in PROBED}
    differences["area"] = area_difference(found, own, one, uncut)
    return {name: asdict(one) | {"decided": one.decided} for name, one in differences.items() if one is not None}


def _points_with_interval(difference: dict[str, Any]) -> str:
    mean, low, high = (f"{100 * difference[name]:+.1f}" for name in ("mean", "low", "high"))
    return f"{mean} points [{low}, {high}]" + ("" if difference["decided"] else ", undecided")


def _agreed(one: Agreement) -> str:
    if _finite(one.rho) is None:
        return "says nothing of these pairs: all are alike to it"
    return f"rank correlation {one.rho:5.2f}, Mantel p {one.mantel_p:.3f}"


def _finite(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if np.isfinite(value) else None


def _took(row: Latency) -> str:
    return (
        f"{milliseconds(row.ms)} an image, {percent(row.ratio, 0)} of the full model's (middle half of {row.repeats} "
        f"rounds {percent(row.low, 0)} to {percent(row.high, 0)})"
    )


def scores(args: argparse.Namespace, store: Store) -> Answer:
    """Write a run's scores in the authors' layout."""
    published = export_scores(load_results(store, args.run), args.out, args.force)
    content = {"run": args.run, "file": str(args.out), "model_type": published.model_type}
    return content, f"The scores of run {args.run} are written to {args.out}, as scores of {published.model_type}."


def import_file(args: argparse.Namespace, store: Store) -> Answer:
    """Make a run of a file of published scores."""
    run = import_scores(store, read_scores(args.file), args.model)
    facts = load_results(store, run).facts
    costs = (
        "parameters and multiply-accumulates of its cuts are known"
        if facts.costs is not None
        else "its architecture is not known, so neither are the costs of its cuts (name a timm model with --model)"
    )
    summary = next(s for s in list_runs(store) if s.run == run)
    return _summary_dict(summary) | {"costs_known": facts.costs is not None}, (
        f"Run {run} holds the scores in {args.file.name}, of {facts.model}: {costs}."
    )


def export(args: argparse.Namespace, store: Store) -> Answer:
    """Write the smaller model, proven."""
    from snapvit.pipeline.budgets import best_cut
    from snapvit.pipeline.exporting import export_run, exported_dict, exported_sentence

    budget = Budget(args.max_params, args.max_macs, args.max_ms)
    shares = [args.mlp, args.heads]
    asked = [shares != [None, None], budget != Budget(), args.elastic]
    if asked.count(True) != 1 or shares.count(None) == 1:
        raise InputError(
            "What to export is not clear; give --mlp and --heads together, or limits (--max-macs, --max-params, "
            "--max-ms), or --elastic."
        )
    said, ratios = "", None if args.elastic else (args.mlp, args.heads)
    if budget != Budget():
        best = best_cut(replace(load_results(store, args.run), correct=args.correct), budget)
        ratios, said = (best.choice.mlp, best.choice.heads), f"{within(best, budget)} "
    reporter = Reporter(ProgressLine())
    exported = export_run(store, args.run, ratios, args.out, args.format, reporter, correct=args.correct)
    content = {"run": args.run, "mlp": ratios and ratios[0], "heads": ratios and ratios[1], "correct": args.correct}
    return content | exported_dict(exported), said + exported_sentence(exported)


def finetune(args: argparse.Namespace, store: Store) -> Answer:
    """Train an export towards the whole model's embeddings."""
    from snapvit.pipeline.exporting import exported_dict, exported_sentence
    from snapvit.pipeline.finetuning import Tuning, finetune

    tuning = Tuning(args.epochs, args.rate, args.batch)
    device = chosen(args.device)
    tuned, exported = finetune(store, args.export, args.data, args.out, tuning, Reporter(ProgressLine()), device)
    went = f"Cosine to the whole model on {tuned['held_out']} images held out: {tuned['cosine_before']:.4f} before, "
    return tuned | exported_dict(exported), f"{went}{tuned['cosine_after']:.4f} after. {exported_sentence(exported)}"


def report(args: argparse.Namespace, store: Store) -> Answer:
    """Write what a run found as one offline page."""
    needed("plotly", "A report")  # the other commands can do without
    from snapvit.report.report import PAIR, write_report

    if (args.mlp is None) != (args.heads is None):
        raise InputError("A cut is named by two shares; give --mlp and --heads together, or neither.")
    pair = PAIR if args.mlp is None else (args.mlp, args.heads)
    path = write_report(store, args.run, args.out, pair, args.correct, args.export, args.force)
    size_written = path.stat().st_size
    content = {"run": args.run, "file": str(path), "bytes": size_written}
    return content, f"{path} holds the report of run {args.run} ({size(size_written)}); it opens without network."


def ranking(args: argparse.Namespace, store: Store) -> Answer:
    """What a cut keeps of each block."""
    file = Path(args.run)
    if file.is_file() or file.suffix == ".pt":
        published = read_scores(file)
        of = {"scores": args.run, "model_type": published.model_type}
        ranking = rank(published.scores, published.floors)
    else:
        of, ranking = {"run": args.run}, StoredRun.open(store, args.run).need(RANKING)
    cut = cut_at(ranking, args.mlp, args.heads)
    content = of | {
        "mlp": cut.mlp,
        "heads": cut.heads,
        "kept_neurons": list(cut.kept_neurons),
        "kept_heads": list(cut.kept_heads),
    }
    rows = [
        f"block {b + 1:2}: {n:5} neurons, {h:3} heads"
        for b, (n, h) in enumerate(zip(cut.kept_neurons, cut.kept_heads, strict=True))
    ]
    return content, "\n".join(rows)


def _summary_dict(summary: Any) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in ("run", "model", "data", "preset", "seed", "state")}


def _plain(m: Measurement) -> dict[str, Any]:
    return {
        "mlp": m.cut.mlp,
        "heads": m.cut.heads,
        "top1": m.top1,
        "interval": None if m.hits is None else list(wilson_interval(m.hits, m.queries)),
        "k": m.k,
        "gallery": m.gallery,
        "queries": m.queries,
        "cosine": m.cosine,
        "params": m.params,
        "macs": m.macs,
        "kept_neurons": list(m.cut.kept_neurons),
        "kept_heads": list(m.cut.kept_heads),
    }


def _sentence(m: Measurement, facts: RunFacts, correct: bool = False) -> str:
    accuracy = f"no accuracy ({facts.accuracy_missing})"
    if m.hits is not None:
        low, high = wilson_interval(m.hits, m.queries)
        accuracy = (
            f"top-1 {percent(m.top1)} (95 % interval {percent(low)} to {percent(high)}, {m.queries} queries, k = {m.k})"
        )
    return (
        f"MLP {ratio(m.cut.mlp)}, heads {ratio(m.cut.heads)} removed{', corrected' if correct else ''}: {accuracy}, "
        f"cosine {m.cosine:.3f}, "
        f"{amount(m.params)} parameters, {amount(m.macs)} MACs."
    )


def _reporter(args: argparse.Namespace) -> Reporter:
    """Of several processes, the first one tells how it goes."""
    return Reporter(ProgressLine() if args.ranks.first else None)


class ProgressLine:
    """Events as lines on standard error."""

    def __call__(self, event: Event) -> None:
        """Tell it at once."""
        tell(f"snapvit: {event.text}")
