"""Every tensor of every stage lies on the device that was asked for; what cannot be tried here is tried on a pretended
one, which refuses to mix (see pretended_device.py)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretended_device import DEVICE, KIND, PretendedDevice
from test_stale import checkpoint, fill

from snapvit import devices
from snapvit.errors import InputError
from snapvit.models.spec import BUNDLED, ModelSpec
from snapvit.pipeline.comparing import compare_rankings
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.contenders import Contender
from snapvit.pipeline.exporting import cut_model
from snapvit.pipeline.measure import measure_cut
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import FINISHED, StoredRun, load_results
from snapvit.pipeline.running import open_workspace, run_pipeline, run_wants
from snapvit.pipeline.stage import Want
from snapvit.pipeline.table import TABLE, want_of
from snapvit.pipeline.trial import estimate_run
from snapvit.store.codec import encode
from snapvit.store.store import Store
from snapvit.ui.sparsity import timing


@pytest.fixture
def pretended(monkeypatch):
    """The device, among those of this machine."""
    monkeypatch.setattr(devices, "devices", lambda: ("cpu", DEVICE))
    with PretendedDevice() as device:
        yield device


def test_the_pretended_device_refuses_what_a_real_one_refuses(pretended):
    there, here = torch.ones(3, device=DEVICE), torch.ones(3)
    assert there.device == torch.device(DEVICE)
    assert (there + there).device.type == KIND
    assert float((there + 2).sum()) == 9
    with pytest.raises(AssertionError, match="mixes"):
        there + here
    with pytest.raises((RuntimeError, TypeError)):
        there.numpy()
    np.testing.assert_array_equal((there * 2).cpu().numpy(), [2, 2, 2])
    a = torch.arange(6.0).reshape(2, 3).to(DEVICE).requires_grad_()
    (a.square().sum() / 2).backward()
    np.testing.assert_array_equal(a.grad.cpu().numpy(), a.detach().cpu().numpy())


# A whole run

SETTINGS = (
    "curvature.images=4",
    "curvature.local_views=1",
    "cka.images=8",
    "search.generations=2",
    "search.population=3",
    "search.images=4",
    "correction.images=6",
    "interactions.images=4",
    "interactions.probes=2",
    "evaluation.k=3",
    "evaluation.points=3",
)
# Beside what makes a run finished: everything that runs the model.
ASKED = (
    Want(TABLE["displacement"]),
    Want(TABLE["gauss-newton"]),
    Want(TABLE["activation-variance"]),
    Want(TABLE["snip-magnitude"]),
    Want(TABLE["lamp"]),
    Want(TABLE["magnitude"]),
    Want(TABLE["interactions-measured"], (4, 3)),
    Want(TABLE["attention"], (0.5, 0.35, "examples")),
    Want(TABLE["cka-cut"], (0.5, 0.35)),
    Want(TABLE["main-directions"]),
    Want(TABLE["lesson-gradients"], (2,)),
    Want(TABLE["lesson-image"], ("1",)),
)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """What runs of both kinds of device are asked for with."""
    folder = tmp_path_factory.mktemp("made")
    fill(folder / "pictures", seed=0)
    return {
        "model": ModelSpec(BUNDLED, str(checkpoint(folder / "model.safetensors"))),
        "data": f"folder:{folder / 'pictures'}",
        "settings": SETTINGS,
    }


def computed(store: Store, request: RunRequest, device: str) -> StoredRun:
    workspace = run_pipeline(request, store, Reporter(), device=device)
    run_wants(workspace, store, Reporter(), ASKED)
    measure_cut(store, request.run, 0.4, 0.3, Reporter(), workspace, correct=True)
    return StoredRun.open(store, request.run)


@pytest.fixture(scope="module")
def both(tmp_path_factory, words):
    """A cache with the same run of the CPU and of the device, which has no float64."""
    store = Store(tmp_path_factory.mktemp("both"))
    here = computed(store, make_request(**words), "cpu")
    with pytest.MonkeyPatch.context() as patch, PretendedDevice(doubles=False) as device:
        patch.setattr(devices, "devices", lambda: ("cpu", DEVICE))
        patch.setattr(devices, "WITHOUT_DOUBLES", {KIND})
        there = computed(store, make_request(**words, device=DEVICE), DEVICE)
    assert device.operations > 1000
    return here, there


def test_every_stage_computes_where_it_was_asked_to_and_finds_the_same(both):
    here, there = both
    entries = {name: entry for name, entry in here.manifest.entries.items() if not name.startswith("latency")}
    assert {want.entry for want in ASKED} <= set(entries)
    assert set(entries) <= set(there.manifest.entries)
    for name in entries:
        want = want_of(name)
        a, b = (encode(stored.need(want.stage, *want.args))[0] for stored in both)
        assert set(a) == set(b)
        for part, numbers in a.items():
            if name == "ranking":  # scores that lie together may change places
                assert (b[part] == numbers).mean() > 0.95
            else:
                np.testing.assert_allclose(b[part], numbers, rtol=2e-3, atol=2e-4, err_msg=f"{name} {part}")


def test_a_run_of_another_device_is_a_run_of_its_own(both):
    here, there = both
    assert here.request.run != there.request.run
    assert there.request.device == KIND
    assert (here.manifest.facts.device, there.manifest.facts.device) == ("CPU", "LAZY:0 (lazy:0)")
    mine, theirs = ({entry.key for entry in stored.manifest.entries.values()} for stored in both)
    assert not mine & theirs


def test_where_the_device_is_missing_its_run_is_shown_and_nothing_is_added(both):
    _, there = both
    run = there.request.run
    results = load_results(there.store, run)
    assert results.summary.state == FINISHED
    assert results.measurements.find(0.0, 0.0) is not None
    assert measure_cut(there.store, run, 0.4, 0.3, Reporter(), correct=True).cosine <= 1  # known already
    with pytest.raises(InputError, match=f"{run} was computed on {KIND}, which this machine does not have"):
        measure_cut(there.store, run, 0.2, 0.1, Reporter())
    with pytest.raises(InputError, match="would not belong with it"):
        run_wants(
            open_workspace(there.store, run), there.store, Reporter(), [Want(TABLE["attention"], (0.2, 0.1, "1"))]
        )
    with pytest.raises(InputError, match="would not belong with it"):
        run_pipeline(there.request, there.store, Reporter())
    with pytest.raises(InputError, match="would not belong with it"):
        estimate_run(there.request, Reporter())
    with pytest.raises(InputError, match="would not belong with it"):
        compare_rankings(there.store, run, [Contender("random")], 1, Reporter())


def test_a_smaller_model_is_taken_from_its_run_anywhere(both):
    """Which needs its ranking and statistics, and no new numbers."""
    _, there = both
    run, workspace = there.request.run, open_workspace(there.store, there.request.run)
    assert workspace.device == torch.device("cpu")
    model, cut = cut_model(there.store, run, 0.4, 0.3, True, Reporter(), workspace)
    assert tuple(block.mlp.fc2.in_features for block in model.blocks) == cut.kept_neurons


def test_no_timing_is_offered_where_its_device_is_missing(both, monkeypatch):
    _, there = both
    monkeypatch.setattr(timing, "offer", lambda *_, **__: pytest.fail("it was offered"))
    timing.timing_offer(load_results(there.store, there.request.run))
