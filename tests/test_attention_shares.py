"""Attention weights are those that the model itself uses, and the rollout is the product of its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snapvit.elastic.ranking import cut_at
from snapvit.elastic.vit import ElasticViT
from snapvit.errors import Cancelled, InputError
from snapvit.image_artifacts import AttentionShares
from snapvit.jobs.tasks import StageTask, Workbench
from snapvit.models.anatomy import describe
from snapvit.models.attention import queries_keys_values
from snapvit.models.attention_shares import attention_weights, look, roll
from snapvit.pipeline.measure import open_workspace
from snapvit.pipeline.results import StoredRun, load_results
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.attention import ATTENTION, EXAMPLES, FULL
from snapvit.store.store import Store
from tests.conftest import FORMS


def seen_by_blocks(model, anatomy, images):
    """What each block's attention was given, and what it gave."""
    calls = []
    hooks = [
        block.attention.register_forward_hook(
            lambda m, i, n, y: calls.append((m, i[0], n.get("rope"), y)), with_kwargs=True
        )
        for block in anatomy.blocks
    ]
    with torch.no_grad():
        model.forward_features(images)
    for hook in hooks:
        hook.remove()
    return calls


def through_the_module(attention, tokens, rope):
    """The module's output from the weights of ours."""
    values = queries_keys_values(attention, tokens, rope)[2]
    mixed = (attention_weights(attention, tokens, rope) @ values).transpose(1, 2).flatten(2)
    if getattr(attention, "gate", None) is not None:
        mixed = mixed * attention.gate(tokens).sigmoid()
    return attention.proj(mixed)


