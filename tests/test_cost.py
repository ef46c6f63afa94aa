"""Costs of a cut against counting the cut model itself, while it runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snapvit.artifacts import Cut
from snapvit.elastic.cost import cost_model
from snapvit.elastic.vit import ElasticViT
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


Count = Callable[[nn.Module, Tensor], int]


def assert_costs_are_counted(model: nn.Module, count_macs: Count) -> None:
    anatomy = describe(model)
    costs, hidden = cost_model(model, anatomy), anatomy.topology.hidden
    weight = model.patch_embed.proj.weight
    image = torch.zeros(1, 3, *model.patch_embed.img_size, dtype=weight.dtype)
    orders = np.tile(np.arange(hidden), (3, 1)), np.tile(np.arange(3), (3, 1))
    with ElasticViT(model, anatomy, *orders) as elastic:
        for neurons, heads in CUTS:
            cut = Cut(0.0, 0.0, tuple(min(n, hidden) for n in neurons), heads)
            elastic.keep(cut)
            assert costs.params(cut) == sum(p.numel() for p in elastic.model.parameters()), cut
            assert costs.macs(cut) == count_macs(elastic.model, image), cut


@pytest.mark.parametrize("variant", VARIANTS)
def test_costs_equal_a_count_of_the_cut_model(make_vit, count_macs, variant):
    assert_costs_are_counted(make_vit(**VARIANTS[variant]), count_macs)


def test_costs_equal_a_count_in_every_form(form, count_macs):
    assert_costs_are_counted(form, count_macs)


@pytest.mark.parametrize("prefix", [True, False], ids=["with prefix tokens", "patches alone"])
def test_costs_of_attention_pooling_are_counted(make_vit, count_macs, prefix):
    model = make_vit(global_pool="map", reg_tokens=2, pool_include_prefix=prefix)
    assert_costs_are_counted(model, count_macs)


def test_bundled_model_has_the_parameters_of_its_file(bundled):
    """12 blocks, width 144, 16 patches of 7 x 7: counted on paper."""
    block = 2 * 2 * 144 + 144 * 432 + 432 + 144 * 144 + 144 + 144 * 576 + 576 + 576 * 144 + 144
    params = 12 * block + (3 * 49 * 144 + 144) + 144 + 17 * 144 + 2 * 144 + 144 * 10 + 10
    macs = 12 * 17 * (4 * 144 * 144 + 2 * 17 * 144 + 2 * 144 * 576) + 16 * 3 * 49 * 144 + 144 * 10
    costs = cost_model(bundled.model, bundled.anatomy)
    whole = Cut(0.0, 0.0, (576,) * 12, (6,) * 12)
    assert costs.params(whole) == params
    assert costs.macs(whole) == macs
