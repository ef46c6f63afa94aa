"""Small pictures of a source's images, by image id, for pages. No torch."""

from __future__ import annotations

import base64
import io

from PIL import Image

from snapvit.data.image_source import ImageSource


def thumbnail(source: ImageSource, index: int, size: int = 112) -> Image.Image:
    """Image `index`, its longer side at most `size` pixels: enlarged by a whole factor if small, else shrunk smoothly.

    Raises InputError where the image's file changed since the source was opened.
    """
    image = Image.fromarray(source.image(index))
    longer = max(image.size)
    if longer <= size:
        factor = size // longer
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    fitted = [max(1, round(side * size / longer)) for side in image.size]
    return image.resize((fitted[0], fitted[1]), Image.Resampling.LANCZOS)


def thumbnail_url(source: ImageSource, index: int, size: int = 112) -> str:
    """The thumbnail as a `data:` URL, which browsers show without asking the server.

    A small image goes as it is, without loss, for the page to enlarge; a shrunk one a third of a PNG's size.
    """
    image, buffer = Image.fromarray(source.image(index)), io.BytesIO()
    if max(image.size) <= size:
        image.save(buffer, "WEBP", lossless=True, method=6)
    else:
        thumbnail(source, index, size).save(buffer, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
