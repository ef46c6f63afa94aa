"""The command line: the same pipeline as the app, without a browser.

Exit code 0, 2 for input that cannot be used (one sentence on standard error), 130 when cancelled.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from snapvit.artifacts import RunFacts, SearchHistory
from snapvit.data.torchvision_sets import SETS
from snapvit.elastic.ranking import cut_at, rank
from snapvit.errors import Cancelled, InputError
from snapvit.evaluation.budget import Budget, within
from snapvit.evaluation.knn import wilson_interval
from snapvit.machine import this_machine
from snapvit.method.agreement import Agreement
from snapvit.models.families import CHECKED, FAMILIES, plain_text
from snapvit.models.spec import POOLS, ModelSpec
from snapvit.paths import absolute, share
from snapvit.pipeline.agreements import MAPS, agreements, wants_of
from snapvit.pipeline.config import PRESETS, setting_names
from snapvit.pipeline.progress import Event, Reporter
from snapvit.pipeline.published_runs import export_scores, import_scores
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import StoredRun, list_runs, load_results
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.published.scores import read_scores
from snapvit.store.store import Store
from snapvit.streams import say, tell, widen
from snapvit.tables import Latency, Measurement, Measurements

RUN_HELP = "name of a run, as listed by `runs`"
Answer = tuple[dict[str, Any], str]  # for --json, for people


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    widen()
    args = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace, Store], Answer] = args.command
    store = Store(args.cache)
    try:
        if "run" in args:
            args.run = _run_meant(args.run, store)
        content, text = command(args, store)
        _print_problems(store)
        say(json.dumps(content) if args.json else text)
    except InputError as error:
        _print_problems(store)
        tell(f"snapvit: {error}")
        return 2
    except (KeyboardInterrupt, Cancelled):
        tell("snapvit: cancelled; what was finished is kept, and the same command goes on from there.")
        return 130
    return 0


def _run_meant(text: str, store: Store) -> str:
    """A run's name, from its name or its folder; the path of a file of scores, absolute."""
    file = absolute(text)
    return str(file) if file.is_file() or file.suffix == ".pt" else store.run_named(text)


def _share(text: str) -> float:
    try:
        return share(text)
    except ValueError as error:  # argparse would not show its sentence
        raise argparse.ArgumentTypeError(str(error)) from error


def _print_problems(store: Store) -> None:
    for problem in store.problems:
        tell(f"snapvit: {problem}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="snapvit", description="See how a Vision Transformer can be cut down.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--cache", type=absolute, metavar="DIR", help="folder of runs (default: SNAPVIT_CACHE or ./cache)"
    )
    shared.add_argument("--json", action="store_true", help="one JSON object on standard output")

    def add(name: str, command: Callable[[argparse.Namespace, Store], Answer], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, parents=[shared])
        sub.set_defaults(command=command)
        return sub

    run = add("run", _run, "compute a run, or go on with one, reusing what is cached")
    run.add_argument("--model", default="bundled", metavar="NAME", help="bundled, or a timm model name")
    run.add_argument("--checkpoint", metavar="FILE", help="weights to use instead of the hub's")
    run.add_argument("--image-size", type=int, metavar="N", help="pixels; default: what the model was made for")
    run.add_argument("--pool", choices=list(POOLS), default="model", help="which tokens make the embedding")
    run.add_argument(
        "--data",
        default="bundled",
        metavar="SOURCE",
        help="bundled; folder:PATH, a folder of images, with a folder a class where they are labelled; or "
        f"torchvision:NAME, one of {', '.join(known.name for known in SETS)} (downloaded into SNAPVIT_DATA)",
    )
    for part, what in (
        ("gallery", "labelled images that queries are compared with"),
        ("queries", "images to be named"),
    ):
        run.add_argument(f"--{part}", metavar="SOURCE", help=f"{what}, where they are not a part of --data")
    run.add_argument("--preset", choices=sorted(PRESETS), default="quick", help="quick (default) or paper")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"change a setting: {', '.join(setting_names())}",
    )
    run.add_argument("--seed", type=int, metavar="N", help="of the search; the same as --set search.seed=N")
    run.add_argument(
        "--scores",
        type=absolute,
        metavar="FILE",
        help="published scores of this model, to be used in place of curvature and search",
    )

    add("runs", _runs, "list the runs in the cache")
    add("models", _models, "list the families of models that can be cut, and what is checked of each")

    evaluate = add("evaluate", _evaluate, "what one cut of a run costs: accuracy, parameters, MACs")
    ranking = add("ranking", _ranking, "which neurons and heads a cut of a run, or of published scores, keeps by block")
    evaluate.add_argument("run", metavar="RUN", help=RUN_HELP)
    ranking.add_argument("run", metavar="RUN_OR_SCORES", help=f"{RUN_HELP}, or a file of published scores")
    for sub in (evaluate, ranking):
        sub.add_argument("--mlp", type=_share, required=True, metavar="R", help="share of MLP neurons to remove")
        sub.add_argument("--heads", type=_share, required=True, metavar="R", help="share of heads to remove")

    evaluate.add_argument("--correct", action="store_true", help="solve what reads the kept structures again")

    latency = add("latency", _latency, "time the cuts of a run on this machine, each beside the full model")
    latency.add_argument("run", metavar="RUN", help=RUN_HELP)

    interactions = add(
        "interactions", _interactions, "measure how structures depend on one another, and check estimates"
    )
    interactions.add_argument("run", metavar="RUN", help=RUN_HELP)
    interactions.add_argument("--pairs", type=int, metavar="N", help="a seeded sample of so many pairs (all)")
    interactions.add_argument(
        "--images", type=int, metavar="N", help="images to measure on (the run's interactions.images)"
    )

    scores = add("scores", _scores, "write a run's scores to a file in the layout of the method's authors")
    scores.add_argument("run", metavar="RUN", help=RUN_HELP)
    scores.add_argument(
        "--out", type=absolute, required=True, metavar="FILE", help="the file to write, such as scores.pt"
    )
    scores.add_argument("--force", action="store_true", help="replace the file where it exists")

    _add_export(add)

    imported = add("import", _import, "make a run of published scores alone, to look at without weights or images")
    imported.add_argument("file", type=absolute, metavar="FILE", help="a file of published scores")
    imported.add_argument("--model", metavar="NAME", help="its timm model, where the file names one that is not known")
    return parser


