"""The upper half of the Embedding page: which cut, its headline, what the projection shows, and the projection."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from numpy.typing import NDArray

from snapvit import figures
from snapvit.evaluation.paired import compare, describe
from snapvit.formats import decimal, percent, ratio, signed
from snapvit.jobs.tasks import StageTask
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION
from snapvit.pipeline.table import of_cut
from snapvit.ui.components.embedding_projection import ProjectionWords, embedding_projection
from snapvit.ui.embedding.neighbour_panel import pick
from snapvit.ui.embedding.neighbours import NEWLY_RIGHT, NEWLY_WRONG
from snapvit.ui.embedding.projection_view import (
    ALL_CLASSES,
    ALL_IMAGES,
    ProjectionView,
    chosen_projection,
    class_places,
    outcome_choices,
    projection_groups,
    projection_points,
    projection_table,
    shown,
)
from snapvit.ui.flow import flowing_columns
from snapvit.ui.numbers import Number, number_row
from snapvit.ui.offer import offer
from snapvit.ui.published import what_scores_lack
from snapvit.ui.selection import Selection, change, put_setting, setting, setting_key
from snapvit.ui.sparsity_slider import sparsity_slider
from snapvit.ui.tables import csv_button

COLOURS = ("class", "outcome")
CHOSEN = "chosen_images"  # session key: the run, and image ids of the last lasso
HOW = """\
UMAP lays out the full model's features by cosine. The cut model's layout starts where every image already is and is
then refined on the cut features with a gentle step, so both are one projection, and the full model's half is the same
for every cut.

Other ways were tried on the bundled run, looking at the tenth of the images whose neighbours changed least, in shares
of the projection's spread. Refined in this way they move by 0.05 at 65 % and 0.20 at 95 %. Fitted both at once
(AlignedUMAP) they move by 0.05 and 0.36, in several times the time, on a projection of the full model that differs from
cut to cut, and with fewer true neighbours side by side at 95 % (32 % of them, against 35 %). Fitted each alone, then
turned to match, they move by 0.36 and 0.58.

