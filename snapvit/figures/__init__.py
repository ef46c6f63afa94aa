"""Figures: artifacts in, plotly figures out. No Streamlit, no files, no recomputation."""

from snapvit.figures.cka import TITLES as CKA_TITLES
from snapvit.figures.cka import block_map, cka_map, pair_scatter
from snapvit.figures.correlation import chance_curve, correlation_player, frame_generations, spectrum
from snapvit.figures.heads import MEASURES, head_map
from snapvit.figures.search import fitness_curve
from snapvit.figures.sparsity import accuracy_curve
from snapvit.figures.structures import StructureOrder

__all__ = [
    "CKA_TITLES",
    "MEASURES",
    "StructureOrder",
    "accuracy_curve",
    "block_map",
    "chance_curve",
    "cka_map",
    "correlation_player",
    "fitness_curve",
    "frame_generations",
    "head_map",
    "pair_scatter",
    "spectrum",
]