def _add_export(add: Callable[..., argparse.ArgumentParser]) -> None:
    """`export` and `finetune`."""
    export = add("export", _export, "write a cut of a run as a model of its own, proven by a fresh process")
    export.add_argument("run", metavar="RUN", help=RUN_HELP)
    export.add_argument("--mlp", type=share, metavar="R", help="share of MLP neurons to remove")
    export.add_argument("--heads", type=share, metavar="R", help="share of heads to remove")
    for name, what in (("macs", "multiply-accumulates an image"), ("params", "parameters"), ("ms", "ms an image here")):
        export.add_argument(
            f"--max-{name}",
            type=_amount,
            metavar="X",
            help=f"instead of the shares: the best measured cut with at most so many {what}, such as 1.5G or 800k",
        )
    export.add_argument("--correct", action="store_true", help="with the weights solved again on what is kept")
    export.add_argument(
        "--elastic", action="store_true", help="the whole model with its ranking instead, to be cut when it is loaded"
    )
    export.add_argument("--out", type=absolute, required=True, metavar="DIR", help="folder, new or empty")
    export.add_argument(
        "--format",
        type=lambda text: text.split(","),
        default=["safetensors"],
        metavar="NAMES",
        help="of safetensors (always written), onnx and program (torch.export), with commas between",
    )

    tune = add("finetune", _finetune, "train an exported model towards the whole model's embeddings, without labels")
    tune.add_argument("export", type=absolute, metavar="EXPORT", help="folder that `export` wrote")
    tune.add_argument("--data", required=True, metavar="SOURCE", help="images, as for `run`; labels are not read")
    tune.add_argument("--epochs", type=int, default=1, metavar="N", help="passes over the images (default: 1)")
    tune.add_argument("--rate", type=float, default=1e-4, metavar="X", help="learning rate at first (default: 1e-4)")
    tune.add_argument("--batch", type=int, default=64, metavar="N", help="images a step (default: 64)")
    tune.add_argument("--out", type=absolute, required=True, metavar="DIR", help="folder, new or empty")


def _run(args: argparse.Namespace, store: Store) -> Answer:
    from snapvit.pipeline.running import run_pipeline  # imports torch, which the other commands can do without

    published = None if args.scores is None else read_scores(args.scores)
    spec = ModelSpec(args.model, args.checkpoint, args.image_size, args.pool)
    images = (args.data, args.gallery, args.queries)
    request = make_request(spec, *images, args.preset, args.set, args.seed, published)
    reporter = Reporter(_ProgressLine())
    run_pipeline(request, store, reporter, published)
    results = load_results(store, request.run)
    tables = {"measured": results.as_cut, "corrected": results.corrected}
    found, how = _found(results.search) if published is None else ({}, f"cut by the scores in {args.scores.name}")
    content = _summary_dict(results.summary) | found
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


def _runs(args: argparse.Namespace, store: Store) -> Answer:
    summaries = list_runs(store)
    lines = [
        f"{s.run:44} {s.model:20} {s.data:12} {s.preset:7} {'' if s.seed is None else f'seed {s.seed}':9} {s.state}"
        for s in summaries
    ]
    text = "\n".join(lines) or "The cache holds no run yet; make one with `python -m snapvit run`."
    return {"runs": [_summary_dict(s) for s in summaries]}, text


