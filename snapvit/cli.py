"""The command line: the same pipeline as the app, without a browser.

Exit code 0, 2 for input that cannot be used (one sentence on standard error), 130 when cancelled, 1 where one of
several processes was lost. Of several, the first alone says anything.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence

from snapvit import commands
from snapvit.commands import Answer
from snapvit.data.torchvision_sets import SETS
from snapvit.devices import AUTO, PRECISIONS
from snapvit.errors import Cancelled, InputError, Lost
from snapvit.models.spec import POOLS
from snapvit.paths import absolute, share
from snapvit.pipeline.config import PRESETS, setting_names
from snapvit.pipeline.methods import METHODS
from snapvit.ranks.joining import LOST, Crew, joined
from snapvit.store.store import Store, default_root
from snapvit.streams import say, tell, widen

SHARED = (commands.run, commands.interactions, commands.compare)  # what several processes can do together
RUN_HELP = "name of a run, as listed by `runs`"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    widen()
    args = _parser().parse_args(argv)
    try:
        with joined() as crew:
            return _performed(args, crew)
    except Lost as error:  # while the processes were still looking for each other
        tell(f"snapvit: {error}")
        return LOST


def _performed(args: argparse.Namespace, crew: Crew) -> int:
    """Run the command, as one of the crew."""
    command: Callable[[argparse.Namespace, Store], Answer] = args.command
    store, args.ranks = Store(args.cache), crew.ranks
    tells = tell if crew.ranks.first else _keep_quiet
    try:
        if crew.ranks.size > 1 and command not in SHARED:
            raise InputError("Several processes can only share the commands run, interactions and compare.")
        if "run" in args:
            args.run = _run_meant(args.run, store)
        content, text = command(args, store)
        if crew.ranks.first:
            _print_problems(store, tells)
            say(json.dumps(content) if args.json else text)
    except InputError as error:
        _print_problems(store, tells)
        tells(f"snapvit: {error}")
        return crew.leave(2, str(error))
    except Lost as error:
        tells(f"snapvit: {error}")
        return crew.leave(LOST)
    except (KeyboardInterrupt, Cancelled):
        tells("snapvit: cancelled; what was finished is kept, and the same command goes on from there.")
        return crew.leave(130)
    return crew.leave(0)


def _keep_quiet(text: str) -> None:
    """The first process says it."""


def _run_meant(text: str, store: Store) -> str:
    """A run's name, from its name or its folder; the path of a file of scores, absolute."""
    file = absolute(text)
    return str(file) if file.is_file() or file.suffix == ".pt" else store.run_named(text)


def _share(text: str) -> float:
    try:
        return share(text)
    except ValueError as error:  # argparse would not show its sentence
        raise argparse.ArgumentTypeError(str(error)) from error


