"""Models: how they are loaded and where their blocks keep neurons and heads."""

from snapvit.models.anatomy import Anatomy, BlockAnatomy, describe
from snapvit.models.embedding import embed, normalise_pixels
from snapvit.models.loading import LoadedModel, ModelSpec, load_model

__all__ = [
    "Anatomy",
    "BlockAnatomy",
    "LoadedModel",
    "ModelSpec",
    "describe",
    "embed",
    "load_model",
    "normalise_pixels",
]
