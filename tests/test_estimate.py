"""What is foretold of a run is counted as the run counts it, and its memory as autograd really keeps it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from waiting import ended

from snapvit.artifacts import Cut, Topology
from snapvit.jobs.estimate import find_estimate
from snapvit.jobs.manager import JobManager, JobState
from snapvit.jobs.tasks import EstimateTask
from snapvit.method.curvature import estimate_curvature
from snapvit.method.search import SearchState, start_mean, start_search
from snapvit.models.anatomy import describe
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.effort import Effort, Estimate, backward_token_bytes, forward_batch
from snapvit.pipeline.progress import Progress, Reporter
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.pipeline.stages.search import SEARCH
from snapvit.pipeline.table import main_stages
from snapvit.pipeline.trial import estimate_run
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store
from snapvit.tables import Measurement, Measurements

EVALUATIONS = ("evaluation", "correction", "evaluation-corrected")
VIT_B = Topology(blocks=12, heads=12, hidden=3072, width=768, head_width=64, tokens=197)
FASHION = Topology(blocks=12, heads=6, hidden=576, width=144, head_width=24, tokens=17)
GIANT = Topology(blocks=40, heads=24, hidden=4096, width=1536, head_width=64, tokens=1370)


def effort_of(topology: Topology) -> Effort:
    counts = {"queries": 2000, "knn_images": 8000, "gallery": 6000, "examples": 8}
    return Effort(
        topology, PRESETS["paper"], 1000, 1000, 1000, 1000, **counts, interaction_images=128, calibration_images=2000
    )


def test_the_run_does_exactly_the_units_that_are_counted(small_request, tmp_path):
    reporter, seen = Reporter(), []
    advance = reporter.advance

    def counted(units: float) -> None:
        seen.append((reporter.progress.stage, units))
        advance(units)

    reporter.advance = counted
    workspace = run_pipeline(small_request, Store(tmp_path), reporter)
    for stage in (*main_stages(small_request), LATENCY):
        done = sum(units for name, units in seen if name == stage.name)
        assert done == pytest.approx(stage.units(workspace.effort, {}, None).total), stage.name
    final: Progress = reporter.progress
    assert final.overall_done == pytest.approx(final.overall_total)


def test_of_tables_that_are_too_large_for_memory_the_disk_is_counted():
    work = effort_of(FASHION)
    tables = 1000 + 1000 + 1000 + 2000 + 6000
    image = 3 * 224 * 224
    assert work.pixel_disk((224, 224), 10**12) == 0
    assert work.pixel_disk((224, 224), 1500 * image) == (2000 + 6000) * image
    assert work.pixel_disk((224, 224), 0) == work.pixel_bytes((224, 224), 10**12) == tables * image
    assert work.pixel_bytes((224, 224), 1500 * image) == 2 * 1500 * image + 3 * 1000 * image


def test_what_is_done_already_is_not_counted_again():
    work = effort_of(FASHION)
    start = start_search(start_mean(FASHION), None, 17, 4, seed=0)

    def after(generations: int) -> SearchState:
        return replace(start, history=replace(start.history, fitness=np.zeros((generations, 17, 4))))

    whole = SEARCH.units(work, {}, None).total
    assert SEARCH.units(work, {}, after(30)).total == 0
    assert SEARCH.units(work, {}, after(50)).total == 0  # a longer search is cut short
    assert SEARCH.units(work, {}, after(15)).total == pytest.approx(whole / 2)
    table = Measurements.empty(12, 2000, 6000, 20, labelled=True)
    cut = Cut(0.0, 0.0, (576,) * 12, (6,) * 12)
    first = EVALUATION.units(work, {}, table).total
    table = table.with_row(Measurement(cut, "00" * 250, 2000, 6000, 20, 1.0, 1, 1))
    assert first - EVALUATION.units(work, {}, table).total == pytest.approx(8000)


@pytest.mark.parametrize("topology", [FASHION, VIT_B, GIANT], ids=["fashion", "vit-b", "giant"])
def test_batches_hold_at_least_one_image_and_keep_their_bounds(topology):
    work = effort_of(topology)
    tokens = 12 * topology.tokens
    assert work.curvature_batch >= 1
    assert work.curvature_batch == 1 or work.curvature_batch * tokens <= 3000
    assert work.curvature_batch == 1 or work.curvature_batch * tokens * backward_token_bytes(topology) <= 0.4e9
    assert 1 <= forward_batch(topology) <= 64
    assert forward_batch(FASHION) == 64
    assert 1 < forward_batch(GIANT) < forward_batch(VIT_B) < 64


@pytest.mark.parametrize(("topology", "together"), [(FASHION, 12), (VIT_B, 4), (GIANT, 1)])
def test_views_go_together_as_far_as_they_fit(topology, together):
    """DINOv2-g at 518 pixels would keep 57 GB of one image's twelve views."""
    work = effort_of(topology)
    assert work.views_at_once == together
    view = work.curvature_batch * topology.tokens * backward_token_bytes(topology)
    assert together == 1 or together * view <= 0.4e9
    all_views = work.curvature_batch * 12 * topology.tokens * backward_token_bytes(topology)
    held = topology.blocks * (topology.hidden + topology.heads * topology.head_width) * topology.width * 4
    one_layer = 12 * topology.tokens * topology.hidden * 4 + 128e6
    curvature = all_views * together / 12 + held + 3 * one_layer
    correction = work.correction_bytes + 0.3e9  # with a batch on its way through the model
    assert together == 12 or work.largest_batch_bytes < max(curvature, correction)


