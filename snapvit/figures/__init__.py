"""Figures: artifacts in, plotly figures out. No Streamlit, no files, no recomputation."""

from snapvit.figures.attention import attention_overlay
from snapvit.figures.heads import MEASURES, head_map
from snapvit.figures.kept import cost_curves, kept_by_block
from snapvit.figures.neurons import kept_share, neuron_profile
from snapvit.figures.published import published_curves
from snapvit.figures.ratios import CostGrid, ratio_plane
from snapvit.figures.search import fitness_curve
from snapvit.figures.sparsity import accuracy_curve

__all__ = [
    "MEASURES",
    "CostGrid",
    "accuracy_curve",
    "attention_overlay",
    "cost_curves",
    "fitness_curve",
    "head_map",
    "kept_by_block",
    "kept_share",
    "neuron_profile",
    "published_curves",
    "ratio_plane",
]
