"""SnapViT explorer: rank a Vision Transformer's neurons and heads once, then cut any sparsity out of it at once.

    import snapvit
    run = snapvit.open("bundled")                   # or snapvit.run(model=..., images=..., preset="quick")
    run.ranking, run.curvature, run.cka, run.search
    cut = run.cut(0.65, 0.5, correct=True)          # a torch module, really smaller
    cut.top1, cut.interval, cut.macs
    run.figures.heads(0.65)
    run.slider()                                    # the dashboard's live slider, as a widget
    run.export("smaller", 0.65, 0.5, correct=True)

A notebook, the pages and the command line ask for runs with the same words, so the same request is the same run in the
same cache. Importing this package imports no torch. What cannot be done raises `snapvit.errors.InputError`.

Read `artifacts.py` first: it is the vocabulary that every other module uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from snapvit.models.spec import Pool
    from snapvit.notebook.run import Run

__version__ = "0.1.0"
__all__ = ["load_exported", "open", "run", "runs"]


def open(name_or_path: str | PathLike[str] = "bundled", cache: str | PathLike[str] | None = None) -> Run:
    """A stored run, by its name or its folder; `bundled` is the one that ships with the package.

    cache: the folder of runs; None: SNAPVIT_CACHE, else a checkout's own `cache`, and of an installed package
    `snapvit/runs` in the user's data folder. Raises InputError where there is no such run, naming those there are.
    """
    _prepare()
    from snapvit.notebook.doors import open_run

    return open_run(name_or_path, cache)


def run(
    model: str = "bundled",
    images: str | PathLike[str] = "bundled",
    gallery: str | PathLike[str] | None = None,
    queries: str | PathLike[str] | None = None,
    preset: str = "quick",
    method: str | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    image_size: int | None = None,
    pool: Pool = "model",
    scores: str | PathLike[str] | None = None,
    device: str | None = None,
    precision: str = "auto",
    name: str = "",
    cache: str | PathLike[str] | None = None,
    progress: bool = True,
) -> Run:
    """Rank a model on images, or go on with what is in the cache of the very same request, and open the run.

    Ctrl-C, or a notebook's stop button, stops within a batch and raises Cancelled; the same call goes on from there.

    - model: `bundled`, or a timm name; checkpoint: weights in place of the hub's; image_size in pixels; pool: which
      tokens make the embedding (`model`, `token`, `mean`).
    - images: `bundled`, `folder:PATH` or a `Path` of a folder of images, `torchvision:NAME`; gallery and queries of the
      k-NN where they are not a part of these.
    - preset: `look` (the shortest), `quick`, `direct` (no search), `paper`; method: of the ranking, where it is not
      the preset's; settings: such as `["search.generations=20"]`; seed: of what the method draws.
    - scores: a file of published scores that take the place of curvature and search.
    - device: `auto` (the first CUDA device where there is one, else the CPU), `cpu`, `cuda`, `cuda:1`, `mps`; None:
      SNAPVIT_DEVICE, else `auto`. precision: of the forward passes of search and evaluation, `float32` (`auto`) or
      `bfloat16`. Runs of another kind of device, or another precision, are runs of their own.
    - name: for people. cache: as for `open`. progress: show a bar.

    Raises InputError, in one sentence, for what cannot be meant or had.
    """
    _prepare()
    from snapvit.notebook.doors import start_run

    return start_run(
        model,
        images,
        gallery,
        queries,
        preset,
        method,
        settings,
        seed,
        checkpoint,
        image_size,
        pool,
        scores,
        device,
        precision,
        name,
        cache,
        progress,
    )


def runs(cache: str | PathLike[str] | None = None) -> pd.DataFrame:
    """The runs in a cache, newest first: `run`, `name`, `model`, `data`, `preset`, `seed`, `state`."""
    from snapvit.notebook.doors import stored_runs

    return stored_runs(cache)


def load_exported(folder: str | PathLike[str], mlp: float | None = None, heads: float | None = None) -> nn.Module:
    """The smaller model that `export` wrote into a folder; of an elastic export, without these shares.

    In evaluation mode and trainable. Raises InputError for a folder that was not exported or is damaged, and for shares
    where the folder holds one cut or that are not in [0, 1).
    """
    _prepare()
    from snapvit.export.reading import load_exported

    return load_exported(folder, mlp, heads)


def _prepare() -> None:
    """Before torch is imported."""
    from snapvit.environment import prepare

    prepare()
