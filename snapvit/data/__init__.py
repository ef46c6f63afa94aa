"""Images: where they come from, how they are split, and the views the method takes of them."""

from snapvit.data.pixels import PixelTable, pixel_table
from snapvit.data.sources import ImageSource, open_source
from snapvit.data.splits import Split, split_source
from snapvit.data.views import ViewSpec, multi_crop, view_batches

__all__ = [
    "ImageSource",
    "PixelTable",
    "Split",
    "ViewSpec",
    "multi_crop",
    "open_source",
    "pixel_table",
    "split_source",
    "view_batches",
]
