"""The Embedding page in a real browser: what is chosen on the map is what is shown below it, picture by picture."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from stage_samples import put
from store_samples import edit_manifest

from scripts.bundled_run import REQUEST
from snapvit.data.sources import open_source
from snapvit.evaluation.knn import Nearest
from snapvit.image_artifacts import EmbeddingProjection
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION
from snapvit.store.store import Store
from snapvit.ui.embedding.neighbours import predictions

from .conftest import ROOT, assert_calm, settle

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser
RUN = REQUEST.run
PAIR = (0.65, 0.5)
MOST = 48  # thumbnails that a lasso shows
WAIT = 60_000  # ms
SOURCE = open_source("bundled")


@pytest.fixture(scope="module")
def url(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    cache = tmp_path_factory.mktemp("shipped") / "cache"
    shutil.copytree(ROOT / "cache", cache)
    return f"{serve('app.py', cache=cache)}/embedding?s=0.65"


@pytest.fixture(scope="module")
def found() -> EmbeddingProjection:
    return StoredRun.open(Store(ROOT / "cache"), RUN).load(EMBEDDING_PROJECTION, *PAIR)


@dataclass
class Map:
    """The map on a page, and where its points are."""

    page: Page
    found: EmbeddingProjection

    @property
    def canvas(self) -> Locator:
        return self.page.get_by_test_id("projection-canvas")

    def places(self) -> np.ndarray:
        """(N, 2) pixels within the canvas, from the artifact and the frame that the canvas was drawn in."""
        frame = json.loads(self.canvas.get_attribute("data-frame"))
        full, cut = (layout.astype(float) for layout in (self.found.full_layout, self.found.cut_layout))
        at = full + frame["way"] * (cut - full)
        return np.stack([frame["x"] + frame["scale"] * at[:, 0], frame["y"] - frame["scale"] * at[:, 1]], axis=1)

    def corner(self) -> np.ndarray:
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        return np.array([box["x"] + 1, box["y"] + 1])  # inside its border

    def click(self, place: np.ndarray) -> None:
        self.page.mouse.click(*(self.corner() + place))

    def lasso(self, low: np.ndarray, high: np.ndarray) -> None:
        """Drag around the rectangle from `low` to `high`."""
        corner = self.corner()
        self.page.mouse.move(*(corner + low))
        self.page.mouse.down()
        for x, y in ((high[0], low[1]), tuple(high), (low[0], high[1])):
            self.page.mouse.move(corner[0] + x, corner[1] + y, steps=4)
        self.page.mouse.up()


@pytest.fixture
def opened(url: str, open_page: Callable[..., Page], found: EmbeddingProjection) -> Callable[..., Map]:
    def open_(more: str = "", width: int = 1440) -> Map:
        page = open_page(url + more, width=width)
        page.locator('[data-testid="projection-canvas"][data-frame]').wait_for(timeout=WAIT)
        return Map(page, found)

    return open_


def arrived(page: Page, way: int) -> None:
    """Wait until the points are at the full model (0) or at the cut (1)."""
    page.locator(f"""canvas[data-frame$='"way":{way}}}']""").wait_for(timeout=WAIT)


def board(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{key} button[data-image]")


def assert_pictures_are_theirs(
    cards: Locator, found: EmbeddingProjection, classes: tuple[str, ...] | None
) -> list[int]:
    """Every card shows the source's image of its id and that image's class; returns the ids."""
    shown = cards.evaluate_all(
        "cards => cards.map(c => [+c.dataset.image, c.querySelector('img').src, c.querySelector('strong').textContent])"
    )
    row_of = {image: row for row, image in enumerate(found.ids.tolist())}
    for image, source, title in shown:
        picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB")
        small = np.asarray(picture.resize((28, 28), Image.Resampling.NEAREST))
        np.testing.assert_array_equal(small, SOURCE.image(image), err_msg=f"image {image}")
        if classes:
            assert title == classes[found.labels[row_of[image]]]
    return [image for image, *_ in shown]


def lonely_query(places: np.ndarray, found: EmbeddingProjection) -> int:
    """Row of the query that is farthest from any other point, so that a click there means it alone."""
    queries = places[found.gallery :]
    gaps = np.array([np.partition(np.square(places - place).sum(axis=1), 1)[1] for place in queries])
    return found.gallery + int(gaps.argmax())


def inside(places: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return ((places > low) & (places < high)).all(axis=1)


def small_box(places: np.ndarray, row: int, half: float = 9) -> tuple[np.ndarray, np.ndarray]:
    return places[row] - half, places[row] + half


def test_a_click_opens_that_querys_neighbours_with_their_own_pictures(opened, found):
    view = opened()
    row = lonely_query(view.places(), found)
    image, query = int(found.ids[row]), row - found.gallery
    view.click(view.places()[row])
    view.page.wait_for_url(re.compile(rf"image={image}(&|$)"), timeout=WAIT)
    view.page.locator(f'.st-key-query_board button[data-image="{image}"]').wait_for(timeout=WAIT)
    settle(view.page)
    names = SOURCE.class_names
    assert assert_pictures_are_theirs(board(view.page, "query_board"), found, names) == [image]
    sides = {"full_board": found.full_neighbours, "cut_board": found.cut_neighbours}
    for key, neighbours in sides.items():
        ids = assert_pictures_are_theirs(board(view.page, key), found, names)
        assert ids == found.ids[neighbours[query]].tolist()
    common = set(found.full_neighbours[query].tolist()) & set(found.cut_neighbours[query].tolist())
    assert board(view.page, "full_board").filter(has_text="leaves").count() == found.k - len(common)
    assert board(view.page, "cut_board").filter(has_text="enters").count() == found.k - len(common)
    assert_calm(view.page)


def test_a_lasso_shows_the_images_inside_it(opened, found):
    view = opened()
    places = view.places()
    counts = [inside(places, *small_box(places, row)).sum() for row in range(0, len(places), 40)]
    row = 40 * int(np.argmin(np.abs(np.array(counts) - 24)))
    low, high = small_box(places, row)
    want = set(found.ids[inside(places, low, high)].tolist())
    assert 5 < len(want) <= MOST
    view.lasso(low, high)
    view.page.get_by_text(f"{len(want)} images: ").wait_for(timeout=WAIT)
    settle(view.page)
    assert set(assert_pictures_are_theirs(board(view.page, "chosen_board"), found, SOURCE.class_names)) == want
    assert f"{len(want)} images chosen" in view.page.get_by_test_id("projection-status").inner_text()

    first = board(view.page, "chosen_board").first
    image = first.get_attribute("data-image")
    first.click()
    view.page.wait_for_url(re.compile(rf"image={image}(&|$)"), timeout=WAIT)
    view.page.get_by_role("button", name="Clear", exact=True).click()
    board(view.page, "chosen_board").first.wait_for(state="detached", timeout=WAIT)
    assert_calm(view.page)


def test_a_lasso_after_isolating_a_class_holds_that_class_alone(opened, found):
    view = opened("&class=Sneaker")
    settle(view.page)
    names = SOURCE.class_names
    places = view.places()
    low, high = places.min(axis=0) - 10, places.max(axis=0) + 10
    view.lasso(low, high)
    of_class = found.ids[found.labels == names.index("Sneaker")]
    view.page.get_by_text(f"{len(of_class):,} images: ").wait_for(timeout=WAIT)
    settle(view.page)
    ids = assert_pictures_are_theirs(board(view.page, "chosen_board"), found, names)
    assert len(ids) == MOST
    assert set(ids) <= set(of_class.tolist())
    before, after = predictions(found)
    queries, truth = found.ids[found.gallery :], found.labels[found.gallery :]
    newly_wrong = queries[(truth == names.index("Sneaker")) & (before == truth) & (after != truth)].tolist()
    assert set(ids[: len(newly_wrong)]) == set(newly_wrong), "changed answers come first"
    assert_calm(view.page)


def test_the_legend_isolates_a_class_and_shows_all_again(opened):
    view = opened()
    button = view.page.get_by_role("button", name=re.compile(r"^Bag \(800\)"))
    button.click()
    view.page.wait_for_url(re.compile("class=Bag"), timeout=WAIT)
    view.page.locator('.legend button[aria-pressed="true"]', has_text="Bag").wait_for(timeout=WAIT)
    button.click()
    view.page.locator('.legend button[aria-pressed="true"]').wait_for(state="detached", timeout=WAIT)
    assert "class=Bag" not in view.page.url
    assert_calm(view.page)


def test_an_outcome_is_isolated_and_a_lasso_finds_only_it(opened, found):
    view = opened("&colour=outcome&only=newly%20wrong")
    settle(view.page)
    places = view.places()
    view.lasso(places.min(axis=0) - 10, places.max(axis=0) + 10)
    before, after = predictions(found)
    truth = found.labels[found.gallery :]
    want = found.ids[found.gallery :][(before == truth) & (after != truth)]
    view.page.get_by_text(f"{len(want)} images: {len(want)} queries").wait_for(timeout=WAIT)
    settle(view.page)
    ids = assert_pictures_are_theirs(board(view.page, "chosen_board"), found, SOURCE.class_names)
    assert set(ids) <= set(want.tolist())
    assert board(view.page, "chosen_board").filter(has_text="newly wrong").count() == len(ids)
    assert_calm(view.page)


def test_play_and_the_keyboard_carry_the_points_from_full_to_cut(opened, found):
    view = opened()
    start, picture = view.places(), view.canvas.screenshot()
    view.page.get_by_role("button", name="Play the way from full to cut").click()
    arrived(view.page, 1)
    end = view.places()
    frame = json.loads(view.canvas.get_attribute("data-frame"))
    moved = np.linalg.norm((found.cut_layout - found.full_layout).astype(float), axis=1) * frame["scale"]
    np.testing.assert_allclose(np.linalg.norm(end - start, axis=1), moved, atol=0.1)
    assert view.canvas.screenshot() != picture
    way = view.page.get_by_test_id("projection-way")
    way.focus()
    way.press("Home")
    arrived(view.page, 0)
    # A lasso drawn over the cut's places takes what is there now.
    way.press("End")
    row = lonely_query(end, found)
    view.click(end[row])
    view.page.wait_for_url(re.compile(rf"image={found.ids[row]}(&|$)"), timeout=WAIT)
    assert_calm(view.page)


def test_zoom_and_moving_keep_clicks_true(opened, found):
    view = opened()
    view.page.get_by_role("button", name="Zoom in on the projection").click()
    view.canvas.focus()
    view.canvas.press("ArrowRight")
    view.page.wait_for_timeout(300)
    places = view.places()
    box = view.canvas.bounding_box()
    visible = inside(places, np.array([20, 20]), np.array([box["width"] - 20, box["height"] - 20]))
    gaps = np.array(
        [
            np.partition(np.square(places - p).sum(axis=1), 1)[1] if v else 0
            for p, v in zip(places, visible, strict=True)
        ]
    )
    row = int(gaps.argmax())
    view.click(places[row])
    view.page.wait_for_url(re.compile(rf"image={found.ids[row]}(&|$)"), timeout=WAIT)
    assert_calm(view.page)


@pytest.mark.parametrize("width", [1440, 800])
def test_the_address_opens_an_image(opened, found, width):
    query = 123
    image = int(found.ids[found.gallery + query])
    view = opened(f"&image={image}", width=width)
    settle(view.page)
    assert assert_pictures_are_theirs(board(view.page, "query_board"), found, SOURCE.class_names) == [image]
    ids = assert_pictures_are_theirs(board(view.page, "full_board"), found, SOURCE.class_names)
    assert ids == found.ids[found.full_neighbours[query]].tolist()
    assert_calm(view.page)


def test_the_map_is_saved_as_a_picture(opened, tmp_path):
    view = opened()
    with view.page.expect_download() as download:
        view.page.get_by_role("button", name="Save the projection as PNG").click()
    download.value.save_as(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1_000_000)) > 20


def test_the_map_is_saved_as_a_drawing_with_every_point_where_it_is(opened, found, tmp_path):
    view = opened()
    view.page.get_by_test_id("projection-way").fill("100")
    with view.page.expect_download() as download:
        view.page.get_by_role("button", name="Save the projection as SVG").click()
    assert download.value.suggested_filename.endswith(".svg")
    download.value.save_as(tmp_path / "map.svg")
    svg = "{http://www.w3.org/2000/svg}"
    drawing = ElementTree.parse(tmp_path / "map.svg").getroot()
    assert "cut at 65 %" in drawing.find(f"{svg}title").text.lower()
    groups = {group.get("id"): group for group in drawing.iter(f"{svg}g")}
    assert {text.text for text in groups["legend"].iter(f"{svg}text")} == set(SOURCE.class_names)
    points = groups["points"].findall(f"{svg}circle")
    assert len(points) == len(found.ids)
    frame = json.loads(view.page.get_by_test_id("projection-canvas").get_attribute("data-frame"))
    drawn = [(float(p.get("cx")), float(p.get("cy"))) for p in points]
    wanted = found.cut_layout.astype(float) * [frame["scale"], -frame["scale"]] + [frame["x"], frame["y"]]
    np.testing.assert_allclose(drawn, wanted, atol=0.02)
    assert_calm(view.page)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EmbeddingProjection]:
    """A cache whose run has 10,000 images of 100 classes on its map."""
    cache = tmp_path_factory.mktemp("crowded") / "cache"
    shutil.copytree(ROOT / "cache", cache)
    rng = np.random.default_rng(0)
    gallery, queries, classes = 8000, 2000, 100
    labels = rng.integers(0, classes, gallery + queries)
    centres = rng.uniform(-12, 12, (classes, 2))
    full = centres[labels] + 0.5 * rng.normal(size=(gallery + queries, 2))
    cut = full + 0.4 * rng.normal(size=full.shape)
    sides = []
    for places in (full, cut):
        features = np.hstack([places, np.full((len(places), 1), 8.0)]).astype(np.float32)
        sides.append(Nearest(features[:gallery], 20).of(features[gallery:]))
    artifact = EmbeddingProjection(
        ids=rng.permutation(10_000).astype(np.uint16),
        gallery=gallery,
        labels=labels.astype(np.int16),
        full_layout=full.astype(np.float16),
        cut_layout=cut.astype(np.float16),
        full_neighbours=sides[0][0].astype(np.uint16),
        cut_neighbours=sides[1][0].astype(np.uint16),
        full_cosines=sides[0][1].astype(np.float32),
        cut_cosines=sides[1][1].astype(np.float32),
    )
    put(Store(cache), RUN, EMBEDDING_PROJECTION, artifact, *PAIR)
    kinds = [f"kind {i}" for i in range(classes)]
    edit_manifest(Store(cache), RUN, lambda manifest: manifest["facts"].update(classes=kinds))
    return cache, artifact


def test_a_hundred_classes_and_ten_thousand_points(crowded, serve, open_page):
    cache, found = crowded
    page = open_page(f"{serve('app.py', cache=cache)}/embedding?s=0.65")
    page.locator('[data-testid="projection-canvas"][data-frame]').wait_for(timeout=WAIT)
    view = Map(page, found)
    assert page.get_by_text("Colours repeat after ten classes").is_visible()
    page.get_by_role("button", name="Play the way from full to cut").click()
    arrived(page, 1)
    box = page.get_by_role("combobox", name="Class")
    box.click()
    box.fill("kind 73")
    page.get_by_role("option", name="kind 73").click()
    page.wait_for_url(re.compile("class=kind"), timeout=WAIT)
    settle(page)
    places = view.places()
    view.lasso(places.min(axis=0) - 10, places.max(axis=0) + 10)
    want = found.ids[found.labels == 73]
    page.get_by_text(f"{len(want):,} images: ").wait_for(timeout=WAIT)
    settle(page)
    names = tuple(f"kind {i}" for i in range(100))
    ids = assert_pictures_are_theirs(board(page, "chosen_board"), found, names)
    assert len(ids) == min(MOST, len(want))
    assert set(ids) <= set(want.tolist())
    assert_calm(page)