def _print_problems(store: Store, tells: Callable[[str], None]) -> None:
    for problem in store.problems:
        tells(f"snapvit: {problem}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="snapvit", description="See how a Vision Transformer can be cut down.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    cached = argparse.ArgumentParser(add_help=False)
    cached.add_argument(
        "--cache", type=absolute, metavar="DIR", help=f"folder of runs (default: SNAPVIT_CACHE or {default_root()})"
    )
    shared = argparse.ArgumentParser(add_help=False, parents=[cached])
    shared.add_argument("--json", action="store_true", help="one JSON object on standard output")

    def add(name: str, command: Callable[[argparse.Namespace, Store], Answer], text: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=text, description=text, parents=[shared])
        sub.set_defaults(command=command)
        return sub

    run = add("run", commands.run, "compute a run, or go on with one, reusing what is cached")
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
    run.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        default="quick",
        help="quick by default; look is the shortest, paper the paper's",
    )
    run.add_argument("--method", choices=list(METHODS), help="what ranks, where it is not the preset's")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"change a setting: {', '.join(setting_names())}",
    )
    _add_device(run)
    run.add_argument(
        "--precision",
        choices=[AUTO, *PRECISIONS],
        default=AUTO,
        help="of the forward passes of search and evaluation; auto is float32, and gradients and statistics always are",
    )
    run.add_argument("--seed", type=int, metavar="N", help="of what the method draws: the search, probes, crops")
    run.add_argument(
        "--scores",
        type=absolute,
        metavar="FILE",
        help="published scores of this model, to be used in place of curvature and search",
    )

    add("runs", commands.runs, "list the runs in the cache")
    add("models", commands.models, "list the families of models that can be cut, and what is checked of each")

    evaluate = add("evaluate", commands.evaluate, "what one cut of a run costs: accuracy, parameters, MACs")
    ranking = add("ranking", commands.ranking, "which neurons and heads a cut of a run, or of scores, keeps by block")
    evaluate.add_argument("run", metavar="RUN", help=RUN_HELP)
    ranking.add_argument("run", metavar="RUN_OR_SCORES", help=f"{RUN_HELP}, or a file of published scores")
    for sub in (evaluate, ranking):
        sub.add_argument("--mlp", type=_share, required=True, metavar="R", help="share of MLP neurons to remove")
        sub.add_argument("--heads", type=_share, required=True, metavar="R", help="share of heads to remove")

    evaluate.add_argument("--correct", action="store_true", help="solve what reads the kept structures again")

    latency = add("latency", commands.latency, "time the cuts of a run on this machine, each beside the full model")
    latency.add_argument("run", metavar="RUN", help=RUN_HELP)

    interactions = add(
        "interactions", commands.interactions, "measure how structures depend on one another, and check estimates"
    )
    interactions.add_argument("run", metavar="RUN", help=RUN_HELP)
    interactions.add_argument("--pairs", type=int, metavar="N", help="a seeded sample of so many pairs (all)")
    interactions.add_argument(
        "--images", type=int, metavar="N", help="images to measure on (the run's interactions.images)"
    )

    compare = add("compare", commands.compare, "measure rival rankings beside a run's own, on the same images")
    compare.add_argument("run", metavar="RUN", help=RUN_HELP)
    compare.add_argument(
        "--contender",
        action="append",
        default=[],
        metavar="'METHOD [KEY=VALUE ...]'",
        help=f"of {', '.join(METHODS)}, with settings of its own where they are not the run's (all methods)",
    )
    compare.add_argument("--seeds", type=_count, default=3, metavar="N", help="seeds of each that draws (3)")

    report = add("report", commands.report, "write what a run found as one offline HTML page, to attach to a decision")
    report.add_argument("run", metavar="RUN", help=RUN_HELP)
    report.add_argument("--out", type=absolute, required=True, metavar="FILE", help="the file to write: report.html")
    for name, what in (("mlp", "neurons"), ("heads", "heads")):
        report.add_argument(f"--{name}", type=_share, metavar="R", help=f"share of {what} that its cut removes")
    report.add_argument("--correct", action="store_true", help="of cuts with corrected weights")
    report.add_argument("--export", type=absolute, metavar="DIR", help="folder that `export` wrote, for its card")
    report.add_argument("--force", action="store_true", help="replace the file where it exists")

    scores = add("scores", commands.scores, "write a run's scores to a file in the layout of the method's authors")
    scores.add_argument("run", metavar="RUN", help=RUN_HELP)
    scores.add_argument(
        "--out", type=absolute, required=True, metavar="FILE", help="the file to write, such as scores.pt"
    )
    scores.add_argument("--force", action="store_true", help="replace the file where it exists")

    _add_export(add)
    _add_app(subparsers, cached)

    imported = add("import", commands.import_file, "make a run of published scores alone, without weights or images")
    imported.add_argument("file", type=absolute, metavar="FILE", help="a file of published scores")
    imported.add_argument("--model", metavar="NAME", help="its timm model, where the file names one that is not known")
    return parser


def _add_export(add: Callable[..., argparse.ArgumentParser]) -> None:
    """`export` and `finetune`."""
    export = add("export", commands.export, "write a cut of a run as a model of its own, proven by a fresh process")
    export.add_argument("run", metavar="RUN", help=RUN_HELP)
    export.add_argument("--mlp", type=_share, metavar="R", help="share of MLP neurons to remove")
    export.add_argument("--heads", type=_share, metavar="R", help="share of heads to remove")
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

    tune = add("finetune", commands.finetune, "train an export towards the whole model, without labels")
    tune.add_argument("export", type=absolute, metavar="EXPORT", help="folder that `export` wrote")
    tune.add_argument("--data", required=True, metavar="SOURCE", help="images, as for `run`; labels are not read")
    tune.add_argument("--epochs", type=int, default=1, metavar="N", help="passes over the images (default: 1)")
    tune.add_argument("--rate", type=float, default=1e-4, metavar="X", help="learning rate at first (default: 1e-4)")
    tune.add_argument("--batch", type=int, default=64, metavar="N", help="images a step (default: 64)")
    _add_device(tune)
    tune.add_argument("--out", type=absolute, required=True, metavar="DIR", help="folder, new or empty")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda, cuda:N or mps (default: SNAPVIT_DEVICE, else auto: a CUDA device where there is one)",
    )


def _add_app(subparsers: argparse._SubParsersAction, cached: argparse.ArgumentParser) -> None:
    text = "open the dashboard, on this computer alone"
    app = subparsers.add_parser("app", help=text, description=text, parents=[cached])
    app.set_defaults(command=commands.app, json=False)
    app.add_argument("--port", type=_port, default=8501, metavar="N", help="of its address (default: 8501)")
    app.add_argument(
        "--read-only", action="store_true", help="show what is there; start, change, delete and upload nothing"
    )
    app.add_argument("--base-path", default="", metavar="PATH", help="first part of its addresses, behind a proxy")
    app.add_argument(
        "--host", action="append", default=[], metavar="NAME", help="under which a proxy asks for it, beside localhost"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write a whole number from 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seeds; write a whole number from 1 to 100")
    return int(text)


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
