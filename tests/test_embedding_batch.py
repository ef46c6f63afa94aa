"""A batch that is shared out among the cores has the embeddings that the model gives at once, in the same order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from snapvit.evaluation.features import embeddings
from snapvit.models.embedding import embed_batch


@pytest.fixture(params=[2, 3])
def cores(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def at_once(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.forward_head(model.forward_features(images), pre_logits=True)


@pytest.mark.parametrize("count", [1, 7, 8, 11, 12, 13, 25, 64])
def test_embeddings_are_those_of_the_whole_batch(make_vit, cores, count):
    model = make_vit()
    images = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(count))
    found = embed_batch(model, images)
    torch.testing.assert_close(found, at_once(model, images), rtol=1e-5, atol=1e-6)
    assert found.shape == (count, 24)
    assert not found.requires_grad
    assert torch.get_num_threads() == cores
    batches = images.split(10)
    torch.testing.assert_close(embeddings(model, iter(batches)), at_once(model, images), rtol=1e-5, atol=1e-6)


def test_every_core_works_and_none_shares_out_a_layer(make_vit, cores):
    seen = []
    model = make_vit()
    model.blocks[0].register_forward_pre_hook(
        lambda module, args: seen.append((threading.current_thread().name, len(args[0]), torch.get_num_threads()))
    )
    embed_batch(model, torch.randn(24, 3, 16, 16))
    assert len(seen) == cores
    assert all(name.startswith("snapvit-embed") for name, _, _ in seen)
    assert {size for _, size, _ in seen} == {24 // cores}
    assert {threads for _, _, threads in seen} == {1}


def test_an_error_in_a_share_is_raised_and_the_threads_come_back(make_vit, cores):
    model = make_vit()

    def break_off(module: torch.nn.Module, args: tuple) -> None:
        raise RuntimeError("out of memory")

    handle = model.blocks[1].register_forward_pre_hook(break_off)
    with pytest.raises(RuntimeError, match="out of memory"):
        embed_batch(model, torch.randn(24, 3, 16, 16))
    assert torch.get_num_threads() == cores
    handle.remove()
    assert embed_batch(model, torch.randn(24, 3, 16, 16)).shape == (24, 24)
