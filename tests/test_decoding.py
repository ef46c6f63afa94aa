"""Any picture file to RGB bytes: against the pixels it was made from, and the reason for each that is refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from image_samples import noise, packed
from PIL import Image, PngImagePlugin, features

from snapvit.data.decoding import ENOUGH, MOST_PIXELS, UnusableImage, decode

PIXELS = noise(0)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_a_lossless_file_gives_its_own_pixels(kind):
    np.testing.assert_array_equal(decode(packed(PIXELS, kind)), PIXELS)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 98, "subsampling": 0}), ("WEBP", {"quality": 100})])
def test_a_lossy_file_gives_nearly_its_pixels(kind, options):
    found = decode(packed(PIXELS, kind, **options))
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - PIXELS).mean() < 6


def test_grey_becomes_three_equal_channels():
    grey = PIXELS[:, :, 0]
    np.testing.assert_array_equal(decode(packed(grey, "PNG")), np.repeat(grey[:, :, None], 3, axis=2))


@pytest.mark.parametrize(("most", "bits"), [(65535, 16), (4095, 12), (1023, 10)])
def test_grey_numbers_of_a_pgm_are_scaled_by_what_it_calls_white(most, bits):
    deep = np.array([[0, most], [most // 2, most // 3]], ">u2")
    found = decode(f"P5 2 2 {most}\n".encode() + deep.tobytes())
    want = np.rint(deep / most * 255).astype(np.uint8)
    assert np.abs(found - np.repeat(want[:, :, None], 3, axis=2).astype(int)).max() <= 1


def test_long_text_beside_a_picture_is_no_matter():
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "x" * 3_000_000, zip=True)
    np.testing.assert_array_equal(decode(packed(PIXELS, "PNG", pnginfo=info)), PIXELS)


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000"])
def test_newer_formats_are_read_where_pillow_can(kind):
    if not features.check({"AVIF": "avif", "JPEG2000": "jpg_2000"}[kind]):
        pytest.skip(f"this Pillow reads no {kind}")
    assert np.abs(decode(packed(PIXELS, kind, quality=95)).astype(int) - PIXELS).mean() < 8


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_so_that_the_brightest_is_white(kind):
    deep = np.array([[0, 257, 128 * 257], [65535, 255 * 257 - 200, 300]], np.uint16)
    want = np.array([[0, 1, 128], [255, 254, 1]], np.uint8)
    found = decode(packed(Image.fromarray(deep), kind))
    np.testing.assert_array_equal(found, np.repeat(want[:, :, None], 3, axis=2))


def test_sixteen_bits_in_three_colours():
    """Pillow writes no such file, so it is made by hand."""
    deep = np.array([[[0, 65535, 257 * 7]] * 3] * 2, ">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 3, 2, 16, 2, 0, 0, 0)
    raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode(raw), np.array([[[0, 255, 7]] * 3] * 2, np.uint8))


def test_cmyk_becomes_the_colour_it_prints():
    cmyk = np.zeros((16, 16, 4), np.uint8)
    cmyk[..., 1] = cmyk[..., 2] = 255  # magenta and yellow ink: red
    found = decode(packed(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=95))
    assert np.abs(found.astype(int) - [255, 0, 0]).max() < 8


def test_transparency_is_laid_on_white():
    clear = np.dstack([PIXELS, np.zeros(PIXELS.shape[:2], np.uint8)])
    clear[:, 12:, 3] = 255
    clear[0, 0] = (0, 0, 0, 128)
    found = decode(packed(clear, "PNG"))
    np.testing.assert_array_equal(found[:, 12:], PIXELS[:, 12:])
    assert (found[1:, :12] == 255).all()
    assert np.abs(found[0, 0].astype(int) - 127).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_colour_is_laid_on_white(kind):
    image = Image.new("P", (4, 3), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((2, 1), 0)
    found = decode(packed(image, kind, transparency=0))
    assert found[1, 2].tolist() == [255, 255, 255]
    assert found[0, 0].tolist() == [200, 100, 50]


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=40)
    assert (decode(buffer.getvalue()) == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)), (8, np.rot90), (2, lambda a: a[:, ::-1])],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_camera_s_orientation_is_applied(kind, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(packed(PIXELS, kind, exif=exif)), turned(PIXELS))


def test_damaged_metadata_do_not_lose_the_picture():
    raw = packed(PIXELS, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    assert decode(raw).shape == PIXELS.shape


def test_a_very_wide_jpeg_is_reduced_while_it_is_decoded():
    wide = np.repeat(np.array([[[250, 0, 0]], [[0, 0, 250]]], np.uint8), 20_000, axis=1).repeat(1_500, axis=0)
    found = decode(packed(wide, "JPEG"))
    assert found.shape == (1_500, 10_000, 3)
    assert found.shape[0] * found.shape[1] <= MOST_PIXELS < wide.shape[0] * wide.shape[1]
    assert np.abs(found[:700].mean((0, 1)) - [250, 0, 0]).max() < 4
    assert np.abs(found[800:].mean((0, 1)) - [0, 0, 250]).max() < 4


def test_a_large_picture_is_reduced_to_what_the_smallest_crop_needs():
    found = decode(packed(np.full((2_500, 3_300, 3), 90, np.uint8), "PNG"))
    assert found.shape == (1_250, 1_650, 3)
    assert min(found.shape[:2]) >= ENOUGH
    assert (found == 90).all()
    assert decode(packed(np.zeros((2_047, 2_100, 3), np.uint8), "BMP")).shape == (2_047, 2_100, 3)


def test_a_long_thin_picture_keeps_its_size():
    assert decode(packed(np.zeros((40, 20_000, 3), np.uint8), "PNG")).shape == (40, 20_000, 3)


def bomb() -> bytes:
    """A picture of 40,000 x 40,000 pixels in a few kilobytes."""
    blank = packed(np.zeros((2, 2), np.uint8), "PNG")
    header = struct.pack(">II", 40_000, 40_000) + blank[24:29]
    return blank[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + blank[33:]


def scans(count: int) -> bytes:
    """A progressive JPEG with its last scan `count` times more."""
    raw = packed(PIXELS, "JPEG", progressive=True)
    last = raw[raw.rfind(b"\xff\xda") : -2]
    return raw[:-2] + last * count + raw[-2:]


HUGE = Image.new("RGB", (20_000, 1_300))
REFUSED = {
    "nothing": (b"", "it is empty"),
    "text": (b"this is no picture, it only has a picture's name", "it is not an image"),
    "a program for a printer": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "it is not an image"),
    "half a JPEG": (packed(PIXELS, "JPEG")[:-40], "it is cut short"),
    "half a PNG": (packed(PIXELS, "PNG")[:400], "it is cut short"),
    "half a GIF": (packed(PIXELS, "GIF")[:900], "it is cut short"),
    "the beginning of a JPEG": (packed(PIXELS, "JPEG")[:40], "it is cut short"),
    "a spoilt PNG": (packed(PIXELS, "PNG")[:60] + b"\xff" * 100, "it cannot be read ("),
    "one pixel": (packed(np.zeros((1, 1, 3), np.uint8), "PNG"), "it has only 1 x 1 pixels"),
    "one row": (packed(np.zeros((1, 50, 3), np.uint8), "PNG"), "it has only 50 x 1 pixels"),
    "20,000 pixels wide, whole": (packed(HUGE, "PNG"), "it has 20,000 x 1,300 pixels; at most 25 million"),
    "20,000 pixels wide, progressive": (packed(HUGE, "JPEG", progressive=True), "it has 20,000 x 1,300 pixels"),
    "a JPEG of 20,000 scans": (scans(20_000), "it has more than 200 scans"),
    "a picture of a telephone": (b"\0\0\0\x18ftypheic" + bytes(40), "it is a picture in HEIC, which Pillow cannot"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
    "a bomb": (bomb(), "it has too many pixels"),
    "numbers of 32 bits": (packed(Image.new("F", (9, 9)), "TIFF"), "its pixels are 32-bit numbers"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_used_says_why(kind):
    raw, reason = REFUSED[kind]
    with pytest.raises(UnusableImage) as caught:
        decode(raw)
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


def test_spoilt_bytes_end_in_a_reason_never_in_another_error():
    rng = np.random.default_rng(3)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"):
        raw = np.frombuffer(packed(PIXELS, kind), np.uint8)
        for _ in range(40):
            spoilt = raw.copy()
            spoilt[rng.integers(0, len(raw), 6)] = rng.integers(0, 256, 6)
            try:
                assert decode(spoilt.tobytes()).shape[2] == 3
            except UnusableImage as error:
                assert str(error)