def _models(args: argparse.Namespace, store: Store) -> Answer:
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


def _evaluate(args: argparse.Namespace, store: Store) -> Answer:
    from snapvit.pipeline.measure import measure_cut

    measured = measure_cut(store, args.run, args.mlp, args.heads, Reporter(), correct=args.correct)
    stored = StoredRun.open(store, args.run)
    table = stored.load(LATENCY, this_machine().id)
    timed = None if table is None else table.find(args.mlp, args.heads)
    took = "" if timed is None else f" {_took(timed)}."
    times = {"latency": None if timed is None else asdict(timed)}
    content = {"run": args.run, "correct": args.correct} | times | _plain(measured)
    return content, _sentence(measured, stored.manifest.facts, args.correct) + took


def _latency(args: argparse.Namespace, store: Store) -> Answer:
    from snapvit.pipeline.running import machine_latency, open_workspace, run_wants

    want = machine_latency()
    workspace = open_workspace(store, args.run)
    run_wants(workspace, store, Reporter(_ProgressLine()), [want])
    table = StoredRun.open(store, args.run).need(want.stage, *want.args)
    rows = sorted(table.rows(), key=lambda row: (row.mlp, row.heads))
    lines = [f"{row.mlp:6.1%} of neurons, {row.heads:6.1%} of heads removed: {_took(row)}" for row in rows]
    content = {"run": args.run, "machine": asdict(table.machine), "cuts": [asdict(row) for row in rows]}
    return content, "\n".join([f"One image at a time on {table.machine.label}:", *lines])


def _interactions(args: argparse.Namespace, store: Store) -> Answer:
    from snapvit.pipeline.running import check_unchanged, open_workspace, run_wants

    wants = wants_of(StoredRun.open(store, args.run), args.pairs, args.images)
    workspace = open_workspace(store, args.run)
    check_unchanged(store, args.run, workspace)
    run_wants(workspace, store, Reporter(_ProgressLine()), wants)
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


def _agreed(one: Agreement) -> str:
    if _finite(one.rho) is None:
        return "says nothing of these pairs: all are alike to it"
    return f"rank correlation {one.rho:5.2f}, Mantel p {one.mantel_p:.3f}"


def _finite(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if np.isfinite(value) else None


def _took(row: Latency) -> str:
    return (
        f"{row.ms:.2f} ms an image, {row.ratio:.0%} of the full model's (middle half of {row.repeats} rounds "
        f"{row.low:.0%} to {row.high:.0%})"
    )


def _scores(args: argparse.Namespace, store: Store) -> Answer:
    published = export_scores(load_results(store, args.run), args.out, args.force)
    content = {"run": args.run, "file": str(args.out), "model_type": published.model_type}
    return content, f"The scores of run {args.run} are written to {args.out}, as scores of {published.model_type}."


def _import(args: argparse.Namespace, store: Store) -> Answer:
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


def _export(args: argparse.Namespace, store: Store) -> Answer:
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
    reporter = Reporter(_ProgressLine())
    exported = export_run(store, args.run, ratios, args.out, args.format, reporter, correct=args.correct)
    content = {"run": args.run, "mlp": ratios and ratios[0], "heads": ratios and ratios[1], "correct": args.correct}
    return content | exported_dict(exported), said + exported_sentence(exported)


def _amount(text: str) -> float:
    """`1.5G`, `800k` or a plain number."""
    size = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1:], 1.0)
    try:
        value = float(text[:-1] if size > 1 else text) * size
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount; write it as 1.5G, 800k or 20")
    return value


def _finetune(args: argparse.Namespace, store: Store) -> Answer:
    from snapvit.pipeline.exporting import exported_dict, exported_sentence
    from snapvit.pipeline.finetuning import Tuning, finetune

    tuning = Tuning(args.epochs, args.rate, args.batch)
    tuned, exported = finetune(store, args.export, args.data, args.out, tuning, Reporter(_ProgressLine()))
    went = f"Cosine to the whole model on {tuned['held_out']} images held out: {tuned['cosine_before']:.4f} before, "
    return tuned | exported_dict(exported), f"{went}{tuned['cosine_after']:.4f} after. {exported_sentence(exported)}"


def _ranking(args: argparse.Namespace, store: Store) -> Answer:
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
        accuracy = f"top-1 {m.top1:.1%} (95 % interval {low:.1%} to {high:.1%}, {m.queries} queries, k = {m.k})"
    return (
        f"MLP {m.cut.mlp:.1%}, heads {m.cut.heads:.1%} removed{', corrected' if correct else ''}: {accuracy}, "
        f"cosine {m.cosine:.3f}, "
        f"{m.params / 1e6:.2f} M parameters, {m.macs / 1e6:.1f} M MACs."
    )


class _ProgressLine:
    """Events as lines on standard error."""

    def __call__(self, event: Event) -> None:
        tell(f"snapvit: {event.text}")
