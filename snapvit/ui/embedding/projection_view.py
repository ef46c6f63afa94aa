"""What the Embedding page shows of one projection: its images' classes, answers and looks, and which are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from snapvit.artifacts import Ints
from snapvit.figures.embedding import GALLERY, OUTCOMES, Look, class_looks
from snapvit.formats import ratio
from snapvit.image_artifacts import EmbeddingProjection
from snapvit.pipeline.results import RunResults, StoredRun
from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION
from snapvit.pipeline.table import of_cut
from snapvit.ui.components.embedding_projection import Group, Place, ProjectionPoints
from snapvit.ui.embedding.neighbours import NEWLY_RIGHT, NEWLY_WRONG, STILL_RIGHT, outcomes, predictions, stayed
from snapvit.ui.resources import run_stamp, store

ALL_CLASSES, ALL_IMAGES, QUERIES = "all classes", "all images", "queries"
LEGEND_MOST = 12  # names beside the projection; more would push it off the screen
NO_CLASS = -1


@dataclass(frozen=True)
class ProjectionView:
    """A projection and what follows from it. Rows are images, the gallery first; arrays of M are of queries alone."""

    found: EmbeddingProjection
    pair: tuple[float, float]  # (mlp, heads) sparsities of its cut
    classes: tuple[str, ...]  # empty without labels
    before: Ints | None  # (M,) class that the full model's neighbours vote for
    after: Ints | None  # (M,)
    outcome: Ints | None  # (M,)
    stayed: Ints  # (M,) neighbours of the full model that the cut keeps
    row_of: dict[int, int]  # image id to row

    @property
    def percent(self) -> str:
        """The cut in words: `65 %`."""
        return ratio(self.pair[0])

    @property
    def labels(self) -> Ints:
        """(N,) class numbers, -1 without labels."""
        return np.full(len(self.found.ids), NO_CLASS) if self.found.labels is None else self.found.labels

    def query_of(self, image: int | None) -> int | None:
        """Index in [0, M) of the query with this image id."""
        row = self.row_of.get(image, -1)
        return row - self.found.gallery if row >= self.found.gallery else None

    def query_ids(self) -> Ints:
        """(M,) image ids."""
        return self.found.ids[self.found.gallery :]

    def class_name(self, number: int) -> str:
        """A class's name; empty without one."""
        return self.classes[number] if 0 <= number < len(self.classes) else ""

    def answer(self, query: int) -> str:
        """`Shirt → Coat`: what the full and the cut model call a query; empty without labels."""
        return "" if self.before is None else " → ".join(self.class_name(a[query]) for a in (self.before, self.after))

    def example(self, mask: NDArray[np.bool_]) -> int:
        """Image id of a telling query among the shown ones: newly wrong if one is, with the fewest neighbours left."""
        among = mask[self.found.gallery :]
        among = among if among.any() else np.ones_like(among)
        if self.outcome is not None and (among & (self.outcome == NEWLY_WRONG)).any():
            among = among & (self.outcome == NEWLY_WRONG)
        return int(self.query_ids()[np.where(among, self.stayed, self.found.k + 1).argmin()])


def chosen_projection(
    results: RunResults, pair: tuple[float, float]
) -> tuple[ProjectionView | None, list[tuple[float, float]]]:
    """The view of the cut `pair`, else of the nearest one that is computed; and the pairs of all that are."""
    run = results.summary.run
    stage = of_cut(EMBEDDING_PROJECTION, results.correct)
    pairs = results.stored.asked(stage)
    for near in sorted(pairs, key=lambda p: abs(p[0] - pair[0]) + abs(p[1] - pair[1])):
        view = _view(str(store().root), run, run_stamp(run), near, results.correct, results.facts.classes)
        if view is not None:
            return view, pairs
    return None, []


# The stamp makes a changed manifest a new entry; readers share the arrays, which nobody writes to.
@st.cache_resource(show_spinner=False, max_entries=8)
def _view(
    root: str, run: str, stamp: int, pair: tuple[float, float], correct: bool, classes: tuple[str, ...]
) -> ProjectionView | None:
    found = StoredRun.open(store(), run).load(of_cut(EMBEDDING_PROJECTION, correct), *pair)
    return None if found is None else view_of(found, pair, classes)


def view_of(found: EmbeddingProjection, pair: tuple[float, float], classes: tuple[str, ...]) -> ProjectionView:
    """Everything that follows from a projection."""
    named = predictions(found)
    truth = None if found.labels is None else found.labels[found.gallery :]
    return ProjectionView(
        found=found,
        pair=pair,
        classes=classes if found.labels is not None else (),
        before=named[0] if named else None,
        after=named[1] if named else None,
        outcome=outcomes(truth, *named) if named else None,
        stayed=stayed(found).sum(axis=1),
        row_of={image: row for row, image in enumerate(found.ids.tolist())},
    )


