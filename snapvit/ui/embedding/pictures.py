"""Small pictures of a run's images, by image id."""

from __future__ import annotations

import streamlit as st

from snapvit.data.thumbnails import thumbnail_url
from snapvit.errors import InputError
from snapvit.ui.run.image_picker import image_source


@st.cache_data(show_spinner=False, max_entries=4000)
def picture_url(data: str, image: int) -> str:
    """The image as a `data:` URL; empty where the source or the image can no longer be read."""
    try:
        return thumbnail_url(image_source(data), image)
    except InputError:
        return ""
