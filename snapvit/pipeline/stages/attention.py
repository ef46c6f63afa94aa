"""Attention of a cut model on example images, or on one image of the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import Cut, Ints, Ranking, Topology
from snapvit.elastic.ranking import cut_at
from snapvit.image_artifacts import AttentionShares
from snapvit.pipeline.effort import Effort, Units
from snapvit.pipeline.stage import Arg, Context, Stage

if TYPE_CHECKING:
    from snapvit.elastic.vit import ElasticViT
    from snapvit.pipeline.progress import Reporter
    from snapvit.pipeline.workspace import Workspace

EXAMPLES = "examples"  # of which images: these, or the id of one
LARGEST_PICTURE = 224  # pixels of the longer side that is kept to be shown
FULL = (0.0, 0.0)


def _compute(context: Context[AttentionShares]) -> Iterator[AttentionShares]:
    workspace, ranking = context.workspace, context.parent("ranking")
    image = str(context.args["image"])
    ids = workspace.ids[EXAMPLES] if image == EXAMPLES else workspace.image_id(image)
    cut = cut_at(ranking, float(context.args["mlp"]), float(context.args["heads"]))
    with context.elastic(ranking) as elastic:
        yield attention_of(workspace, elastic, ranking, cut, ids, context.reporter)


def _units(effort: Effort, args: Mapping[str, Arg], _: AttentionShares | None) -> Units:
    return Units(passes=effort.examples if args["image"] == EXAMPLES else 1)


def _fits(found: AttentionShares, topology: Topology) -> bool:
    return found.heads.shape[1:3] == (topology.blocks, topology.heads)


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
        by_class_token=loaded.anatomy.reads_class_token,
    )


def _picture(pixels: np.ndarray) -> np.ndarray:
    """(3, h, w) uint8, shrunk where it is larger than a page shows."""
    from PIL import Image

    picture = Image.fromarray(pixels.transpose(1, 2, 0))
    picture.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
    return np.asarray(picture).transpose(2, 0, 1)


ATTENTION = Stage(
    name="attention",
    kind=AttentionShares,
    title="Attention at {mlp}",
    parents=("model", "images.{image}", "ranking"),
    args={"mlp": float, "heads": float, "image": str},
    compute=_compute,
    units=_units,
    fits=_fits,
)