def outcome_choices(view: ProjectionView) -> list[str]:
    """What the images can be narrowed to."""
    return [ALL_IMAGES, GALLERY.name, QUERIES, *([look.name for look in OUTCOMES] if view.outcome is not None else [])]


def shown(view: ProjectionView, class_name: str, which: str) -> NDArray[np.bool_]:
    """(N,) the images of that class and that kind."""
    mask = np.ones(len(view.found.ids), bool)
    if class_name in view.classes:
        mask &= view.labels == view.classes.index(class_name)
    if which == GALLERY.name:
        mask[view.found.gallery :] = False
    elif which != ALL_IMAGES:
        mask[: view.found.gallery] = False
    names = [look.name for look in OUTCOMES]
    if which in names and view.outcome is not None:
        mask[view.found.gallery :] &= view.outcome == names.index(which)
    return mask


def projection_points(view: ProjectionView, by_outcome: bool, mask: NDArray[np.bool_]) -> ProjectionPoints:
    """The projection's points, grouped by outcome or by class, those of the mask shown."""
    found, labels = view.found, view.labels
    gallery = np.zeros(found.gallery, np.int64)
    if by_outcome and view.outcome is not None:
        group = np.concatenate([gallery, 1 + view.outcome])
    elif view.classes:
        group = labels % 10 if len(view.classes) > LEGEND_MOST else labels
    else:
        group = np.concatenate([gallery, np.ones(found.queries, np.int64)])
    full, cut = (layout.astype(np.float32) for layout in (found.full_layout, found.cut_layout))
    return ProjectionPoints(found.ids, full, cut, group, mask, labels, view.before, view.after, found.gallery)


def projection_groups(view: ProjectionView, by_outcome: bool) -> tuple[tuple[Group, ...], tuple[int, ...]]:
    """The looks that `projection_points` refers to, and which of them the legend names."""
    if by_outcome and view.outcome is not None:
        looks = [_group(GALLERY, 0.75, 0), *(_group(look, 1.15, _layer(i)) for i, look in enumerate(OUTCOMES))]
    elif len(view.classes) > LEGEND_MOST:
        return tuple(_group(look, 1.0, 0) for look in class_looks(view.classes[:10])), ()
    elif view.classes:
        looks = [_group(look, 1.0, 0) for look in class_looks(view.classes)]
    else:
        looks = [_group(GALLERY, 0.75, 0), _group(Look(QUERIES, OUTCOMES[0].light, OUTCOMES[0].dark), 1.1, 1)]
    return tuple(looks), tuple(range(len(looks)))


def _layer(outcome: int) -> int:
    """What changed lies on top of what did not."""
    return {STILL_RIGHT: 1, NEWLY_RIGHT: 3, NEWLY_WRONG: 4}.get(outcome, 2)


def _group(look: Look, size: float, layer: int) -> Group:
    return Group(look.name, look.light, look.dark, look.shape, size, layer)


def class_places(view: ProjectionView, class_name: str) -> tuple[Place, ...]:
    """Names for the projection: of the class that is shown alone, or of all where they are few."""
    names = (class_name,) if class_name in view.classes else view.classes
    if len(names) > LEGEND_MOST:
        return ()
    return tuple(
        Place(name, _middle(view.found.full_layout[rows]), _middle(view.found.cut_layout[rows]))
        for name in names
        if (rows := view.labels == view.classes.index(name)).any()
    )


def _middle(places: NDArray[np.floating]) -> tuple[float, float]:
    """The place nearest to the median: a name between two islands would name neither."""
    places = places.astype(np.float64)
    at = np.square(places - np.median(places, axis=0)).sum(axis=1).argmin()
    return float(places[at, 0]), float(places[at, 1])


def projection_table(view: ProjectionView) -> pd.DataFrame:
    """Every image with its places, class and answers."""
    found = view.found
    table = pd.DataFrame({"Image": found.ids, "Part": "gallery"})
    table.loc[found.gallery :, "Part"] = "query"
    if view.classes:
        table["Class"] = [view.class_name(number) for number in view.labels]
    for name, layout in (("full", found.full_layout), ("cut", found.cut_layout)):
        table[f"UMAP 1, {name}"], table[f"UMAP 2, {name}"] = layout.astype(np.float64).T
    if view.outcome is not None:
        for name, named in (("Named by full", view.before), ("Named by cut", view.after)):
            table.loc[found.gallery :, name] = [view.class_name(number) for number in named]
        table.loc[found.gallery :, "Outcome"] = [OUTCOMES[number].name for number in view.outcome]
    table.loc[found.gallery :, f"Neighbours kept of {found.k}"] = view.stayed
    return table


def query_table(view: ProjectionView) -> pd.DataFrame:
    """Every query with what became of its neighbours and its answer."""
    table = projection_table(view).iloc[view.found.gallery :]
    return table[[name for name in table.columns if not name.startswith("UMAP") and name != "Part"]]
