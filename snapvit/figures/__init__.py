"""Figures: artifacts in, plotly figures out. No Streamlit, no files, no recomputation."""

from snapvit.figures.attention import attention_overlay
from snapvit.figures.heads import MEASURES, head_map
from snapvit.figures.neurons import kept_share, neuron_profile
from snapvit.figures.ratios import CostGrid, ratio_plane
from snapvit.figures.search import fitness_curve
from snapvit.figures.sparsity import accuracy_curve

__all__ = [
    "MEASURES",
    "CostGrid",
    "accuracy_curve",
    "attention_overlay",
    "fitness_curve",
    "head_map",
    "kept_share",
    "neuron_profile",
    "ratio_plane",
]
