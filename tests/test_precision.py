"""Half precision where it is asked for: search and evaluation, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_memory import SETTINGS
from test_stale import checkpoint, fill

from snapvit.evaluation.features import embeddings
from snapvit.models.embedding import embed_batch
from snapvit.models.spec import BUNDLED, ModelSpec
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.request import make_request
from snapvit.pipeline.results import computed_on, list_runs, load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.store.store import Store


@pytest.mark.parametrize("threads", [1, 2], ids=["one thread", "shared out"])
def test_a_forward_pass_in_bfloat16_is_close_and_hands_on_float32(tiny_vit, images, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # each thread has to be told
    try:
        many = torch.cat([images, images])
        whole, half = embed_batch(tiny_vit, many), embed_batch(tiny_vit, many, "bfloat16")
    finally:
        torch.set_num_threads(before)
    assert whole.dtype == half.dtype == torch.float32
    assert not torch.equal(whole, half)
    assert float((1 - torch.cosine_similarity(whole, half)).max()) < 1e-3
    torch.testing.assert_close(half, embed_batch(tiny_vit, images, "bfloat16").repeat(2, 1), rtol=0.05, atol=0.05)
    assert torch.equal(embed_batch(tiny_vit, many), whole), "nothing stays switched on"
    assert embeddings(tiny_vit, [images], "bfloat16").dtype == torch.float32


def test_search_and_evaluation_alone_are_in_the_precision_of_the_request(tmp_path, monkeypatch):
    fill(tmp_path / "pictures", seed=0)
    spec = ModelSpec(BUNDLED, str(checkpoint(tmp_path / "m.safetensors")))
    store = Store(tmp_path / "cache")
    usual, half = (
        make_request(spec, f"folder:{tmp_path / 'pictures'}", settings=SETTINGS, precision=precision)
        for precision in ("auto", "bfloat16")
    )
    said = Reporter()
    run_pipeline(usual, store, Reporter())
    run_pipeline(half, store, said)
    cached = {event.text.split()[0] for event in said.events if event.kind == "cached"}
    assert {"curvature", "cka"} <= cached
    assert not {"search", "evaluation"} & cached
    assert said.events[0].text == "computing on CPU in bfloat16"
    whole, found = (load_results(store, request.run) for request in (usual, half))
    assert (whole.search.fitness != found.search.fitness).any()
    np.testing.assert_allclose(found.search.fitness[0], whole.search.fitness[0], rtol=0.1)
    np.testing.assert_allclose(found.as_cut.cosine, whole.as_cut.cosine, atol=0.02)
    assert computed_on(found.stored) == "CPU in bfloat16"
    arithmetic = {summary.run: summary.arithmetic for summary in list_runs(store)}
    assert arithmetic == {usual.run: (), half.run: ("bfloat16",)}
