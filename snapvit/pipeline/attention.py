"""Attention of a cut model on example images, computed on request. It imports no torch until a task is performed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import AttentionShares, Cut, Ints, Ranking
from snapvit.elastic.ranking import cut_at
from snapvit.errors import InputError
from snapvit.jobs.tasks import Workbench
from snapvit.pipeline.derived import Derived
from snapvit.pipeline.results import load_ranking
from snapvit.store.store import Store

if TYPE_CHECKING:
    from snapvit.elastic.vit import ElasticViT
    from snapvit.pipeline.progress import Reporter
    from snapvit.pipeline.workspace import Workspace

ATTENTION = Derived("attention", AttentionShares, ("ranking",))
EXAMPLES = 8  # images, spread over the classes
LARGEST_PICTURE = 224  # pixels of the longer side that is kept to be shown
FULL = (0.0, 0.0)


def stored_attention(
    store: Store, run: str, pair: tuple[float, float], image: int | None = None
) -> AttentionShares | None:
    """Attention of the cut at `pair`, (0, 0) being the full model, on the example images or on one other image."""
    return ATTENTION.load(store, run, *_settings(pair, image))


def _settings(pair: tuple[float, float], image: int | None) -> tuple[float | str, ...]:
    return (*map(float, pair), "examples" if image is None else f"image{image}")


@dataclass(frozen=True)
class AttentionTask:
    """Attention of all heads of the full model and of one cut."""

    run: str
    mlp: float
    heads: float
    image: int | None = None  # an image of the source instead of the examples

    @property
    def label(self) -> str:
        """What it does, for people."""
        on = "the example images" if self.image is None else f"image {self.image}"
        return f"Computing attention on {on} at {self.mlp:.1%}"

    def perform(self, bench: Workbench) -> None:
        """Compute what is missing and keep it."""
        from snapvit.elastic.vit import ElasticViT

        workspace, ranking = bench.workspace(self.run), load_ranking(bench.store, self.run)
        pairs = list(dict.fromkeys([FULL, (self.mlp, self.heads)]))
        missing = [pair for pair in pairs if stored_attention(bench.store, self.run, pair, self.image) is None]
        ids = self._ids(workspace)
        bench.reporter.plan(len(missing) * len(ids))
        loaded, orders = workspace.loaded, (ranking.neuron_order(), ranking.head_order())
        for pair in missing:
            started = time.monotonic()
            with ElasticViT(loaded.model, loaded.anatomy, *orders) as elastic:
                maps = attention_of(workspace, elastic, ranking, cut_at(ranking, *pair), ids, bench.reporter)
            seconds = time.monotonic() - started
            ATTENTION.save(bench.store, self.run, maps, seconds, *_settings(pair, self.image))

    def _ids(self, workspace: Workspace) -> Ints:
        if self.image is None:
            return example_ids(workspace)
        if not 0 <= self.image < len(workspace.source):
            raise InputError(
                f"There is no image {self.image}; the ids of {workspace.source.name} go from 0 to "
                f"{len(workspace.source) - 1}."
            )
        return np.array([self.image])


def example_ids(workspace: Workspace, count: int = EXAMPLES) -> Ints:
    """Ids of the first queries of each class in turn, so that `count` images show as many classes as they can."""
    ids, labels = workspace.split.query, workspace.source.labels
    if labels is None:
        return ids[:count]
    classes = labels[ids]
    turn = np.zeros(len(ids), dtype=np.int64)  # how many of its class come before
    for name in np.unique(classes):
        of_class = classes == name
        turn[of_class] = np.arange(of_class.sum())
    return ids[np.lexsort((classes, turn))[:count]]


def attention_of(
    workspace: Workspace, elastic: ElasticViT, ranking: Ranking, cut: Cut, ids: Ints, reporter: Reporter
) -> AttentionShares:
    """Attention of one cut on images, one at a time. Raises Cancelled between two of them."""
    from snapvit.data.pixels import pixel_table
    from snapvit.models.attention_shares import look

    loaded, topology = workspace.loaded, workspace.loaded.anatomy.topology
    grid = tuple(loaded.model.patch_embed.grid_size)
    heads = np.full((len(ids), topology.blocks, topology.heads, *grid), np.nan, dtype=np.float16)
    rollout = np.empty((len(ids), *grid), dtype=np.float16)
    table, order = pixel_table(workspace.source, ids, loaded.preprocess), ranking.head_order()
    pictures = []
    elastic.keep(cut)
    for row, pixels in enumerate(reporter.over(table.batches(1), 1.0)):
        looks = look(elastic.model, loaded.anatomy, workspace.normalised(pixels))
        rollout[row] = looks.rollout[0].reshape(grid).cpu().numpy()
        for block, shares in enumerate(looks.heads):  # the model shows its heads best first
            shown = order[block, : shares.shape[1]]
            heads[row, block, shown] = shares[0].reshape(-1, *grid).cpu().numpy()
        pictures.append(_picture(pixels[0].numpy()))
    labels = workspace.source.labels
    return AttentionShares(
        images=np.asarray(ids, dtype=np.int64),
        labels=np.full(len(ids), -1, dtype=np.int64) if labels is None else labels[ids].astype(np.int64),
        pictures=np.stack(pictures),
        heads=heads,
        rollout=rollout,
        by_class_token=loaded.anatomy.has_class_token,
    )


def _picture(pixels: np.ndarray) -> np.ndarray:
    """(3, h, w) uint8, shrunk where it is larger than a page shows."""
    from PIL import Image

    picture = Image.fromarray(pixels.transpose(1, 2, 0))
    picture.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
    return np.asarray(picture).transpose(2, 0, 1)
