"""The maps' figures hold the numbers they were given, under the right names, in every frame."""

from __future__ import annotations

import numpy as np
import pytest

from snapvit import figures
from snapvit.artifacts import SearchHistory, Topology
from snapvit.figures.correlation import FRAME_NUMBERS
from snapvit.method.structure_maps import depth_order

TOPOLOGY = Topology(blocks=3, heads=2, hidden=8, width=4, head_width=2, tokens=5)
ORDER = figures.StructureOrder(TOPOLOGY, depth_order(TOPOLOGY), by_depth=True)


@pytest.fixture
def values() -> np.ndarray:
    values = np.random.default_rng(0).uniform(0, 1, (9, 9)).astype(np.float32)
    return (values + values.T) / 2


@pytest.fixture
def history() -> SearchHistory:
    rng = np.random.default_rng(1)
    return SearchHistory(
        factors=np.ones(9),
        means=np.ones((6, 9)),
        covariances=np.stack([np.eye(9, dtype=np.float32)] * 6),
        individuals=rng.normal(size=(5, 4, 9)).astype(np.float32),
        fitness=rng.uniform(0.01, 0.1, (5, 4, 2)),
    )


def test_a_map_shows_each_value_under_its_two_names(values):
    values[2, :] = values[:, 2] = np.nan
    trace = figures.cka_map(values, ORDER, "before", 0.8).data[0]
    names = [TOPOLOGY.structure_name(i) for i in range(9)]
    for row, first in enumerate(trace.y):
        for column, second in enumerate(trace.x):
            np.testing.assert_equal(trace.z[row, column], values[names.index(first), names.index(second)])
    assert (trace.zmin, trace.zmax) == (0, 0.8)


def test_a_difference_is_centred_at_zero(values):
    trace = figures.cka_map(values - 0.5, ORDER, "difference", 0.3).data[0]
    assert (trace.zmin, trace.zmax) == (-0.3, 0.3)
    assert [share for share, _ in trace.colorscale][len(trace.colorscale) // 2] == 0.5


def test_blocks_are_parted_only_where_they_stand_together():
    assert ORDER.boundaries == [3, 6]
    assert figures.StructureOrder(TOPOLOGY, depth_order(TOPOLOGY, "heads"), True).boundaries == [2, 4]
    assert figures.StructureOrder(TOPOLOGY, depth_order(TOPOLOGY, "mlp"), True).boundaries == []
    assert figures.StructureOrder(TOPOLOGY, depth_order(TOPOLOGY)[::-1], False).boundaries == []


def test_both_cells_of_a_pair_are_framed():
    def frames(pair: tuple[int, int], order: figures.StructureOrder = ORDER) -> set[tuple[float, float]]:
        return {((s["x0"] + s["x1"]) / 2, (s["y0"] + s["y1"]) / 2) for s in figures.pair_marks(order, pair)}

    mlp, head = 1, 3  # block 2's MLP and block 1's first head
    assert frames((mlp, head)) == {(1, 3), (3, 1)}
    assert frames((mlp, mlp)) == {(3, 3)}
    assert frames((mlp, head), figures.StructureOrder(TOPOLOGY, depth_order(TOPOLOGY, "mlp"), True)) == set()


def test_every_frame_holds_its_generation(history, values):
    generations = [0, 2, 5]
    maps = np.stack([values + g for g in generations])
    figure = figures.correlation_player(maps, generations, 2, history, ORDER, "correlation", "title", 0.1)
    assert [frame.name for frame in figure.frames] == ["0", "2", "5"]
    for frame, g in zip(figure.frames, generations, strict=True):
        changed = dict(zip(frame.traces, frame.data, strict=True))
        np.testing.assert_array_equal(changed[0].z, (values + g).astype(np.float32))
        assert list(changed[len(figure.data) - 1].x) == [g, g]
    np.testing.assert_array_equal(figure.data[0].z, (values + 2).astype(np.float32))
    assert list(figure.data[-1].x) == [2, 2]
    slider = figure.layout.sliders[0]
    assert slider.active == 1
    assert [list(step.args[0]) for step in slider.steps] == [["0"], ["2"], ["5"]]
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-0.1, 0.1)


@pytest.mark.parametrize(("generations", "structures"), [(30, 84), (50, 156), (200, 156), (1, 5000), (0, 9)])
def test_frames_have_both_ends_and_a_bounded_size(generations, structures):
    shown = figures.frame_generations(generations, structures)
    assert shown[0] == 0
    assert shown[-1] == generations
    assert shown == sorted(set(shown))
    assert len(shown) <= 2 or len(shown) * structures**2 <= FRAME_NUMBERS
    if (generations + 1) * structures**2 <= FRAME_NUMBERS:
        assert shown == list(range(generations + 1))


def test_the_second_of_a_pair_is_turned_to_rise_with_the_first():
    first = np.array([-1.0, 0.0, 1.0], np.float32)
    trace = figures.pair_scatter(first, -first, ("a", "b"), (0.5, 0.25)).data[0]
    np.testing.assert_array_equal(trace.x, trace.y)


def test_the_chance_curve_counts_pairs_at_least_so_strong():
    levels = np.array([0, 0.5, 0.9, 1.0])
    found = np.array([0.0, 0.1, 0.2, 0.3])
    figure = figures.chance_curve(levels, found, found - 0.01, found + 0.01, 0.2, 7)
    np.testing.assert_allclose(figure.data[1].y, [100, 50, 10])
    np.testing.assert_allclose(figure.data[1].x, [0, 0.1, 0.2])
