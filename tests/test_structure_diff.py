"""A model before and after a cut, block by block: counts against the modules themselves, the figure and its table."""

from __future__ import annotations

import numpy as np
import pytest

from snapvit.artifacts import Cut
from snapvit.elastic.cost import cost_model
from snapvit.elastic.structure import structure_diff
from snapvit.elastic.vit import ElasticViT
from snapvit.figures.structure_diff import structure_figure, structure_rows

CUT = Cut(0.5, 0.4, (20, 0, 96), (3, 2, 0))


@pytest.fixture
def diff(tiny_vit, anatomy):
    return structure_diff(anatomy.topology, cost_model(tiny_vit, anatomy), CUT)


def test_it_is_what_the_modules_have(tiny_vit, anatomy, diff, images, count_macs):
    """Parameters of each block but its norms and the biases of the layers that read its units."""
    order = [np.tile(np.arange(count), (3, 1)) for count in (anatomy.topology.hidden, anatomy.topology.heads)]

    def params(block) -> int:
        own = sum(p.numel() for p in block.parameters())
        shared = (block.norm1, block.norm2)
        return own - sum(p.numel() for m in shared for p in m.parameters()) - 2 * anatomy.topology.width

    with ElasticViT(tiny_vit, anatomy, *order) as elastic:
        assert [block.params for block in diff.full] == [params(block) for block in tiny_vit.blocks]
        whole = sum(p.numel() for p in tiny_vit.parameters()), count_macs(tiny_vit, images[:1])
        elastic.keep(CUT)
        assert [block.params for block in diff.cut] == [params(block) for block in tiny_vit.blocks]
        left = sum(p.numel() for p in tiny_vit.parameters()), count_macs(tiny_vit, images[:1])
    assert diff.params == (whole[0], left[0])
    assert diff.macs == (whole[1], left[1])
    assert [(b.heads, b.neurons, b.attention_width) for b in diff.cut] == [(3, 20, 24), (2, 0, 16), (0, 96, 0)]


def test_a_counted_number_of_parameters_changes_the_rest(tiny_vit, anatomy, diff):
    costs = cost_model(tiny_vit, anatomy)
    counted = structure_diff(anatomy.topology, costs, CUT, diff.params[1] + 24)
    assert counted.cut == diff.cut
    assert counted.params == (diff.params[0], diff.params[1] + 24)


def test_the_figures_bars_add_up_to_the_whole_block(diff):
    figure = structure_figure(diff)
    for axis, cost, unit in (("x", "params", 1e3), ("x2", "macs", 1e6)):
        bars = [bar for bar in figure.data if (bar.xaxis or "x") == axis]
        assert [bar.name for bar in bars] == ["heads kept", "MLP neurons kept", "removed"]
        np.testing.assert_allclose(sum(bar.y for bar in bars), [getattr(b, cost) / unit for b in diff.full])
        np.testing.assert_allclose(bars[0].y + bars[1].y, [getattr(b, cost) / unit for b in diff.cut])
    assert sum(bool(bar.showlegend) for bar in figure.data) == 3
    assert figure.data[0].customdata.tolist() == ["3 of 3 heads", "2 of 3 heads", "0 of 3 heads"]


def test_the_tables_rows_add_up(diff):
    rows = structure_rows(diff)
    assert [row["block"] for row in rows] == ["1", "2", "3", "rest", "whole model"]
    for column in ("parameters before", "parameters after", "MACs before", "MACs after"):
        assert sum(row[column] for row in rows[:-1]) == rows[-1][column]
    assert (rows[1]["neurons before"], rows[1]["neurons after"]) == (96, 0)