Small motions inside a group are partly chance. Read a point's way together with its neighbours below, which are exact.
"""


@dataclass(frozen=True)
class Choice:
    """What the projection shows and how."""

    by_outcome: bool
    class_name: str  # one class, or ALL_CLASSES
    which: str  # one of `outcome_choices`

    @property
    def only(self) -> str | None:
        """Name of the group that the legend shows as chosen."""
        name, everything = (self.which, ALL_IMAGES) if self.by_outcome else (self.class_name, ALL_CLASSES)
        return None if name == everything else name


def cut_to_show(results: RunResults, selection: Selection) -> ProjectionView:
    """The slider, and the projection of its cut; else an offer to compute it, and the end of the page.

    Where nobody chose a cut yet, it is the computed one that is nearest.
    """
    if results.imported:
        st.info(what_scores_lack(results), icon=":material/info:")
        st.stop()
    pair = path_pair(selection.sparsity)
    view, pairs = chosen_projection(results, pair)
    if selection.untouched and view is not None:
        change(sparsity=view.pair[0])
        st.rerun()
    left, right = flowing_columns([3, 2], 300, key="projected_cut", align="center")
    with left:
        sparsity_slider(selection)
    with right:
        _computed(pairs, pair)
    if view is None or view.pair != pair:
        evaluation, how = results.request.config.evaluation, " corrected" if results.correct else ""
        images = evaluation.gallery + evaluation.queries
        offer(
            StageTask(results.summary.run, (Want(of_cut(EMBEDDING_PROJECTION, results.correct), pair),)),
            f"The features of the cut at **{ratio(selection.sparsity)}{how}** are not computed yet: embeddings, "
            f"neighbours and a layout of up to {images:,} images, about a minute for the bundled model.",
            "Compute this projection",
            icon=":material/scatter_plot:",
            key="compute_projection",
        )
        st.stop()
    return view


def _computed(pairs: list[tuple[float, float]], shown: tuple[float, float]) -> None:
    """Buttons to the cuts that are computed."""
    if not pairs:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("Computed cuts:", width="content")
        for mlp, heads in pairs:
            if path_pair(mlp) == (mlp, heads):
                st.button(
                    ratio(mlp),
                    key=f"cut_{mlp:g}",
                    type="primary" if (mlp, heads) == shown else "secondary",
                    on_click=change,
                    kwargs={"sparsity": mlp},
                )


def headline(view: ProjectionView, corrected: bool) -> None:
    """What the cut does to the neighbours, in numbers."""
    found = view.found
    st.header(f"The cut at {view.percent}{', corrected' if corrected else ''}")
    kept = Number("Neighbours kept", decimal(view.stayed.mean(), 1), f"of {found.k}, on average")
    of = f"of {found.queries:,} queries"
    if view.outcome is None:
        number_row([kept, Number("All kept", f"{(view.stayed == found.k).sum():,}", of)], "headline", 110)
        st.caption("The images have no labels: there are no classes and no right or wrong answers, only neighbours.")
        return
    counts = [int((view.outcome == kind).sum()) for kind in range(len(figures.OUTCOMES))]
    truth = found.labels[found.gallery :]
    right, was = (int((named == truth).sum()) for named in (view.after, view.before))
    numbers = [
        Number("k-NN top-1", percent(right / len(truth)), f"{signed((right - was) / len(truth))} points"),
        kept,
        Number("Newly wrong", f"{counts[NEWLY_WRONG]:,}", of),
        Number("Newly right", f"{counts[NEWLY_RIGHT]:,}", of),
    ]
    number_row(numbers, "headline", 110)
    st.caption(
        f"Top-1 of the cut beside the full model's {percent(was / len(truth))}, query by query: "
        f"{describe(compare(view.before == truth, view.after == truth))}."
    )


def narrow(view: ProjectionView) -> tuple[NDArray, Choice]:
    """Controls of the projection: colours, class, kind of image. Returns the mask (N,) of images shown, the choice."""
    kinds = outcome_choices(view)
    if not view.classes:
        which = setting("only", kinds, ALL_IMAGES)
        st.segmented_control("Show", kinds, default=which, key=setting_key("only"), required=True)
        return shown(view, ALL_CLASSES, which), Choice(False, ALL_CLASSES, which)
    names = [ALL_CLASSES, *view.classes]
    colour, class_name = setting("colour", COLOURS, COLOURS[0]), setting("class", names, ALL_CLASSES)
    which = setting("only", kinds, ALL_IMAGES)
    columns = flowing_columns([2, 3, 3], 150, key="projection_controls", align="bottom")
    columns[0].segmented_control("Colour by", COLOURS, default=colour, key=setting_key("colour"), required=True)
    columns[1].selectbox(
        "Class",
        names,
        names.index(class_name),
        key=setting_key("class"),
        help="Type to search; the other classes turn grey",
    )
    columns[2].selectbox(
        "Images",
        kinds,
        kinds.index(which),
        key=setting_key("only"),
        help="Outcomes are those of queries; the rest turns grey",
    )
    return shown(view, class_name, which), Choice(colour == "outcome", class_name, which)


def show_projection(
    view: ProjectionView, results: RunResults, mask: NDArray, choice: Choice, image: int
) -> tuple[int, ...]:
    """Draw the projection with its caption and download; returns the ids of the lassoed images."""
    found, run = view.found, results.summary.run
    of_run, ids = st.session_state.get(CHOSEN, (run, ()))
    chosen = tuple(image for image in ids if of_run == run and image in view.row_of)
    groups, legend = projection_groups(view, choice.by_outcome)
    cut = f"cut at {view.percent}" + (", corrected" if results.correct else "")
    file = f"{run}-embedding-{view.pair[0]:g}" + ("-corrected" if results.correct else "")
    words = ProjectionWords(
        title="Where the cut moves each image",
        cut=f"{cut[0].upper()}{cut[1:]}",
        alt=f"Projection of {len(found.ids)} images by the features of the full model and of the {cut}; "
        f"{int(mask.sum())} are shown, the others grey. Arrow keys move it, plus and minus zoom. The images can also "
        "be chosen from the list below.",
        hint="Drag around points to see their images; click one to see its neighbours; hold Ctrl and turn the wheel to "
        "zoom.",
        below="their thumbnails are below the projection.",
        file=file,
    )
    embedding_projection(
        projection_points(view, choice.by_outcome, mask),
        groups,
        legend,
        class_places(view, choice.class_name) if not choice.by_outcome else (),
        view.classes,
        words,
        choice.only,
        image,
        chosen,
        key="projection",
        on_picked=pick,
        on_chosen=lambda ids: _keep(run, ids),
        on_isolated=lambda name: _isolate(choice, name),
    )
    repeat = " Colours repeat after ten classes: choose a class above to see it alone." if not legend else ""
    st.caption(
        f"Each point is an image, {found.gallery:,} of the gallery and {found.queries:,} queries. Points that lie "
        "close together have similar features; the axes and the distances between far groups mean little. A point that "
        f"travels far got other neighbours.{repeat}"
    )
    csv_button(
        lambda: projection_table(view), file, "csv_projection", help="Every image with its places, class and answers"
    )
    with st.expander("How this projection is made"):
        st.markdown(HOW)
    return chosen


def _keep(run: str, ids: tuple[int, ...]) -> None:
    st.session_state[CHOSEN] = (run, ids)


def _isolate(choice: Choice, name: str | None) -> None:
    """A name in the legend was clicked: the box above the projection that it belongs to follows."""
    name_of_setting, everything = ("only", ALL_IMAGES) if choice.by_outcome else ("class", ALL_CLASSES)
    put_setting(name_of_setting, everything if name is None else name)
