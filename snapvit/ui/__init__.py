"""Streamlit helpers that the pages share: page set-up, selection, results, the job panel."""

from snapvit.environment import only_shows, prepare

prepare()

from snapvit.ui.figure import show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.glossary import about, page_title, prose, term, whole_glossary
from snapvit.ui.live_cut import how_to_read, live_cut
from snapvit.ui.offer import offer
from snapvit.ui.page import anything_here, onward, open_page, results_with
from snapvit.ui.resources import chosen_results
from snapvit.ui.selection import Selection, Structure, change, setting, setting_key
from snapvit.ui.sparsity_slider import sparsity_slider

__all__ = [
    "Selection",
    "Structure",
    "about",
    "anything_here",
    "change",
    "chosen_results",
    "flowing_columns",
    "how_to_read",
    "live_cut",
    "offer",
    "only_shows",
    "onward",
    "open_page",
    "page_title",
    "prose",
    "results_with",
    "setting",
    "setting_key",
    "show_figure",
    "sparsity_slider",
    "term",
    "whole_glossary",
]
