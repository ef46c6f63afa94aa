"""Activations that overflow: one sentence after the first stage that sees them, and pages that survive them."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import timm
import torch
from image_samples import write_classes
from page_checks import PAGES, opened

from snapvit.errors import InputError
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stages.cka import CKA
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.pipeline.stages.search import SEARCH
from snapvit.pipeline.table import key_of
from snapvit.store.store import Store


@pytest.mark.parametrize("start", ["identity", "cka"])
def test_overflowing_activations_are_named_after_the_first_stage(tmp_path, small_settings, start):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = timm.create_model("test_vit", img_size=32).state_dict()
    weights["blocks.2.attn.proj.weight"] *= 1e30
    torch.save(weights, tmp_path / "huge.pth")
    images = write_classes(tmp_path / "images", {"a": 30, "b": 30})
    settings = [*small_settings, f"search.start={start}"]
    spec = ModelSpec("test_vit", str(tmp_path / "huge.pth"), image_size=32)
    request = make_request(spec, f"folder:{images}", settings=settings)
    store = Store(tmp_path / "cache")
    with pytest.raises(InputError, match=r"huge\.pth\) overflow: [\d,]+ of the [\d,]+ numbers of its local curvature"):
        run_pipeline(request, store, Reporter())
    assert not store.manifest(request.run).entries


def spoilt(artifact: object, value: float) -> object:
    """The artifact with this value in place of every third number of each of its tables; dataclasses in it likewise."""
    changes = {}
    for field in fields(artifact):
        found = getattr(artifact, field.name)
        if isinstance(found, np.ndarray) and np.issubdtype(found.dtype, np.floating):
            changes[field.name] = found.copy()
            changes[field.name].flat[::3] = value
        elif hasattr(found, "__dataclass_fields__"):
            changes[field.name] = spoilt(found, value)
    return replace(artifact, **changes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("stages", [(CURVATURE, CKA), (SEARCH,), (EVALUATION,), (LATENCY,)], ids=lambda s: s[0].name)
def test_pages_survive_numbers_that_are_not_finite(shown, small_request, stages, value):
    stored = StoredRun.open(shown, small_request.run)
    for stage in stages:
        for args in stored.asked(stage):
            key = key_of(stage, stored.request, stored.manifest.nodes, args)
            good = stored.load(stage, *args)
            shown.save(small_request.run, stage.entry_name(args), key, spoilt(good, value), True, 1.0)
    for page in PAGES:
        opened(page, run=small_request.run)
