"""What the Method page shows of single images: views, loss and gradients, computed once for a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import Bytes, Ints, Topology
from snapvit.image_artifacts import HeadGradients, ImageLesson
from snapvit.pipeline.effort import Effort, Units
from snapvit.pipeline.stage import Arg, Context, Stage
from snapvit.pipeline.stages.curvature import view_batches_of

if TYPE_CHECKING:
    from torch import Tensor

    from snapvit.pipeline.workspace import Workspace

READY_IMAGES = 6  # lessons offered together, so that there is a choice at once
SHOWN_PIXELS = 96  # longer side of a picture kept for display
PATIENCE = 300.0  # seconds; gradients of all images where the curvature took no longer, else of a sample
VIEWS = ("curvature.global_views", "curvature.local_views", "curvature.seed")


def _compute_gradients(context: Context[HeadGradients]) -> Iterator[HeadGradients]:
    from snapvit.method.curvature import head_gradients

    workspace, views = context.workspace, context.workspace.views
    ids = workspace.ids["curvature"][: int(context.args["images"])]
    batches = view_batches_of(workspace, ids)
    counted = context.reporter.counting(batches, Units(views=views.count).total, axis=1)
    loaded = workspace.loaded
    together = workspace.effort.views_at_once
    found = head_gradients(loaded.model, loaded.anatomy, counted, views.global_views, together)
    yield HeadGradients(ids, _labels(workspace, ids), *found)


def _gradient_units(effort: Effort, args: Mapping[str, Arg], _: HeadGradients | None) -> Units:
    return Units(views=int(args["images"]) * effort.views)


def _gradients_fit(found: HeadGradients, topology: Topology) -> bool:
    return found.squares.shape == (len(found.ids), topology.blocks, topology.heads)


def _compute_lesson(context: Context[ImageLesson]) -> Iterator[ImageLesson]:
    (image,) = context.workspace.image_id(str(context.args["image"]))
    yield image_lesson(context.workspace, int(image))


def image_lesson(workspace: Workspace, image: int) -> ImageLesson:
    """Views, softmax and loss of one image, its crops being those that the curvature stage takes."""
    import torch
    from torch.nn.functional import normalize

    from snapvit.data.pixels import as_tensor
    from snapvit.data.views import crop_seed, multi_crop, view_boxes
    from snapvit.devices import in_doubles
    from snapvit.models.embedding import embed

    picture, spec = as_tensor(workspace.source.image(image)), workspace.views
    seed = crop_seed(workspace.request.config.curvature.seed, image)
    views = multi_crop(picture, spec, workspace.loaded.preprocess, seed)
    with torch.inference_mode():
        unit = normalize(in_doubles(embed(workspace.loaded.model, workspace.normalised(views))), dim=-1)  # (V, D)
    log_shares = unit.log_softmax(dim=-1)
    shares = log_shares.exp()
    terms = -(shares[: spec.global_views] @ log_shares.mT)  # (K, V)
    terms.fill_diagonal_(float("nan"))
    return ImageLesson(
        image=image,
        label=int(_labels(workspace, np.array([image]))[0]),
        size=(picture.shape[1], picture.shape[2]),
        picture=_shrunk(picture),
        boxes=np.array(view_boxes(picture.shape[1], picture.shape[2], spec, seed), dtype=np.int64),
        views=_shrunk(views),
        shares=shares.float().cpu().numpy(),
        terms=terms.cpu().numpy(),
        loss=float(terms.nansum()),
    )


def lesson_images(images: int, seconds: float) -> int:
    """Of how many images the page asks for gradients, where the curvature of `images` took `seconds`."""
    return images if seconds <= PATIENCE else max(2, int(images * PATIENCE / seconds))


def _labels(workspace: Workspace, ids: Ints) -> Ints:
    labels = workspace.source.labels
    return np.full(len(ids), -1) if labels is None else labels[ids]


def _shrunk(pictures: Tensor) -> Bytes:
    """(..., 3, h, w) uint8 with a longer side of at most SHOWN_PIXELS."""
    from torchvision.transforms.v2 import functional as vision

    height, width = pictures.shape[-2:]
    scale = min(1.0, SHOWN_PIXELS / max(height, width))
    if scale < 1:
        pictures = vision.resize(pictures, [max(1, round(height * scale)), max(1, round(width * scale))])
    return pictures.numpy().copy()


HEAD_GRADIENTS = Stage(
    name="lesson-gradients",
    kind=HeadGradients,
    title="Gradients of {images:,} single images",
    parents=("model", "images.curvature"),
    settings=VIEWS,
    args={"images": int},
    schema=2,  # 2: crops as RandomResizedCrop draws them
    compute=_compute_gradients,
    units=_gradient_units,
    fits=_gradients_fit,
)

IMAGE_LESSON = Stage(
    name="lesson-image",
    kind=ImageLesson,
    title="Views and loss of image {image}",
    parents=("model", "images.{image}"),
    settings=VIEWS,
    args={"image": str},
    schema=2,
    compute=_compute_lesson,
    units=lambda effort, args, beginning: Units(views=1),
)
