"""Figures: artifacts in, plotly figures out. No Streamlit, no files, no recomputation."""

from snapvit.figures.heads import MEASURES, head_map
from snapvit.figures.kept import cost_curves, kept_by_block
from snapvit.figures.published import published_curves
from snapvit.figures.search import fitness_curve
from snapvit.figures.sparsity import accuracy_curve, cosine_curve

__all__ = [
    "MEASURES",
    "accuracy_curve",
    "cosine_curve",
    "cost_curves",
    "fitness_curve",
    "head_map",
    "kept_by_block",
    "published_curves",
]
