"""Numbers in the cells of a heat map: the right ones, in the right cells, readable on every colour."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.colors import sample_colorscale

from snapvit.figures.style import DIVERGING, SEQUENTIAL, cell_numbers


def contrast(colour: str, text: str) -> float:
    """Contrast ratio as WCAG 2.2 defines it, spelt out with plain numbers."""
    luminance = []
    for red, green, blue in (
        [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")],
        {"black": (0, 0, 0), "white": (255, 255, 255)}[text],
    ):
        parts = []
        for value in (red / 255, green / 255, blue / 255):
            parts.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
        luminance.append(0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2])
    return (max(luminance) + 0.05) / (min(luminance) + 0.05)


@pytest.mark.parametrize("scale", [SEQUENTIAL, DIVERGING])
def test_every_number_stands_out_from_its_cell(scale):
    values = np.linspace(-2, 5, 60).reshape(6, 10)
    heat = go.Heatmap(z=values, x=np.arange(10), y=np.arange(6), colorscale=scale)
    numbers = cell_numbers(heat, values.astype(str))
    fills = sample_colorscale(scale, (values.ravel() + 2) / 7)
    assert min(map(contrast, fills, numbers.textfont.color)) >= 4.5
    assert set(numbers.textfont.color) == {"black", "white"}


def test_numbers_lie_in_their_cells_and_empty_cells_stay_empty():
    values = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]])
    heat = go.Heatmap(z=values, x=["a", "b", "c"], y=["top", "bottom"], colorscale=SEQUENTIAL)
    numbers = cell_numbers(heat, np.vectorize("{:.0f}".format)(values))
    written = dict(zip(zip(numbers.x, numbers.y, strict=True), numbers.text, strict=True))
    assert written == {
        ("a", "top"): "1",
        ("c", "top"): "3",
        ("a", "bottom"): "4",
        ("b", "bottom"): "5",
        ("c", "bottom"): "6",
    }


def test_values_beyond_the_scale_and_a_flat_map_have_numbers_too():
    heat = go.Heatmap(z=[[-9.0, 0.5, 9.0]], x=[0, 1, 2], y=[0], zmin=0, zmax=1, colorscale=SEQUENTIAL)
    assert list(cell_numbers(heat, np.array([["low", "middle", "high"]])).textfont.color) == ["white", "black", "black"]
    flat = go.Heatmap(z=[[2.0, 2.0]], x=[0, 1], y=[0], colorscale=SEQUENTIAL)
    assert list(cell_numbers(flat, np.array([["2", "2"]])).text) == ["2", "2"]
