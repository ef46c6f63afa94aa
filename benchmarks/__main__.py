"""`python -m benchmarks [NAME ...] [--json]`: one table of what the explorer costs against its targets.

A NAME picks every line whose name begins with it. A machine that is busy with something else spoils absolute times;
ratios are measured in turn and stand that better.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version

import torch

from benchmarks import (
    cka,
    correcting,
    curvature,
    direct,
    fitness,
    image_sets,
    interactions,
    knn,
    listing,
    memory,
    pages,
    precision,
    ranks,
    rerun,
    slicing,
    slider,
    start,
)
from benchmarks.timing import SIZES, Line, Spread, Unavailable

LINES: dict[str, Callable[[], Line]] = {
    "slicing": slicing.changing_sparsity,
    "correcting-bundled": correcting.bundled_model,
    "correcting-vit-s": correcting.vit_s,
    "correcting-vit-b": correcting.vit_b,
    "fitness-bundled": fitness.bundled_evaluation,
    "fitness-vit-s": fitness.vit_s_evaluation,
    "curvature-bundled": curvature.bundled_curvature,
    "curvature-vit-s": curvature.vit_s_curvature,
    "cka": cka.vit_s_map,
    "gauss-newton-bundled": interactions.bundled_gauss_newton,
    "gauss-newton-vit-s": interactions.vit_s_gauss_newton,
    "direct-vit-s": direct.vit_s_ranking,
    "two-processes": ranks.two_processes,
    "interactions": interactions.measured_pairs,
    "knn": knn.queries,
    "knn-large": knn.large_gallery,
    "listing": listing.runs,
    "image-sets-first": image_sets.first_opening,
    "image-sets-again": image_sets.opening_again,
    "image-sets-run": image_sets.run,
    "image-sets-pages": image_sets.pages,
    "import": start.app_import,
    "start-first-page": start.first_page,
    "start-sparsity-page": start.sparsity_page,
    "page-change": pages.change,
    "rerun-sent": rerun.sent,
    "rerun-processor": rerun.processor,
    "slider-cached": slider.cached,
    "slider-first-answer": slider.uncached_first,
    "slider-uncached": slider.uncached,
    "memory-bundled": memory.bundled_run,
    "memory-vit-b": memory.vit_b_run,
    "memory-vit-l": memory.vit_l_run,
    "precision": precision.bundled_model,
}
PACKAGES = ("torch", "timm", "faiss-cpu", "streamlit", "numpy")


def main() -> int:
    """Measure the lines asked for and print them."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"lines to measure (all): {', '.join(LINES)}")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    args = parser.parse_args()
    unknown = [name for name in args.names if not any(line.startswith(name) for line in LINES)]
    if unknown:
        parser.error(f"there is no line {unknown[0]!r}; there are {', '.join(LINES)}")
    chosen = [line for line in LINES if not args.names or line.startswith(tuple(args.names))]

    results: dict[str, Line | Unavailable] = {}
    for name in chosen:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            results[name] = LINES[name]()
        except Unavailable as reason:
            results[name] = reason
    print(as_json(results) if args.json else as_table(results))
    return 0


def machine() -> dict[str, str | int]:
    """What the numbers were measured on."""
    packages = {name: version(name) for name in PACKAGES}
    return {
        "cores": os.cpu_count() or 0,
        "torch threads": torch.get_num_threads(),
        "python": platform.python_version(),
    } | packages


def as_json(results: dict[str, Line | Unavailable]) -> str:
    """Everything measured, times in seconds."""
    lines = {}
    for name, result in results.items():
        if isinstance(result, Unavailable):
            lines[name] = {"skipped": str(result)}
        else:
            lines[name] = dataclasses.asdict(result) | {"times": dict(_plain(result)), "met": result.met}
    return json.dumps({"machine": machine(), "lines": lines}, indent=1)


def _plain(line: Line) -> list[tuple[str, dict[str, float]]]:
    return [(what, dataclasses.asdict(spread)) for what, spread in line.times]


def as_table(results: dict[str, Line | Unavailable]) -> str:
    """A heading, then for each line its verdict, and below it the absolute times and the conditions."""
    rows = [("", "value", "target", "")]
    below: list[list[str]] = [[]]
    for name, result in results.items():
        if isinstance(result, Unavailable):
            rows.append((name, "-", "-", "skipped"))
            below.append([str(result)])
        else:
            numbers = (f"{result.value:.3g} {result.unit}", f"{result.target:g} {result.unit}")
            rows.append((result.subject, *numbers, "met" if result.met else "MISSED"))
            timed = [f"{what}: {_spread_text(spread, result.unit)}" for what, spread in result.times]
            below.append([*timed, *([result.note] if result.note else [])])
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    text = [", ".join(f"{name} {value}" for name, value in machine().items()), ""]
    for (subject, value, target, verdict), details in zip(rows, below, strict=True):
        text.append(f"{subject:<{widths[0]}}  {value:>{widths[1]}}  {target:>{widths[2]}}  {verdict}".rstrip())
        text += [f"    {detail}" for detail in details]
    return "\n".join(text)


def _spread_text(spread: Spread, of: str) -> str:
    scale, unit = (1, of) if of in SIZES else (1, "s") if spread.median >= 1 else (1000, "ms")
    return f"{spread.median * scale:.3g} {unit} ({spread.low * scale:.3g} - {spread.high * scale:.3g})"


if __name__ == "__main__":
    sys.exit(main())
