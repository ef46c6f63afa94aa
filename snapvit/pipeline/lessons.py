"""What the Method page shows of single images: views, loss and gradients, computed once for a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snapvit.artifacts import Bytes, HeadGradients, ImageLesson, Ints
from snapvit.errors import InputError
from snapvit.jobs.tasks import Workbench
from snapvit.pipeline.derived import Derived

if TYPE_CHECKING:
    from torch import Tensor

    from snapvit.pipeline.workspace import Workspace

IMAGE_LESSON = Derived("lesson-image", ImageLesson, ("curvature",))  # by image id
HEAD_GRADIENTS = Derived("lesson-gradients", HeadGradients, ("curvature",))
READY_IMAGES = 6  # lessons computed together with the gradients, so that there is a choice at once
SHOWN_PIXELS = 96  # longer side of a picture kept for display
PATIENCE = 300.0  # seconds; gradients of all images where the curvature took no longer, else of a sample


@dataclass(frozen=True)
class GradientsTask:
    """The gradients of a run's first calibration images, one by one, and the lessons of the first few."""

    run: str
    images: int

    @property
    def label(self) -> str:
        """What it does, for people."""
        return f"Gradients of {self.images:,} single images"

    def perform(self, bench: Workbench) -> None:
        """Compute what of them is missing, and the first images' lessons."""
        known = HEAD_GRADIENTS.load(bench.store, self.run)
        if known is None or len(known.ids) < self.images:
            known = self._gradients(bench)
        for image in known.ids[:READY_IMAGES]:
            if IMAGE_LESSON.load(bench.store, self.run, int(image)) is None:
                ImageTask(self.run, int(image)).perform(bench)

    def _gradients(self, bench: Workbench) -> HeadGradients:
        from snapvit.method.curvature import head_gradients
        from snapvit.pipeline.stages import curvature_batches

        started = time.monotonic()
        workspace = bench.workspace(self.run)
        ids = workspace.curvature_ids[: self.images]
        bench.reporter.plan(len(ids))

        def counted() -> Iterator[Tensor]:
            for batch in curvature_batches(workspace, ids):
                yield batch
                bench.reporter.advance(batch.shape[1])

        loaded = workspace.loaded
        found = head_gradients(loaded.model, loaded.anatomy, counted(), workspace.views.global_views)
        lesson = HeadGradients(ids, _labels(workspace, ids), *found)
        HEAD_GRADIENTS.save(bench.store, self.run, lesson, time.monotonic() - started)
        return lesson


@dataclass(frozen=True)
class ImageTask:
    """The views of one image and its loss."""

    run: str
    image: int

    @property
    def label(self) -> str:
        """What it does, for people."""
        return f"Views and loss of image {self.image}"

    def perform(self, bench: Workbench) -> None:
        """Compute them and keep them. Raises InputError for an image that the run's source does not have."""
        started = time.monotonic()
        workspace = bench.workspace(self.run)
        lesson = image_lesson(workspace, self.image)
        IMAGE_LESSON.save(bench.store, self.run, lesson, time.monotonic() - started, self.image)


def image_lesson(workspace: Workspace, image: int) -> ImageLesson:
    """Views, softmax and loss of one image, its crops being those that the curvature stage takes."""
    import torch
    from torch.nn.functional import normalize

    from snapvit.data.pixels import as_tensor
    from snapvit.data.views import crop_seed, multi_crop, view_boxes
    from snapvit.models.embedding import embed

    if not 0 <= image < len(workspace.source):
        raise InputError(
            f"There is no image {image} in {workspace.source.name}; it has images 0 to {len(workspace.source) - 1:,}."
        )
    picture, spec = as_tensor(workspace.source.image(image)), workspace.views
    seed = crop_seed(workspace.request.config.curvature.seed, image)
    views = multi_crop(picture, spec, workspace.loaded.preprocess, seed)
    with torch.inference_mode():
        unit = normalize(embed(workspace.loaded.model, workspace.normalised(views)).double(), dim=-1)  # (V, D)
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
