"""Attention of the full and the cut model, side by side, on example images or any other image of the source."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import AttentionMaps, Doubles, Ints
from snapvit.pipeline.attention import FULL, AttentionTask, stored_attention
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.results import RunResults
from snapvit.ui.controlled import controlled
from snapvit.ui.figure import show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.heads.structures import kept_heads
from snapvit.ui.offer import offer
from snapvit.ui.resources import store
from snapvit.ui.selection import Selection, change, setting

WAYS = {"head": "The selected head", "rollout": "Rollout through the whole model"}


def attention_panel(results: RunResults, selection: Selection) -> None:
    """What the selected head looks at, or the whole model by rollout, before and after the cut."""
    if results.ranking is None:
        return
    st.subheader("Where it looks")
    if results.imported:
        st.caption("This run has no weights, so there is no attention to show.")
        return
    head = (
        selection.head if selection.structure is not None and selection.structure.fits(results.facts.topology) else None
    )
    way = setting("look", list(WAYS), "head")
    left, right = flowing_columns([3, 2], 300, key="attention_controls", align="bottom")
    left.segmented_control("Attention of", list(WAYS), format_func=WAYS.__getitem__, key="look", required=True)
    right.text_input(
        "Image by its id",
        placeholder="an example is shown; type any id",
        help="A number from 0 on, in the order of the run's image source; a click on an example fills it in",
        **controlled("any_image", "" if selection.image is None else str(selection.image), _image_typed),
    )
    pair, run = path_pair(selection.sparsity), selection.run
    full, cut = (stored_attention(store(), run, p) for p in (FULL, pair))
    if full is None or cut is None:
        what = "The full model's attention is not computed yet" if full is None else "Not computed yet for this cut"
        offer(
            AttentionTask(run, *pair),
            f"{what}: it takes eight images through the full and the cut model, for all heads at once.",
            "Compute attention",
            icon=":material/visibility:",
            key="compute_attention",
        )
        if full is None:
            return
    if way == "head" and head is None:
        st.info("Select a head to see where it looks, or choose the rollout of the whole model.")
        return
    what, kept = _what(results, selection, way, head)
    _examples(full, cut, results, selection, (way, head, what))
    _one_image(full, cut, results, selection, (way, head, what))
    st.caption(_reading(full, way, kept))


def _what(results: RunResults, selection: Selection, way: str, head: tuple[int, int] | None) -> tuple[str, bool]:
    if way == "rollout":
        return "the whole model (rollout)", True
    kept = bool(kept_heads(results, selection.sparsity)[head])
    state = "kept" if kept else "removed"
    return f"block {head[0] + 1}, head {head[1] + 1}, {state} at {selection.sparsity:.1%}", kept


def _reading(maps: AttentionMaps, way: str, kept: bool) -> str:
    reader = (
        "the class token, which becomes the embedding,"
        if maps.by_class_token
        else "the patches, taken as queries and averaged,"
    )
    if way == "rollout":
        return (
            f"How much of each patch reaches {reader.rstrip(',')} through all blocks, by attention rollout (Abnar and "
            "Zuidema, 2020): heads averaged, the residual connection counted as much as the attention, blocks "
            "multiplied. It follows attention alone, not the MLPs, so it is a rough guide."
        )
    gone = "" if kept else " This cut removes the head, so it looks nowhere there any more."
    return (
        f"Share of its attention that {reader} gives to each patch, from the exact softmax weights. What is missing to "
        "100 % goes to tokens that are no patches. The cut model's head looks elsewhere only because the blocks before "
        f"it are cut too.{gone}"
    )


def _heat(maps: AttentionMaps | None, like: AttentionMaps, way: str, head: tuple[int, int] | None) -> Doubles:
    """(N, R, C) of the chosen way; NaN where it is not computed or the head is gone."""
    if maps is None:
        return np.full(like.rollout.shape, np.nan)
    chosen = maps.rollout if way == "rollout" else maps.heads[:, head[0], head[1]]
    return chosen.astype(np.float64)


def _names(maps: AttentionMaps, results: RunResults) -> list[str]:
    classes = results.facts.classes
    return [
        f"{classes[label]} · {image}" if label >= 0 and classes else f"image {image}"
        for image, label in zip(maps.images.tolist(), maps.labels.tolist(), strict=True)
    ]


def _examples(
    full: AttentionMaps,
    cut: AttentionMaps | None,
    results: RunResults,
    selection: Selection,
    shown: tuple[str, tuple[int, int] | None, str],
) -> None:
    way, head, what = shown
    heats = (_heat(full, full, way, head), _heat(cut, full, way, head))
    names, half = [_short(name) for name in _names(full, results)], -(-len(full.images) // 2)
    columns = flowing_columns(2, 420, key="attention_halves")
    for column, (chart, title, part) in zip(
        columns,
        (
            ("attention_examples", f"Attention of {what}", slice(half)),
            ("attention_examples_2", "The same on more images", slice(half, None)),
        ),
        strict=True,
    ):
        if len(full.images[part]) == 0:
            continue
        with column:
            show_figure(
                figures.attention_overlay(
                    full.pictures[part],
                    *(heat[part] for heat in heats),
                    names[part],
                    full.images[part].tolist(),
                    title,
                    _most(heats),
                    selection.image,
                ),
                key=chart,
                reading="Top: the picture, with its class and id. Below: the share of attention that each patch gets, "
                "in the full model and in this cut, on one scale of colours. Click a picture to see it large.",
                alt=f"Attention of {what} on {len(full.images[part])} images, full model and cut model",
                table=_frame(full.images[part], tuple(heat[part] for heat in heats)),
                file=f"{selection.run}-{chart.replace('_', '-')}",
                on_click=_image_clicked(chart),
            )


def _most(heats: tuple[Doubles, ...]) -> float:
    """The greatest share that is drawn, so that figures of the same heads have one scale."""
    return max(float(np.nanmax(heat)) for heat in heats if np.isfinite(heat).any())


def _short(name: str) -> str:
    """At most a column's width."""
    text, _, image = name.rpartition(" · ")
    return f"{text[:9]}<br>{image}" if text else name


