"""k-NN on the images' pixels, with the run's own gallery, queries and k: how much of an accuracy is the data's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snapvit.artifacts import Topology
from snapvit.image_artifacts import PixelAnswers
from snapvit.pipeline.effort import Effort, Units
from snapvit.pipeline.stage import Arg, Context, Stage


def _compute(context: Context[PixelAnswers]) -> Iterator[PixelAnswers]:
    from snapvit.evaluation.knn import Knn
    from snapvit.evaluation.paired import pack_answers
    from snapvit.evaluation.pixels import SIDE, pixel_features

    workspace, reporter = context.workspace, context.reporter
    ids, labels = workspace.ids, workspace.source.labels
    queries = np.full(len(ids["queries"]), -1) if labels is None else labels[ids["queries"]]
    answers = np.empty(0, np.uint8)
    if workspace.accuracy_missing is None:
        size = workspace.effort.forward_batch
        gallery, asked = (
            pixel_features(reporter.heeding(workspace.table(name).batches(size))) for name in ("gallery", "queries")
        )
        # a hundred thousand images are 1.2 GB of features: they are searched as they come
        knn = Knn(gallery, labels[ids["gallery"]], context.request.config.evaluation.k)
        named = knn.predict(np.concatenate(list(asked)))
        answers = pack_answers(named == queries)
    reporter.advance(1.0)
    yield PixelAnswers(
        ids["queries"], np.asarray(queries, np.int64), answers, min(SIDE, *workspace.loaded.preprocess.size)
    )


def _units(effort: Effort, _: Mapping[str, Arg], __: PixelAnswers | None) -> Units:
    return Units(passes=1.0, decoded=effort.knn_images)


def _fits(found: PixelAnswers, _: Topology) -> bool:
    return found.ids.shape == found.labels.shape and len(found.answers) in (0, -(-len(found.ids) // 8))


PIXEL_KNN = Stage(
    name="pixel-knn",
    kind=PixelAnswers,
    title="k-NN on the images' pixels",
    parents=("model", "images.gallery", "images.queries"),  # the model's input size is that of the pixels
    settings=("evaluation.k",),
    compute=_compute,
    units=_units,
    fits=_fits,
)
