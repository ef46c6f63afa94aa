"""Thumbnails: of the right image, crisp where enlarged, smooth where shrunk, without torch."""

from __future__ import annotations

import base64
import io
import subprocess
import sys

import numpy as np
from image_samples import packed
from PIL import Image

from snapvit.data.sources import open_source
from snapvit.data.thumbnails import thumbnail, thumbnail_url


def test_a_small_image_is_enlarged_by_a_whole_factor():
    source = open_source("bundled")
    for size, factor in ((112, 4), (120, 4), (28, 1), (200, 7)):
        found = np.asarray(thumbnail(source, 4711, size))
        np.testing.assert_array_equal(found, source.image(4711).repeat(factor, axis=0).repeat(factor, axis=1))


def test_a_photograph_is_shrunk_to_its_longer_side(tmp_path):
    ramp = np.broadcast_to(np.linspace(0, 255, 600).astype(np.uint8)[None, :, None], (300, 600, 3))
    (tmp_path / "ramp.png").write_bytes(packed(np.ascontiguousarray(ramp), "PNG"))
    (tmp_path / "thin.png").write_bytes(packed(np.zeros((2, 900, 3), np.uint8), "PNG"))
    source = open_source(f"folder:{tmp_path}")
    found = np.asarray(thumbnail(source, 0, 60)).astype(float)
    assert found.shape == (30, 60, 3)
    want = 255 * (np.arange(60) + 0.5) / 60
    assert np.abs(found[15, 3:-3, 0] - want[3:-3]).max() < 3
    assert thumbnail(source, 1, 60).size == (60, 1)


def test_the_url_holds_the_picture():
    source = open_source("bundled")
    kind, _, body = thumbnail_url(source, 7, 56).partition(",")
    assert kind == "data:image/webp;base64"
    shown = Image.open(io.BytesIO(base64.b64decode(body)))
    np.testing.assert_array_equal(np.asarray(shown), source.image(7))
    _, _, body = thumbnail_url(source, 7, 14).partition(",")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(body)))).astype(float)
    assert np.abs(shown - np.asarray(thumbnail(source, 7, 14))).mean() < 8


def test_sources_and_thumbnails_need_no_torch(tmp_path):
    (tmp_path / "a.png").write_bytes(packed(np.zeros((9, 9, 3), np.uint8), "PNG"))
    code = (
        "import sys\nfrom snapvit.data.sources import open_source\nfrom snapvit.data.thumbnails import thumbnail\n"
        f"for name in ('bundled', 'folder:{tmp_path}'):\n    thumbnail(open_source(name), 0)\n"
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'streamlit') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
