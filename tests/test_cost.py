"""Costs of a cut against counting the cut model itself, while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snapvit.artifacts import Cut, Preprocess
from snapvit.elastic.cost import cost_model, measure_latency
from snapvit.elastic.vit import ElasticViT, QkvByHead
from snapvit.models.anatomy import describe

VARIANTS = {
    "plain": {},
    "no qkv bias": {"qkv_bias": False},
    "no bias in the blocks": {"qkv_bias": False, "proj_bias": False},
    "qk norm, layer scale": {"qk_norm": True, "init_values": 0.1},
    "registers": {"reg_tokens": 3},
    "average pool": {"class_token": False, "global_pool": "avg"},
    "no classifier": {"num_classes": 0},
    "larger image": {"img_size": 32},
}
CUTS = (
    ((96, 96, 96), (3, 3, 3)),
    ((96, 50, 7), (3, 1, 2)),
    ((5, 96, 0), (3, 0, 1)),
    ((0, 0, 0), (0, 0, 0)),
)


@contextmanager
def counted(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every multiply-accumulate of linear layers, convolutions and attention products that run inside."""
    seen: list[int] = []
    attention = F.scaled_dot_product_attention

    def counting_attention(q: Tensor, k: Tensor, v: Tensor, **kwargs: object) -> Tensor:
        *leading, queries, width = q.shape
        pairs = int(np.prod(leading)) * queries * k.shape[-2]
        seen.append(pairs * width + pairs * v.shape[-1])
        return attention(q, k, v, **kwargs)

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Each number put out by a layer took as many as the layer has weights for it."""
        if isinstance(layer, nn.Conv2d):
            seen.append(output.numel() * layer.weight[0].numel())
        else:
            seen.append(output.numel() * inputs[0].shape[-1])

    kinds = (nn.Linear, nn.Conv2d, QkvByHead)
    hooks = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, kinds)]
    with monkeypatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", counting_attention)
        yield seen
    for h in hooks:
        h.remove()


def assert_costs_are_counted(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    anatomy = describe(model)
    for block in model.blocks:
        block.attn.fused_attn = True
    costs = cost_model(model, anatomy)
    image = torch.zeros(1, 3, *model.patch_embed.img_size)
    orders = np.tile(np.arange(96), (3, 1)), np.tile(np.arange(3), (3, 1))
    with ElasticViT(model, anatomy, *orders) as elastic:
        for neurons, heads in CUTS:
            cut = Cut(0.0, 0.0, neurons, heads)
            elastic.keep(cut)
            with counted(elastic.model, monkeypatch) as macs:
                elastic.model(image)
            assert costs.params(cut) == sum(p.numel() for p in elastic.model.parameters()), cut
            assert costs.macs(cut) == sum(macs), cut


@pytest.mark.parametrize("variant", VARIANTS)
def test_costs_equal_a_count_of_the_cut_model(make_vit, monkeypatch, variant):
    assert_costs_are_counted(make_vit(**VARIANTS[variant]), monkeypatch)


def test_costs_of_attention_pooling_are_counted(make_vit, monkeypatch):
    assert_costs_are_counted(make_vit(class_token=False, global_pool="map"), monkeypatch)


def test_bundled_model_has_the_parameters_of_its_file(bundled):
    """12 blocks, width 144, 16 patches of 7 x 7: counted on paper."""
    block = 2 * 2 * 144 + 144 * 432 + 432 + 144 * 144 + 144 + 144 * 576 + 576 + 576 * 144 + 144
    params = 12 * block + (3 * 49 * 144 + 144) + 144 + 17 * 144 + 2 * 144 + 144 * 10 + 10
    macs = 12 * 17 * (4 * 144 * 144 + 2 * 17 * 144 + 2 * 144 * 576) + 16 * 3 * 49 * 144 + 144 * 10
    costs = cost_model(bundled.model, bundled.anatomy)
    whole = Cut(0.0, 0.0, (576,) * 12, (6,) * 12)
    assert costs.params(whole) == params
    assert costs.macs(whole) == macs


def test_latency_is_a_time_in_milliseconds():
    class Sleeps(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, images: Tensor) -> Tensor:
            assert images.shape == (1, 3, 12, 20)
            Sleeps.calls += 1
            time.sleep(0.4 if Sleeps.calls <= 2 else 0.02)  # the first two passes are not counted
            return images

    assert 20 <= measure_latency(Sleeps(), Preprocess((12, 20), (0.5,) * 3, (0.5,) * 3), repeats=1) < 300
    assert Sleeps.calls == 3
