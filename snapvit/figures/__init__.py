"""Figures: artifacts in, plotly figures out. No Streamlit, no files, no recomputation."""

from snapvit.figures.attention import attention_overlay
from snapvit.figures.cka import TITLES as CKA_TITLES
from snapvit.figures.cka import block_map, cka_map, pair_scatter
from snapvit.figures.comparison import AXES as COMPARISON_AXES
from snapvit.figures.comparison import Gap, Line, contender_curves, contender_gaps, search_fitness, search_gain
from snapvit.figures.correlation import AgreementCurve, chance_curve, correlation_player, frame_generations, spectrum
from snapvit.figures.embedding import OUTCOMES, kept_neighbours
from snapvit.figures.heads import MEASURES, head_map, head_marks
from snapvit.figures.interactions import SHOWN_PAIRS, PairCloud, agreement_scatter, interaction_map
from snapvit.figures.kept import cost_curves, kept_by_block
from snapvit.figures.method import (
    accuracy_by_class,
    factor_map,
    generation_ranks,
    guessed_and_measured,
    image_gradients,
    kept_map,
    ordered_scores,
    scores_by_block,
    softmax_pair,
)
from snapvit.figures.names import as_plotly, shortened
from snapvit.figures.neurons import kept_share, neuron_profile, share_marks
from snapvit.figures.published import published_curves
from snapvit.figures.ratios import CostGrid, ratio_plane
from snapvit.figures.search import fitness_curve
from snapvit.figures.structure_diff import structure_figure, structure_rows
from snapvit.figures.structures import StructureOrder, pair_marks

__all__ = [
    "CKA_TITLES",
    "COMPARISON_AXES",
    "MEASURES",
    "OUTCOMES",
    "SHOWN_PAIRS",
    "AgreementCurve",
    "CostGrid",
    "Gap",
    "Line",
    "PairCloud",
    "StructureOrder",
    "accuracy_by_class",
    "agreement_scatter",
    "as_plotly",
    "attention_overlay",
    "block_map",
    "chance_curve",
    "cka_map",
    "contender_curves",
    "contender_gaps",
    "correlation_player",
    "cost_curves",
    "factor_map",
    "fitness_curve",
    "frame_generations",
    "generation_ranks",
    "guessed_and_measured",
    "head_map",
    "head_marks",
    "image_gradients",
    "interaction_map",
    "kept_by_block",
    "kept_map",
    "kept_neighbours",
    "kept_share",
    "neuron_profile",
    "ordered_scores",
    "pair_marks",
    "pair_scatter",
    "published_curves",
    "ratio_plane",
    "scores_by_block",
    "search_fitness",
    "search_gain",
    "share_marks",
    "shortened",
    "softmax_pair",
    "spectrum",
    "structure_figure",
    "structure_rows",
]
