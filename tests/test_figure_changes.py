"""A figure that is on the page, told what is different, becomes the new one."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from snapvit import figures
from snapvit.ui.figure import Drawn, differences


def written(figure: dict[str, Any], changes: list[dict[str, Any]]) -> dict[str, Any]:
    """The figure with the changes in it, as chart_watch.js writes them."""
    figure = copy.deepcopy(figure)
    for change in changes:
        part = figure
        for name in change["path"][:-1]:
            part = part[name]
        if "value" in change:
            part[change["path"][-1]] = change["value"]
        else:
            del part[change["path"][-1]]
    return figure


def head_map(seed: int, gone: int) -> dict[str, Any]:
    values = np.random.default_rng(seed).lognormal(size=(4, 3))
    return Drawn.of(figures.head_map(values, np.arange(12).reshape(4, 3) >= gone, "score")).spec


def profile(threshold: float | None, block: int | None) -> dict[str, Any]:
    return Drawn.of(figures.neuron_profile(np.arange(1.0, 41).reshape(4, 10), "score", threshold, block)).spec


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (head_map(0, 0), head_map(0, 5)),
        (head_map(0, 5), head_map(1, 2)),
        (profile(20.0, None), profile(30.0, 2)),
        (profile(20.0, 1), profile(20.0, 2)),
    ],
)
def test_the_differences_turn_the_one_figure_into_the_other(old, new):
    changes = json.loads(json.dumps(list(differences(old, new))))
    assert changes
    assert written(old, changes) == new
    assert written(written(old, changes), list(differences(new, old))) == old


def test_equal_figures_have_no_differences_and_one_name():
    figure = head_map(0, 5)
    assert list(differences(figure, head_map(0, 5))) == []
    one, other = (Drawn.of(figures.head_map(np.ones((2, 2)), np.ones((2, 2), bool), "score")) for _ in range(2))
    assert one.name == other.name


def test_a_moved_threshold_sends_little():
    old, new = profile(20.0, None), profile(30.0, None)
    assert len(json.dumps(list(differences(old, new)))) < 0.05 * len(json.dumps(old))
