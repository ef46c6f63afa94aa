"""A small run of the bundled model that the campaigns kill, damage and share: a second or two of work."""

from __future__ import annotations

import hashlib
from pathlib import Path

from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.request import make_request
from snapvit.pipeline.running import run_pipeline
from snapvit.store.store import Store

SETTINGS = (
    "curvature.images=4",
    "curvature.local_views=1",
    "cka.images=16",
    "search.generations=6",
    "search.population=4",
    "search.images=8",
    "search.pairs=[[0.35, 0.2], [0.65, 0.5]]",
    "evaluation.k=5",
    "evaluation.gallery=60",
    "evaluation.queries=20",
    "evaluation.points=5",
)
TIMED = ("latency",)  # entries whose numbers differ from one time to the next


def sample_request() -> RunRequest:
    """The run."""
    return make_request(settings=SETTINGS)


def sample_arguments(cache: Path) -> list[str]:
    """The same as arguments of `python -m snapvit`."""
    return ["run", *(part for setting in SETTINGS for part in ("--set", setting)), "--cache", str(cache)]


def finished_sample(cache: Path) -> Store:
    """A cache with the finished run in it."""
    store = Store(cache)
    run_pipeline(sample_request(), store, Reporter())
    return store


def contents(store: Store, run: str) -> dict[str, str]:
    """Digest of the file of every finished entry whose numbers are the same each time; of damaged ones nothing."""
    manifest = store.manifest(run)
    found = {}
    for name, entry in (manifest.entries if manifest else {}).items():
        raw = (store.root / run / entry.file).read_bytes()
        if entry.complete and not name.startswith(TIMED) and hashlib.sha256(raw).hexdigest() == entry.sha256:
            found[name] = entry.sha256
    return found
