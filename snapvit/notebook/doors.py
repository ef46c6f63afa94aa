"""What `snapvit.open`, `snapvit.run` and `snapvit.runs` do; `snapvit` itself describes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snapvit.devices import chosen
from snapvit.models.spec import BUNDLED, ModelSpec, Pool
from snapvit.notebook.frames import runs_frame
from snapvit.notebook.run import Run
from snapvit.notebook.watching import watched
from snapvit.pipeline.opening import open_store, take_shipped
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import StoredRun, list_runs
from snapvit.published.scores import read_scores

if TYPE_CHECKING:
    import pandas as pd

Place = str | os.PathLike[str]


def open_run(name_or_path: Place, cache: Place | None) -> Run:
    """A stored run."""
    given = Path(name_or_path).expanduser() if isinstance(name_or_path, os.PathLike) or os.sep in name_or_path else None
    if given is not None and cache is None and (given / "manifest.json").is_file():
        cache = given.absolute().parent
    store = open_store(cache)
    text = os.fspath(name_or_path)
    name = take_shipped(store) if text == BUNDLED else store.run_named(text)
    return Run(StoredRun.open(store, name))


def start_run(
    model: str,
    images: Place,
    gallery: Place | None,
    queries: Place | None,
    preset: str,
    method: str | None,
    settings: Sequence[str],
    seed: int | None,
    checkpoint: Place | None,
    image_size: int | None,
    pool: Pool,
    scores: Place | None,
    device: str | None,
    precision: str,
    name: str,
    cache: Place | None,
    progress: bool,
) -> Run:
    """A run brought to its end."""
    from snapvit.pipeline.running import run_pipeline

    published = None if scores is None else read_scores(Path(scores))
    spec = ModelSpec(model, None if checkpoint is None else os.fspath(checkpoint), image_size, pool)
    sources = [None if one is None else _source(one) for one in (images, gallery, queries)]
    place = chosen(device)
    request = make_request(spec, *sources, preset, method, settings, seed, published, place, precision)
    store = open_store(cache)
    with watched(progress) as reporter:
        workspace = run_pipeline(request, store, reporter, published, name, place)
    return Run(StoredRun.open(store, request.run), workspace)


def _source(given: Place) -> str:
    """A Path is a folder of images."""
    return given if isinstance(given, str) else f"folder:{os.fspath(given)}"


def stored_runs(cache: Place | None) -> pd.DataFrame:
    """The runs of a cache."""
    return runs_frame(list_runs(open_store(cache)))