@pytest.mark.parametrize("size", [32, 96])
def test_bytes_kept_for_the_backward_pass_are_those_that_autograd_keeps(size):
    """Counted through autograd's own hooks, each storage once."""
    with torch.random.fork_rng():
        model = timm.create_model("test_vit", img_size=size).eval().requires_grad_(False)
    anatomy = describe(model)
    storages: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def keep_input(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:  # as the curvature's own taps do
        pack(inputs[0])

    tapped = [part.layer for block in anatomy.blocks for part in (block.mlp_in, block.value)]
    handles = [layer.register_forward_pre_hook(keep_input) for layer in tapped]
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    views = torch.randn(3, 4, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        estimate_curvature(model, anatomy, [views], 2)
    for handle in handles:
        handle.remove()
    kept = sum(t.untyped_storage().nbytes() for key, t in storages.items() if key not in weights)
    counted = 12 * anatomy.topology.tokens * backward_token_bytes(anatomy.topology)
    assert counted == pytest.approx(kept, rel=0.15)


def test_the_estimate_of_a_small_run(small_request, tmp_path):
    reporter = Reporter()
    estimate = estimate_run(small_request, reporter)
    model = Workspace.open(small_request).loaded.model
    assert estimate.parameters == sum(p.numel() for p in model.parameters())
    assert estimate.tokens == 17
    assert set(estimate.seconds) == {"curvature", "cka", "search", *EVALUATIONS, "latency"}
    assert all(np.isfinite(seconds) and seconds > 0 for seconds in estimate.seconds.values())
    assert estimate.total == pytest.approx(sum(estimate.seconds.values()))
    assert reporter.progress.overall_done == reporter.progress.overall_total
    assert Estimate.from_values(estimate.as_values()) == estimate


def test_more_of_everything_costs_more(small_request):
    larger = replace(small_request, config=with_settings(small_request.config, ["search.generations=3000"]))
    small, large = (estimate_run(request, Reporter()) for request in (small_request, larger))
    assert large.seconds["search"] > 20 * small.seconds["search"]


def test_an_estimate_is_a_job_that_leaves_its_numbers_and_nothing_in_the_store(small_request, tmp_path):
    jobs = JobManager(Store(tmp_path))
    try:
        assert find_estimate(jobs, small_request) == (None, None)
        number = jobs.submit(EstimateTask(small_request))
        job = ended(jobs, number)
        assert job.state is JobState.FINISHED, job.error
        found, estimate = find_estimate(jobs, small_request)
        assert found.id == number
        assert estimate.parameters == 3_034_090
        assert find_estimate(jobs, RunRequest()) == (None, None)
        assert not list(tmp_path.iterdir())
    finally:
        jobs.close()
