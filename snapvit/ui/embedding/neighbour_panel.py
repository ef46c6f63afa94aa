"""The images that were chosen on the projection, and one query's neighbours before and after the cut."""

from __future__ import annotations

import numpy as np
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Ints
from snapvit.ui.components.picture_board import Card, picture_board
from snapvit.ui.controlled import controlled
from snapvit.ui.embedding.neighbours import NEWLY_RIGHT, NEWLY_WRONG, STILL_RIGHT, STILL_WRONG, stayed, was_there
from snapvit.ui.embedding.pictures import picture_url
from snapvit.ui.embedding.projection_view import ProjectionView
from snapvit.ui.flow import flowing_columns
from snapvit.ui.names import as_markdown
from snapvit.ui.selection import change

MOST = 48  # thumbnails of a lasso
LISTED = 50  # queries in the box; a class or a kind of image narrows them, and every one has its number
CHANGED_FIRST = (NEWLY_WRONG, NEWLY_RIGHT, STILL_WRONG, STILL_RIGHT)


def pick(image: int) -> None:
    """Select an image, in a callback."""
    change(image=image)


def chosen_images(view: ProjectionView, data: str, ids: tuple[int, ...]) -> None:
    """Thumbnails of lassoed images: queries whose answer changed first, the gallery last."""
    rows = [view.row_of[image] for image in ids if image in view.row_of]
    if not rows:
        return
    rows.sort(key=lambda row: (_urgency(view, row), view.found.ids[row]))
    queries = sum(row >= view.found.gallery for row in rows)
    some = f" The first {MOST} are shown, changed answers first." if len(rows) > MOST else ""
    st.header("Chosen on the projection")
    st.markdown(
        f"{len(rows):,} image{'' if len(rows) == 1 else 's'}: {queries:,} queries, {len(rows) - queries:,} of the "
        f"gallery.{some} Click one to see its neighbours."
    )
    picture_board(
        [_card(view, data, row) for row in rows[:MOST]], "Images chosen on the projection", "chosen_board", pick
    )


def _urgency(view: ProjectionView, row: int) -> int:
    query = row - view.found.gallery
    if query < 0:
        return len(CHANGED_FIRST)
    return 0 if view.outcome is None else CHANGED_FIRST.index(view.outcome[query])


def _card(view: ProjectionView, data: str, row: int) -> Card:
    image, query = int(view.found.ids[row]), row - view.found.gallery
    title = view.class_name(view.labels[row]) or f"Image {image}"
    if query < 0:
        return Card(image, picture_url(data, image), title, (f"{image}, gallery",))
    mark, kind = "", ""
    if view.outcome is not None:
        mark = figures.OUTCOMES[view.outcome[query]].name
        kind = "right" if view.outcome[query] in (STILL_RIGHT, NEWLY_RIGHT) else "wrong"
    words = tuple(text for text in (f"{image}, query", view.answer(query)) if text)
    return Card(image, picture_url(data, image), title, words, mark, kind)


def choose_query(view: ProjectionView, mask: np.ndarray, image: int) -> None:
    """Controls that select an image: from a list of the queries shown on the projection, or by its number."""
    gallery = view.found.gallery
    rows = np.flatnonzero(mask[gallery:])
    rows = rows[np.argsort(view.stayed[rows], kind="stable")]
    listed, number = st.columns([3, 1], vertical_alignment="bottom")
    ids = [int(view.query_ids()[row]) for row in rows[:LISTED]]
    some = "" if len(rows) <= LISTED else f"; of them the first {LISTED}"
    if image in view.query_ids()[rows] and image not in ids:
        ids.append(image)
    listed.selectbox(
        f"One of the {len(rows):,} queries shown on the projection, those with the fewest neighbours left first{some}",
        ids,
        format_func=lambda i: _query_words(view, i),
        placeholder="Choose a query",
        **controlled("query_list", image if image in ids else None, pick, ids),
    )
    number.number_input("Image number", 0, 999_999_999, **controlled("image_number", image, pick))


