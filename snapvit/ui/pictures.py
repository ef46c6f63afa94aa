"""Small pictures of a run's images, by image id."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import streamlit as st

from snapvit.errors import InputError

if TYPE_CHECKING:
    from snapvit.data.sources import ImageSource


@st.cache_data(show_spinner=False, max_entries=4000)
def picture_url(data: str, image: int) -> str:
    """The image as a `data:` URL; empty where the source or the image can no longer be read."""
    from PIL import Image

    try:
        picture = Image.fromarray(_source(data).image(image).numpy().transpose(1, 2, 0))
    except InputError:
        return ""
    buffer = io.BytesIO()
    picture.thumbnail((112, 112))
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@st.cache_resource(show_spinner=False, max_entries=2)
def _source(data: str) -> ImageSource:
    from snapvit.data.sources import open_source

    return open_source(data)
