"""Figures: artifacts in, plotly figures out. No Streamlit, no files, no recomputation."""

from snapvit.figures.heads import MEASURES, head_map
from snapvit.figures.search import fitness_curve
from snapvit.figures.sparsity import accuracy_curve

__all__ = ["MEASURES", "accuracy_curve", "fitness_curve", "head_map"]
