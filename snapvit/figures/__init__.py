"""Figures: artifacts in, plotly figures out. No Streamlit, no files, no recomputation."""

from snapvit.figures.heads import MEASURES, head_map
from snapvit.figures.kept import cost_curves, kept_by_block
from snapvit.figures.method import (
    factor_map,
    generation_ranks,
    image_gradients,
    kept_map,
    ordered_scores,
    softmax_pair,
)
from snapvit.figures.published import published_curves
from snapvit.figures.search import fitness_curve
from snapvit.figures.sparsity import accuracy_curve, cosine_curve

__all__ = [
    "MEASURES",
    "accuracy_curve",
    "cosine_curve",
    "cost_curves",
    "factor_map",
    "fitness_curve",
    "generation_ranks",
    "head_map",
    "image_gradients",
    "kept_by_block",
    "kept_map",
    "ordered_scores",
    "published_curves",
    "softmax_pair",
]
