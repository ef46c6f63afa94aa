"""From what a person says to a request: the command line, the pages and a notebook all ask in this way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from snapvit.data.sources import canonical_name
from snapvit.devices import AUTO, CPU, kind_of
from snapvit.errors import InputError
from snapvit.models.catalogue import settled
from snapvit.models.spec import BUNDLED, ModelSpec
from snapvit.pipeline.config import PRESETS, RunConfig, RunRequest, with_settings
from snapvit.pipeline.methods import METHODS
from snapvit.published.scores import PublishedScores


def make_request(
    model: ModelSpec | None = None,
    data: str = BUNDLED,
    gallery: str | None = None,
    queries: str | None = None,
    preset: str = "quick",
    method: str | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    scores: PublishedScores | None = None,
    device: str = CPU,
    precision: str = AUTO,
) -> RunRequest:
    """The run of these words: paths are made absolute, names take their one spelling, so the same words from anywhere
    mean the same run.

    method: of the ranking, where it is not the preset's. settings: such as `search.generations=20`, after the
    preset's. seed: of what the method draws. scores: published ones that take the place of curvature and search.
    device: one of `devices()`, of which the kind belongs to the run. precision: `auto` is float32.
    Raises InputError naming the first thing that cannot be meant.
    """
    spec = settled(model or ModelSpec())
    if preset not in PRESETS:
        raise InputError(f"There is no preset {preset!r}; there are {', '.join(PRESETS)}.")
    config = PRESETS[preset]
    if scores is not None:
        if method is not None:
            raise InputError(
                f"Scores and the method {method} were given, and a ranking is made of one of them; leave one out."
            )
        config = replace(config, floors=scores.floors)
    if precision != AUTO:  # which is the settings' own, float32 unless they say so
        settings = [*settings, f"precision={precision}"]
    settings = [*([] if method is None else [f"ranking.method={method}"]), *settings]
    config = with_settings(config, settings)
    if seed is not None:
        config = with_settings(config, [f"{_seed_setting(config)}={seed}"])
    sources = [None if name is None else canonical_name(name) for name in (gallery, queries)]
    digest = None if scores is None else scores.digest
    return RunRequest(spec, canonical_name(data), config, digest, *sources, device=kind_of(device))


def _seed_setting(config: RunConfig) -> str:
    method = METHODS[config.ranking.method]
    if method.seed is None:
        raise InputError(f"{method.label} draws nothing, so a seed would change nothing; leave the seed out.")
    return method.seed