def _frame(images: Ints, heats: tuple[Doubles, ...]) -> pd.DataFrame:
    """A row a patch of each image, with its share in both models."""
    image, row, column = (grid.ravel() for grid in np.indices(heats[0].shape))
    table = {"image": images[image], "row": row + 1, "column": column + 1}
    return pd.DataFrame(table | {"full model": heats[0].ravel(), "this cut": heats[1].ravel()})


def _one_image(
    full: AttentionMaps,
    cut: AttentionMaps | None,
    results: RunResults,
    selection: Selection,
    shown: tuple[str, tuple[int, int] | None, str],
) -> None:
    """The chosen image, large; computed on request where it is none of the examples."""
    way, head, what = shown
    image, pair = selection.image, path_pair(selection.sparsity)
    if image is None:
        return
    if image in full.images:
        row = [int(np.flatnonzero(full.images == image)[0])]
    else:
        row = [0]
        full, cut = (stored_attention(store(), selection.run, p, image) for p in (FULL, pair))
        if full is None or cut is None:
            offer(
                AttentionTask(selection.run, *pair, image=image),
                f"Image {image} is none of the examples.",
                "Compute it",
                icon=":material/visibility:",
                key="compute_image",
            )
        if full is None:
            return
    heats = tuple(_heat(maps, full, way, head)[row] for maps in (full, cut))
    name = _names(full, results)[row[0]]
    show_figure(
        figures.attention_overlay(
            full.pictures[row], *heats, [name], [image], f"{name}: attention of {what}", _most(heats)
        ),
        key="attention_image",
        reading="The same for one image: point at a patch to read its share.",
        alt=f"Attention of {what} on image {image}, full model and cut model",
        table=_frame(full.images[row], heats),
        file=f"{selection.run}-attention-image-{image}",
    )


def _image_clicked(chart: str) -> Callable[[], None]:
    def choose() -> None:
        for point in st.session_state[chart]["selection"]["points"]:
            if isinstance(point.get("customdata"), int):
                change(image=point["customdata"])

    return choose


def _image_typed(text: str) -> None:
    text = text.strip()
    change(image=int(text) if text.isdecimal() and len(text) < 10 else None)