@pytest.mark.parametrize("form", FORMS)
def test_weights_give_the_modules_own_output(form, make_form):
    model = make_form(form)
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    calls = seen_by_blocks(model, describe(model), images)
    assert len(calls) == 3
    for attention, tokens, rope, out in calls:
        torch.testing.assert_close(through_the_module(attention, tokens, rope), out, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "settings", [{}, {"qk_norm": True}, {"qkv_bias": False}, {"class_token": False, "global_pool": "avg"}]
)
def test_weights_of_plain_attention_whole_and_cut(settings, make_vit, images):
    model = make_vit(**settings)
    anatomy = describe(model)
    orders = (np.tile(np.arange(96), (3, 1)), np.array([[2, 0, 1], [1, 2, 0], [0, 1, 2]]))
    with ElasticViT(model, anatomy, *orders) as elastic:
        for heads in ((3, 3, 3), (2, 1, 3), (1, 0, 2)):
            elastic.show((96, 10, 50), heads)
            for (attention, tokens, _, out), count in zip(seen_by_blocks(model, anatomy, images), heads, strict=True):
                weights = attention_weights(attention, tokens)
                assert weights.shape[1] == count
                torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]))
                torch.testing.assert_close(through_the_module(attention, tokens, None), out, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{}, {"reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}, {"reg_tokens": 2, "global_pool": "avg"}],
)
def test_looks_are_rows_of_the_weights_and_the_rollout_is_the_product_of_blocks(settings, make_vit, images):
    model = make_vit(**settings)
    anatomy = describe(model)
    prefix, reader = anatomy.prefix_tokens, anatomy.reads_class_token
    found, product = look(model, anatomy, images), None
    for shares, (attention, tokens, _, _) in zip(found.heads, seen_by_blocks(model, anatomy, images), strict=True):
        weights = attention_weights(attention, tokens).numpy().astype(np.float64)
        for image in range(len(images)):
            for head in range(3):
                row = weights[image, head, 0] if reader else weights[image, head, prefix:].mean(axis=0)
                np.testing.assert_allclose(shares[image, head].numpy(), row[prefix:], atol=1e-6)
        count = weights.shape[-1]
        step = [0.5 * sum(w[h] for h in range(3)) / 3 + 0.5 * np.eye(count) for w in weights]
        step = [a / a.sum(axis=1, keepdims=True) for a in step]
        product = step if product is None else [a @ b for a, b in zip(step, product, strict=True)]
    for image, joint in enumerate(product):
        row = joint[0] if reader else joint[prefix:].mean(axis=0)
        np.testing.assert_allclose(found.rollout[image].numpy(), row[prefix:], atol=1e-6)


def test_a_block_without_heads_hands_its_tokens_on():
    before = torch.rand(1, 4, 4)
    assert torch.equal(roll(torch.empty(1, 0, 4, 4), before), before)
    assert torch.equal(roll(torch.empty(1, 0, 4, 4), None)[0], torch.eye(4))


def test_an_unknown_attention_is_refused_by_name():
    with pytest.raises(InputError, match=r"MultiheadAttention cannot be shown; the explorer knows Attention"):
        attention_weights(torch.nn.MultiheadAttention(8, 2), torch.zeros(1, 3, 8))


def wanted(mlp: float, heads: float, image: int | None = None) -> tuple[Want, ...]:
    """Attention of the full model and of one cut, as the Heads page asks for it."""
    which = EXAMPLES if image is None else str(image)
    return tuple(Want(ATTENTION, (*pair, which)) for pair in (FULL, (mlp, heads)))


def stored_attention(
    store: Store, run: str, pair: tuple[float, float], image: int | None = None
) -> AttentionShares | None:
    return StoredRun.open(store, run).load(ATTENTION, *pair, EXAMPLES if image is None else str(image))


def test_the_task_keeps_both_models_under_their_own_heads(finished, small_request):
    run, bench = small_request.run, Workbench(finished)
    StageTask(run, wanted(0.65, 0.5)).perform(bench)
    full, cut = (stored_attention(finished, run, pair) for pair in ((0.0, 0.0), (0.65, 0.5)))
    assert isinstance(cut, AttentionShares)
    workspace, ranking = open_workspace(finished, run), load_results(finished, run).ranking
    assert full.images.tolist() == workspace.ids["examples"].tolist() == cut.images.tolist()
    assert len(set(full.labels.tolist())) == 8
    assert set(full.images.tolist()) <= set(workspace.split.query.tolist())
    assert full.heads.shape == (8, 12, 6, 4, 4)
    assert np.isfinite(full.heads).all()
    assert full.heads.astype(float).sum(axis=(3, 4)).max() <= 1.001
    counts = cut_at(ranking, 0.65, 0.5).kept_heads
    for block in range(12):
        kept = ranking.head_order()[block, : counts[block]]
        gone = np.isnan(cut.heads[:, block]).all(axis=(0, 2, 3))
        assert sorted(np.flatnonzero(~gone)) == sorted(kept)
        if block == 0:  # nothing before it is cut, so what stays looks where it looked
            np.testing.assert_allclose(cut.heads[:, 0, kept], full.heads[:, 0, kept], atol=2e-3)
    assert not np.allclose(cut.rollout, full.rollout, atol=1e-3)
    picture = workspace.source.image(int(full.images[0]))
    assert (full.pictures[0] == picture.transpose(2, 0, 1)).all()


def test_one_image_can_be_asked_for_and_a_foreign_id_is_named(finished, small_request):
    run, bench = small_request.run, Workbench(finished)
    StageTask(run, wanted(0.5, 0.35, 4321)).perform(bench)
    assert stored_attention(finished, run, (0.5, 0.35), 4321).images.tolist() == [4321]
    assert stored_attention(finished, run, (0.5, 0.35)) is None
    with pytest.raises(InputError, match=r"no image 10000; the ids of bundled go from 0 to 9,999"):
        StageTask(run, wanted(0.5, 0.35, 10_000)).perform(bench)


def test_cancel_between_images_leaves_the_model_whole(finished, small_request):
    run, bench = small_request.run, Workbench(finished)
    workspace = bench.workspace(run)
    bench.reporter.cancel()
    with pytest.raises(Cancelled):
        StageTask(run, wanted(0.65, 0.5)).perform(bench)
    assert stored_attention(finished, run, (0.65, 0.5)) is None
    assert describe(workspace.loaded.model).topology.heads == 6
