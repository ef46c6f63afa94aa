"""A device without memory for a batch: half of it is tried, and the numbers are the same."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_stale import checkpoint, fill
from timm.models.vision_transformer import VisionTransformer

from snapvit.artifacts import Topology
from snapvit.errors import InputError
from snapvit.models.spec import BUNDLED, ModelSpec
from snapvit.pipeline.config import PRESETS
from snapvit.pipeline.effort import Effort
from snapvit.pipeline.measure import measure_cut
from snapvit.pipeline.progress import Part, Reporter
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import FINISHED, load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store

SETTINGS = (
    "curvature.images=6",
    "curvature.local_views=2",
    "cka.images=8",
    "search.generations=3",
    "search.population=3",
    "search.images=6",
    "correction.images=6",
    "evaluation.k=3",
    "evaluation.points=3",
)


class Small:
    """A model's forward with memory for so many images at once, from the call `after` on."""

    def __init__(self, most: int, after: int = 0) -> None:
        self.most, self.after, self.calls, self.largest = most, after, 0, 0

    def limit(self, patch: pytest.MonkeyPatch) -> None:
        forward = VisionTransformer.forward_features

        def limited(model: VisionTransformer, images: torch.Tensor, *args: object, **more: object) -> torch.Tensor:
            self.calls += 1
            if self.calls > self.after and len(images) > self.most:
                raise torch.OutOfMemoryError(f"{len(images)} images")
            self.largest = max(self.largest, len(images))
            return forward(model, images, *args, **more)

        patch.setattr(VisionTransformer, "forward_features", limited)


@pytest.fixture(scope="module")
def request_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    fill(folder / "pictures", seed=0)
    spec = ModelSpec(BUNDLED, str(checkpoint(folder / "model.safetensors")))
    return make_request(spec, f"folder:{folder / 'pictures'}", settings=SETTINGS)


@pytest.fixture(scope="module")
def usual(tmp_path_factory, request_of):
    """With memory enough."""
    store = Store(tmp_path_factory.mktemp("usual"))
    run_pipeline(request_of, store, Reporter())
    return load_results(store, request_of.run)


@pytest.mark.parametrize(("most", "after"), [(1, 0), (3, 0), (3, 40)], ids=["single", "few", "suddenly"])
def test_batches_are_halved_and_the_run_goes_on_to_the_same_numbers(
    tmp_path, request_of, usual, most, after, monkeypatch
):
    small, store, reporter = Small(most, after), Store(tmp_path), Reporter()
    with monkeypatch.context() as patch:
        small.limit(patch)
        workspace = run_pipeline(request_of, store, reporter)
        measure_cut(store, request_of.run, 0.2, 0.1, reporter, workspace)
    told = [event.text for event in reporter.events if event.kind == "memory"]
    assert told
    assert all(text.startswith("out of memory: batches are halved, to ") for text in told)
    assert small.largest <= most or after
    found = load_results(store, request_of.run)
    assert found.summary.state == FINISHED
    for part, field in (("curvature", "mlp"), ("cka", "values"), ("search", "fitness"), ("as_cut", "cosine")):
        want = getattr(getattr(usual, part), field)
        np.testing.assert_allclose(getattr(getattr(found, part), field)[: len(want)], want, rtol=2e-3, atol=1e-5)
    assert reporter.progress.share <= 1


def test_what_a_growing_stage_kept_is_not_done_again(tmp_path, request_of, monkeypatch):
    store, reporter = Store(tmp_path), Reporter()
    starved = []

    def hungry(self: Workspace, table: object) -> object:
        generations = sum(event.kind == "generation" for event in reporter.events)
        if generations == 2 and not starved:
            starved.append(generations)
            raise torch.OutOfMemoryError
        return batches(self, table)

    batches = Workspace.batches
    monkeypatch.setattr(Workspace, "batches", hungry)
    run_pipeline(request_of, store, reporter)
    assert starved == [2]
    assert sum(event.kind == "generation" for event in reporter.events) == 3
    assert "search goes on after generation 2" in [event.text for event in reporter.events]


def test_where_one_image_is_too_much_it_says_what_to_do(tmp_path, request_of, monkeypatch):
    Small(0).limit(monkeypatch)
    with pytest.raises(InputError, match=r"too small for local curvature of .* one image at a time"):
        run_pipeline(request_of, Store(tmp_path), Reporter())


def test_work_begun_again_does_not_count_twice():
    whole = Reporter()
    whole.plan(10)
    for reporter in (whole, Part(whole)):
        before = reporter.mark()
        reporter.advance(3)
        reporter.back_to(before)
    assert whole.progress.overall_done == 0


@pytest.mark.parametrize(
    "size", [(12, 6, 576, 144, 24, 17), (24, 16, 4096, 1024, 64, 1370)], ids=["bundled", "ViT-L at 518"]
)
def test_every_halving_leaves_less_until_all_are_single(size):
    effort, before = Effort(Topology(*size), PRESETS["paper"], *[100] * 10), []
    while not effort.smallest:
        before.append((effort.forward_batch, effort.curvature_batch * effort.views_at_once, effort.images_at_once))
        effort = replace(effort, halvings=effort.halvings + 1)
    assert effort.curvature_batch * effort.views_at_once == effort.forward_batch == effort.images_at_once == 1
    for larger, smaller in itertools.pairwise([*before, (1, 1, 1)]):
        assert all(b == 1 or b <= a / 2 + 1 for a, b in zip(larger, smaller, strict=True))
        assert smaller < larger