def _query_words(view: ProjectionView, image: int) -> str:
    query = view.query_of(image)
    left = f"{view.stayed[query]} of {view.found.k} neighbours stay"
    if view.outcome is None:
        return f"{image}: {left}"
    name = view.class_name(view.labels[view.row_of[image]])
    return f"{image}: {name}, named {view.answer(query)}, {left}"


def neighbours(view: ProjectionView, data: str, image: int, is_example: bool) -> None:
    """The query's nearest gallery images in the full and in the cut model, what left and what entered marked."""
    query, found = view.query_of(image), view.found
    if query is None:
        _no_neighbours(view, data, image)
        return
    if is_example:
        st.caption(
            "Nothing is selected, so this is an example: of the queries shown, one that keeps the fewest neighbours."
        )
    kept = int(view.stayed[query])
    picture, words = flowing_columns([1, 5], 150, key="query")
    with picture:
        picture_board([_card(view, data, view.row_of[image])], f"Query {image}", "query_board")
    words.markdown(
        f"**{kept} of {found.k}** neighbours stay, {found.k - kept} leave and as many enter. {_votes(view, query)} "
        "Neighbours are the gallery images with the largest cosine in the full feature space, as k-NN uses them; the "
        "projection plays no part in them."
    )
    after = f"Neighbours after the {view.percent} cut"
    sides = (
        ("full", "Neighbours in the full model", found.full_neighbours, found.full_cosines, stayed(found), "leaves"),
        ("cut", after, found.cut_neighbours, found.cut_cosines, was_there(found), "enters"),
    )
    for side, title, rows, cosines, common, mark in sides:
        st.markdown(f"**{title}**, nearest first")
        cards = [
            _neighbour(view, data, int(row), float(cosine), "" if both else mark)
            for row, cosine, both in zip(rows[query], cosines[query], common[query], strict=True)
        ]
        picture_board(cards, title, f"{side}_board", small=True)


def _neighbour(view: ProjectionView, data: str, row: int, cosine: float, mark: str) -> Card:
    image = int(view.found.ids[row])
    title = view.class_name(view.labels[row]) or f"Image {image}"
    kind = {"leaves": "left", "enters": "entered"}.get(mark, "")
    return Card(image, picture_url(data, image), title, (f"cos {cosine:.3f}",), mark, kind)


def _votes(view: ProjectionView, query: int) -> str:
    if view.outcome is None:
        return "The images have no labels, so nothing is voted on."
    found = view.found
    truth = view.class_name(view.labels[found.gallery + query])

    def tally(rows: Ints, named: int) -> str:
        votes = int((view.labels[rows] == named).sum())
        return f"**{as_markdown(view.class_name(named))}** ({votes} of {found.k} votes)"

    before = tally(found.full_neighbours[query], view.before[query])
    after = tally(found.cut_neighbours[query], view.after[query])
    return (
        f"It is a **{as_markdown(truth)}**; the full model's neighbours call it {before}, the cut model's {after}: "
        f"{figures.OUTCOMES[view.outcome[query]].name}."
    )


def _no_neighbours(view: ProjectionView, data: str, image: int) -> None:
    row = view.row_of.get(image)
    if row is None:
        st.info(
            f"Image {image} is neither in the gallery nor a query of this run, so it is not on the projection. Choose "
            "one above, or click a point.",
            icon=":material/info:",
        )
        return
    found = view.found
    before, after = (int((rows == row).any(axis=1).sum()) for rows in (found.full_neighbours, found.cut_neighbours))
    picture, words = flowing_columns([1, 5], 150, key="query")
    with picture:
        picture_board([_card(view, data, row)], f"Image {image}", "query_board")
    words.markdown(
        f"Image {image} is in the gallery: it is what queries are compared with, and has no answer of its own. It is "
        f"among the {found.k} neighbours of **{before} queries** in the full model and of **{after}** after the cut."
    )
