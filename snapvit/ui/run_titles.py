"""What runs are called: the name that a person gave, else what they are of, what tells them apart first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from snapvit.data.fashion_mnist import BUNDLED
from snapvit.figures.names import shortened
from snapvit.pipeline.config import NO_IMAGES
from snapvit.pipeline.results import FINISHED, IMPORTED, RunSummary
from snapvit.ui.image_names import images_in_short

ROOM = 30  # characters of a part that a box of the sidebar can show


def run_title(summary: RunSummary) -> str:
    """`bundled · paper · seed 0`, or the run's own name; images are said where they are not the bundled ones."""
    return summary.name or " · ".join(_parts(summary))


def run_label(summary: RunSummary) -> str:
    """The same with what is missing: `dino · published scores (no weights)`."""
    missing = missing_of(summary)
    return run_title(summary) + (f" ({missing})" if missing else "")


def missing_of(summary: RunSummary) -> str | None:
    """What a run lacks, in a word."""
    return {FINISHED: None, IMPORTED: "no weights"}.get(summary.state, "unfinished")


def run_titles(summaries: Sequence[RunSummary]) -> dict[str, str]:
    """Run to title in a list of these: no two are alike, and what tells one from the others stands first."""
    parts = {summary.run: _parts(summary) for summary in summaries}
    common = Counter(part for of_run in parts.values() for part in of_run)
    titles = {
        summary.run: summary.name or " · ".join(sorted(parts[summary.run], key=lambda part: common[part] > 1))
        for summary in summaries
    }
    alike = Counter(titles.values())
    return {
        summary.run: f"{_begun(summary)} · {titles[summary.run]}"
        if alike[titles[summary.run]] > 1
        else titles[summary.run]
        for summary in summaries
    }


def _parts(summary: RunSummary) -> list[str]:
    made = ["published scores" if summary.preset == "scores" else summary.preset]
    made += [] if summary.seed is None else [f"seed {summary.seed}"]
    images = [] if summary.data in (BUNDLED, NO_IMAGES) else [shortened(images_in_short(summary.data), ROOM)]
    return [shortened(_short_model(summary.model), ROOM), *images, *made, *summary.arithmetic]


def _short_model(model: str) -> str:
    """A timm name without what most have in common, and a checkpoint by its file."""
    file = re.fullmatch(r"\S+ \((.+?)\)(.*)", model)
    return f"{file[1]}{file[2]}" if file else re.sub(r"_patch(\d+)_(\d+)", r"/\1 \2", model)


def _begun(summary: RunSummary) -> str:
    return f"{datetime.fromtimestamp(summary.created):%d %b %H:%M:%S}"
