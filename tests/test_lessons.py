"""Lessons of single images: against autograd's own gradients, and against what the run's curvature stage stored."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from snapvit.artifacts import Preprocess
from snapvit.data.pixels import as_tensor
from snapvit.data.views import ViewSpec, crop_seed, multi_crop, view_boxes
from snapvit.errors import Cancelled, InputError
from snapvit.jobs.tasks import RunTask, StageTask, Workbench
from snapvit.method.curvature import estimate_curvature, head_gradients
from snapvit.models.anatomy import describe
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.results import StoredRun, load_results
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.lessons import (
    HEAD_GRADIENTS,
    IMAGE_LESSON,
    PATIENCE,
    image_lesson,
    lesson_images,
)
from snapvit.pipeline.workspace import Workspace

GLOBAL = 2


@pytest.fixture
def views() -> torch.Tensor:
    """(V, n, 3, h, w): four views of five images."""
    return torch.randn(4, 5, 3, 16, 16, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def naive_loss(embeddings: torch.Tensor) -> torch.Tensor:
    """L_n of one image's embeddings (V, D), view by view."""
    unit = [z / z.norm() for z in embeddings]
    total = torch.zeros((), dtype=embeddings.dtype)
    for k in range(GLOBAL):
        teacher = unit[k].detach().softmax(0)
        for m, student in enumerate(unit):
            if m != k:
                total = total - (teacher * student.log_softmax(0)).sum()
    return total


