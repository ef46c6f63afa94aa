"""Decoding: the bytes of any picture file to RGB pixels, or the reason why there are none. No torch."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray

# Importing a format makes Pillow know it; every other one, with its decoder, is left out.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    features,
)

if features.check("avif"):  # not in every build of Pillow
    from PIL import AvifImagePlugin

Pixels = NDArray[np.uint8]  # (h, w, 3), red first

FORMATS = [
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.BmpImageFile,
        WebPImagePlugin.WebPImageFile,
        TiffImagePlugin.TiffImageFile,
        PpmImagePlugin.PpmImageFile,
        *([Jpeg2KImagePlugin.Jpeg2KImageFile] if features.check("jpg_2000") else []),
        *([AvifImagePlugin.AvifImageFile] if features.check("avif") else []),
    )
]
# Formats that cameras and hubs use and Pillow may not know, by the brand in their first bytes.
BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF", b"avis": "AVIF"}
LEAST_SIDE = 2  # pixels; nothing can be seen in less
# The smallest crop, 5 % of an image whose shorter side is this, still has the 224 pixels of a usual model's input.
ENOUGH = 1024
MOST_SCANS = 200  # of a progressive JPEG: each goes over the whole picture; encoders make about ten
MOST_PIXELS = 25_000_000  # held at once while decoding: 75 MB as RGB, 100 MB with transparency

# Refused by MOST_PIXELS, which is lower than the size at which Pillow warns.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# What a generator was told is kept in a PNG beside the picture, and may be long; all of it together stays bounded.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


class UnusableImage(Exception):
    """These bytes are no picture to work with; the message says why, in a few words."""


def decode(raw: bytes) -> Pixels:
    """Pixels (h, w, 3) of a picture file, upright, its first frame, on white where it is transparent.

    A picture whose shorter side is at least twice `ENOUGH` is reduced by a whole factor, a baseline JPEG already
    while it is decoded. Raises UnusableImage.
    """
    if not raw:
        raise UnusableImage("it is empty")
    try:
        image = _identify(raw)
        format_name = image.format
        if min(image.size) < LEAST_SIDE:
            raise UnusableImage(f"it has only {image.width} x {image.height} pixels")
        _shrink_before_decoding(image)
        image.load()
        image = _to_rgb(_upright(image), format_name)
    except UnusableImage:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        too_large = isinstance(error, Image.DecompressionBombError)
        raise UnusableImage("it has too many pixels" if too_large else _instead(raw)) from error
    except Exception as error:  # decoders raise many types for a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0][:100]
        cut_short = "truncated" in reason.lower()
        raise UnusableImage("it is cut short" if cut_short else f"it cannot be read ({reason})") from error
    factor = min(image.size) // ENOUGH
    return np.array(image.reduce(factor) if factor > 1 else image)


def _identify(raw: bytes) -> Image.Image:
    if raw.startswith(b"\xff\xd8\xff"):
        if raw.count(b"\xff\xda") > MOST_SCANS:  # the mark of a scan; within one, no such bytes can be
            raise UnusableImage(f"it has more than {MOST_SCANS} scans, which no camera or program makes")
        # Pillow's own limit on the size as stored does not apply: only what is left after shrinking is ever held.
        return JpegImagePlugin.JpegImageFile(io.BytesIO(raw))
    return Image.open(io.BytesIO(raw), formats=FORMATS)


def _instead(raw: bytes) -> str:
    """What a file is that no reader of pictures knows."""
    brand = BRANDS.get(raw[8:12]) if raw[4:8] == b"ftyp" else None
    if brand is not None:
        return f"it is a picture in {brand}, which Pillow cannot read here; convert it to JPEG or PNG"
    if raw.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the picture itself"
    return "it is not an image"


def _shrink_before_decoding(image: Image.Image) -> None:
    """Have a JPEG decoded at a fraction of its size where that is enough; refuse what stays too large."""
    stored, factor = image.size, 1
    while factor < 8 and (min(stored) // (2 * factor) >= ENOUGH or np.prod(stored) / factor**2 > MOST_PIXELS):
        factor *= 2  # libjpeg knows halves, quarters and eighths
    image.draft(image.mode, (stored[0] // factor, stored[1] // factor))
    # a progressive JPEG is held whole, as coefficients, whatever the size of its pixels
    width, height = stored if "progressive" in image.info else image.size
    if width * height > MOST_PIXELS:
        raise UnusableImage(
            f"it has {stored[0]:,} x {stored[1]:,} pixels; at most {MOST_PIXELS / 1e6:.0f} million can be decoded"
        )


def _to_rgb(image: Image.Image, format_name: str | None) -> Image.Image:
    # Pillow scales the numbers of a PGM, of however many bits, to 16
    if image.mode.startswith("I;16") or (image.mode == "I" and format_name == PpmImagePlugin.PpmImageFile.format):
        grey = np.asarray(image).astype(np.float32) / 257  # 65535 is white
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnusableImage("its pixels are 32-bit numbers, which do not say what white is")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata are no reason to lose the picture
        return image
