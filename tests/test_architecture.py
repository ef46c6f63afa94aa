"""The architecture page is true: its picture is the floors that imports are held to, its walk names real code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from test_imports import CLOSED_ROOMS, FLOORS, NUMBERS, STREAMLIT_ROOMS

from snapvit.data.sources import open_images
from snapvit.data.splits import split_source
from snapvit.pipeline.config import PRESETS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:: (\w+))?`", PAGE)))


def test_the_picture_is_the_floors_from_the_top_down():
    picture = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)[1]
    rooms = [tuple(re.split(r"\s{3,}", line)[0].split()) for line in picture.splitlines()]
    assert [tuple(sorted(floor)) for floor in rooms] == [tuple(sorted(floor)) for floor in reversed(FLOORS)]


def test_what_it_says_of_closed_rooms_is_so():
    heights = {room: height for height, floor in enumerate(FLOORS) for room in floor}
    assert all(heights[room] < heights["store"] for room in NUMBERS), "numbers see no cache"
    assert CLOSED_ROOMS["store"] >= NUMBERS
    assert CLOSED_ROOMS["figures"] >= NUMBERS | {"store", "pipeline"}
    assert CLOSED_ROOMS["pages"] >= NUMBERS | {"store", "pipeline"}
    assert {"pages", "app", "ui", "server", "private_names"} == STREAMLIT_ROOMS


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_code_that_it_names_is_there(file, name):
    path = next((place / file for place in (ROOT / "snapvit", ROOT) if (place / file).is_file()), None)
    assert path is not None, file
    if name:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_the_image_of_the_walk_is_a_calibration_image_that_every_stage_sees():
    config = PRESETS["paper"]
    split = split_source(open_images("bundled"), config.split_seed).with_calibration(config.calibration_seed)
    assert "Image 1,362" in PAGE
    for stage in (config.curvature, config.cka, config.search, config.correction):
        assert 1362 in split.calibration[: stage.images]
    assert 1362 not in split.gallery and 1362 not in split.query