def embedded(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    return model.forward_head(model.forward_features(images), pre_logits=True)


def test_each_image_and_head_has_the_mean_square_of_its_own_gradient(make_vit, views):
    model = make_vit()
    losses, squares, accumulated = head_gradients(model, describe(model), views.float().split([2, 3], dim=1), GLOBAL)

    trained = deepcopy(model).double()
    weights = [block.attn.qkv.weight.requires_grad_() for block in trained.blocks]
    gradients = []  # of each image: (L, H*d, D) of the value rows
    for n in range(5):
        loss = naive_loss(embedded(trained, views[:, n]))
        gradients.append(torch.stack([g[48:] for g in torch.autograd.grad(loss, weights)]))
        assert losses[n] == pytest.approx(loss.item(), rel=1e-5)
    by_image = torch.stack(gradients)  # (N, L, H*d, D)
    want = by_image.square().unflatten(2, (3, 8)).mean(dim=(3, 4))
    np.testing.assert_allclose(squares, want, rtol=1e-3)
    mean_gradient = by_image.mean(dim=0)
    np.testing.assert_allclose(accumulated, mean_gradient.square().unflatten(1, (3, 8)).mean(dim=(2, 3)), rtol=1e-3)


def test_their_mean_is_the_curvature_of_either_criterion(make_vit, views):
    model, views = make_vit(), views.float()
    anatomy = describe(model)
    _, squares, accumulated = head_gradients(model, anatomy, [views], GLOBAL)
    fisher = estimate_curvature(model, anatomy, [views], GLOBAL)
    np.testing.assert_allclose(squares.mean(axis=0, dtype=np.float64), fisher.head, rtol=1e-5)
    other = estimate_curvature(model, anatomy, [views], GLOBAL, "accumulated")
    np.testing.assert_allclose(accumulated, other.head, rtol=1e-5)


def test_no_images_is_an_error(tiny_vit, anatomy):
    with pytest.raises(ValueError, match="no images"):
        head_gradients(tiny_vit, anatomy, [], GLOBAL)


@pytest.mark.parametrize("criterion", ["fisher", "accumulated"])
def test_a_run_s_lesson_means_its_stored_curvature(criterion, finished, small_settings):
    settings = [*small_settings, f"curvature.criterion={criterion}"]
    request = RunRequest(config=with_settings(PRESETS["quick"], settings))
    bench = Workbench(finished)
    if criterion == "accumulated":  # the other run is in the cache already
        RunTask(request).perform(bench)
    StageTask(request.run, (Want(HEAD_GRADIENTS, (4,)),)).perform(bench)
    lesson = StoredRun.open(finished, request.run).load(HEAD_GRADIENTS, 4)
    StageTask(request.run, tuple(Want(IMAGE_LESSON, (str(image),)) for image in lesson.ids)).perform(bench)
    stored = StoredRun.open(finished, request.run).load(CURVATURE).head
    mine = lesson.squares.mean(axis=0, dtype=np.float64) if criterion == "fisher" else lesson.accumulated
    np.testing.assert_allclose(mine, stored, rtol=2e-4)
    for image, label, loss in zip(lesson.ids, lesson.labels, lesson.losses, strict=True):
        one = StoredRun.open(finished, request.run).load(IMAGE_LESSON, str(image))
        assert one.label == label
        assert one.loss == pytest.approx(loss, rel=1e-6)


@pytest.fixture(scope="module")
def opened(small_request) -> Workspace:
    return Workspace.open(small_request)


def test_an_image_s_loss_is_the_sum_of_its_terms_and_the_plain_formula(opened):
    image = int(opened.ids["curvature"][1])
    lesson = image_lesson(opened, image)
    teachers, views = lesson.terms.shape
    assert (teachers, views) == (2, 3)
    assert np.isnan(lesson.terms).sum() == teachers
    assert all(np.isnan(lesson.terms[k, k]) for k in range(teachers))
    assert lesson.loss == pytest.approx(np.nansum(lesson.terms), rel=1e-12)
    seed = crop_seed(opened.request.config.curvature.seed, image)
    crops = multi_crop(as_tensor(opened.source.image(image)), opened.views, opened.loaded.preprocess, seed)
    np.testing.assert_array_equal(lesson.views, crops)
    with torch.no_grad():
        z = embedded(opened.loaded.model, opened.normalised(crops)).double()
    assert lesson.loss == pytest.approx(float(naive_loss(z)), rel=1e-6)
    np.testing.assert_allclose(lesson.shares.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(lesson.shares, (z / z.norm(dim=1, keepdim=True)).softmax(1), rtol=1e-4)


def test_boxes_are_those_that_the_crops_were_cut_from():
    image = torch.arange(3 * 60 * 40, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(3, 60, 40)
    spec = ViewSpec(2, 3)
    boxes = view_boxes(60, 40, spec, seed=9)
    assert boxes == view_boxes(60, 40, spec, seed=9)
    assert boxes != view_boxes(60, 40, spec, seed=10)
    # cut out by hand and resized to its own size, which changes nothing
    for v, (top, left, height, width) in enumerate(boxes):
        same_size = Preprocess((height, width), (0.5,) * 3, (0.5,) * 3)
        views = multi_crop(image, spec, same_size, seed=9)
        np.testing.assert_array_equal(views[v], image[:, top : top + height, left : left + width])


def test_large_pictures_are_kept_small_and_boxes_stay_those_of_the_image(opened, monkeypatch):
    class Large:
        name, labels = "large", None

        def __len__(self) -> int:
            return 1

        def image(self, index: int) -> np.ndarray:
            return np.full((300, 600, 3), 7, dtype=np.uint8)

    monkeypatch.setattr(opened, "source", Large())
    lesson = image_lesson(opened, 0)
    assert lesson.picture.shape == (3, 48, 96)
    assert lesson.size == (300, 600)
    assert lesson.label == -1
    assert lesson.boxes[:, 3].max() > 96


@pytest.mark.parametrize("image", ["10000", "-1", "x"])
def test_an_image_that_is_not_there_is_refused_in_one_sentence(finished, small_request, image):
    with pytest.raises(InputError, match=f"There is no image {image}; the ids of bundled go from 0 to 9,999"):
        StageTask(small_request.run, (Want(IMAGE_LESSON, (image,)),)).perform(Workbench(finished))


def test_a_cancel_keeps_the_run_and_stores_no_lesson(finished, small_request):
    bench = Workbench(finished)
    bench.reporter.cancel()
    with pytest.raises(Cancelled):
        StageTask(small_request.run, (Want(HEAD_GRADIENTS, (4,)),)).perform(bench)
    assert StoredRun.open(finished, small_request.run).load(HEAD_GRADIENTS, 4) is None
    assert load_results(finished, small_request.run).summary.state == "finished"


def test_a_slow_curvature_makes_the_lesson_a_sample():
    assert lesson_images(1000, 30.0) == 1000
    assert lesson_images(1000, PATIENCE) == 1000
    assert lesson_images(1000, 10 * PATIENCE) == 100
    assert lesson_images(4, 1e9) == 2
