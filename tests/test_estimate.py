"""What is foretold of a run is counted as the run counts it, and its memory as autograd really keeps it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from snapvit.artifacts import Topology
from snapvit.jobs.estimate import EstimateTask, find_estimate
from snapvit.jobs.manager import JobManager, JobState
from snapvit.method.curvature import estimate_curvature
from snapvit.models.anatomy import describe
from snapvit.pipeline.config import PRESETS, STAGES, RunRequest, with_settings
from snapvit.pipeline.effort import Effort, Estimate, backward_token_bytes, forward_batch
from snapvit.pipeline.progress import Progress, Reporter
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.trial import estimate_run
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store

VIT_B = Topology(blocks=12, heads=12, hidden=3072, width=768, head_width=64, tokens=197)
FASHION = Topology(blocks=12, heads=6, hidden=576, width=144, head_width=24, tokens=17)
GIANT = Topology(blocks=40, heads=24, hidden=4096, width=1536, head_width=64, tokens=1370)


def work_of(topology: Topology) -> Effort:
    return Effort(topology, PRESETS["paper"], 1000, 1000, 1000, 8000)


def test_the_run_does_exactly_the_units_that_are_counted(small_request, tmp_path):
    reporter, seen = Reporter(), []
    advance = reporter.advance

    def counted(units: float) -> None:
        seen.append((reporter.progress.stage, units))
        advance(units)

    reporter.advance = counted
    workspace = run_pipeline(small_request, Store(tmp_path), reporter)
    for stage in STAGES:
        done = sum(units for name, units in seen if name == stage)
        assert done == pytest.approx(workspace.effort.stage_units(stage)), stage
    final: Progress = reporter.progress
    assert final.overall_done == pytest.approx(final.overall_total)


def test_what_is_done_already_is_not_counted_again():
    work = work_of(FASHION)
    whole = work.stage_units("search")
    assert work.stage_units("search", generations_done=30) == 0
    assert work.stage_units("search", generations_done=15) == pytest.approx(whole / 2)
    assert work.stage_units("evaluation", missing=[0.0]) == 8000
    assert work.stage_units("evaluation", missing=[]) == 0


@pytest.mark.parametrize("topology", [FASHION, VIT_B, GIANT], ids=["fashion", "vit-b", "giant"])
def test_batches_hold_at_least_one_image_and_keep_their_bounds(topology):
    work = work_of(topology)
    tokens = 12 * topology.tokens
    assert work.curvature_batch >= 1
    assert work.curvature_batch == 1 or work.curvature_batch * tokens <= 3000
    assert work.curvature_batch == 1 or work.curvature_batch * tokens * backward_token_bytes(topology) <= 1.2e9
    assert 1 <= forward_batch(topology) <= 64
    assert forward_batch(FASHION) == 64
    assert 1 < forward_batch(GIANT) < forward_batch(VIT_B) < 64


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
    assert set(estimate.seconds) == {"curvature", "cka", "search", "evaluation"}
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
        while (job := jobs.snapshot(number)).state.active:
            pass
        assert job.state is JobState.FINISHED, job.error
        found, estimate = find_estimate(jobs, small_request)
        assert found.id == number
        assert estimate.parameters == 3_034_090
        assert find_estimate(jobs, RunRequest()) == (None, None)
        assert not list(tmp_path.iterdir())
    finally:
        jobs.close()
