"""The live slider as pages draw it: on the selected run, at the selected cut."""

from __future__ import annotations

import streamlit as st

from snapvit.pipeline.path import never_seen, no_accuracy
from snapvit.pipeline.results import RunResults
from snapvit.ui.axis import is_zoomed, zoom
from snapvit.ui.components.live_sparsity import live_sparsity
from snapvit.ui.names import as_markdown
from snapvit.ui.resources import chosen_live_data
from snapvit.ui.selection import Selection, change


def live_cut(results: RunResults, selection: Selection) -> float:
    """Draw the slider of a run with a ranking; returns the thumb's step, which the selection is brought to as well."""
    live = chosen_live_data(results)
    sparsity = live.snap(selection.sparsity)
    if sparsity != selection.sparsity:  # from an address or other modes; sidebar, links and page speak of one cut
        change(sparsity=sparsity)
        st.rerun()
    live_sparsity(
        live,
        sparsity,
        "live",
        on_release=lambda released: change(sparsity=released),
        file=f"{selection.run}-sparsity",
        zoomed=is_zoomed(),
        on_zoom=zoom,
    )
    return sparsity


def how_to_read(results: RunResults) -> str:
    """What the slider does and what the accuracy is of, or why there is none and what would change that."""
    return "Drag the thumb: the model shrinks along the paper's path, heads 15 points behind the neurons. " + " ".join(
        [_accuracy_note(results), *map(as_markdown, results.facts.notes)]
    )


def _accuracy_note(results: RunResults) -> str:
    missing = no_accuracy(results)
    if missing is None and never_seen(results):
        return "Accuracy is that of k-NN on images the model was never trained on."
    if missing is None:
        return "Accuracy is that of k-NN on images that had no part in choosing what goes."
    return (
        f"{missing}, so k-NN has no accuracy to give; shown instead is how close the embeddings stay to the full "
        "model's. For an accuracy, run on a folder with a folder of images for each of at least two classes."
    )
