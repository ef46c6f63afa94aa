"""From what a person says to a request: the command line, the pages and a notebook all ask in this way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from snapvit.data.sources import canonical_name
from snapvit.models.catalogue import settled
from snapvit.models.spec import BUNDLED, ModelSpec
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.published.scores import PublishedScores


def make_request(
    model: ModelSpec | None = None,
    data: str = BUNDLED,
    gallery: str | None = None,
    queries: str | None = None,
    preset: str = "quick",
    settings: Sequence[str] = (),
    seed: int | None = None,
    scores: PublishedScores | None = None,
) -> RunRequest:
    """The run of these words: paths are made absolute, names take their one spelling, so the same words from anywhere
    mean the same run.

    settings: such as `search.generations=20`, after the preset's. scores: published ones that take the place of
    curvature and search. Raises InputError naming the first thing that cannot be meant.
    """
    spec = settled(model or ModelSpec())
    config = PRESETS[preset]
    if scores is not None:
        config = replace(config, floors=scores.floors)
    config = with_settings(config, list(settings))
    if seed is not None:
        config = with_settings(config, [f"search.seed={seed}"])
    sources = [None if name is None else canonical_name(name) for name in (gallery, queries)]
    return RunRequest(spec, canonical_name(data), config, None if scores is None else scores.digest, *sources)
