"""Attention of the full and the cut model, side by side, on example images or any other image of the source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Doubles, Ints
from snapvit.formats import ratio
from snapvit.image_artifacts import AttentionShares
from snapvit.jobs.tasks import StageTask
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.attention import ATTENTION, EXAMPLES, FULL
from snapvit.pipeline.table import of_cut
from snapvit.ui.controlled import controlled
from snapvit.ui.figure import show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.heads.structures import kept_heads
from snapvit.ui.offer import offer
from snapvit.ui.selection import Selection, change, setting, setting_key

Maps = tuple[AttentionShares | None, AttentionShares | None]  # of the full and the cut model; None where not computed
WAYS = {"head": "The selected head", "rollout": "Rollout through the whole model"}


@dataclass(frozen=True)
class _Look:
    """Whose attention is shown: a head's, or the whole model's by rollout."""

    way: str
    head: tuple[int, int] | None
    kept: bool  # by the cut
    what: str  # in words

    def lacks(self, maps: Maps) -> bool:
        """Whether something is to be computed for it; of a head that is gone the cut model has nothing."""
        full, cut = maps
        return full is None or (cut is None and self.kept)

    def heats(self, maps: Maps) -> tuple[Doubles, Doubles]:
        """(N, R, C) in the full and the cut model; NaN where it is not computed or the head is gone."""
        full, cut = maps
        seen = self._seen(full)
        return seen, np.full(seen.shape, np.nan) if cut is None else self._seen(cut)

    def _seen(self, maps: AttentionShares) -> Doubles:
        seen = maps.rollout if self.way == "rollout" else maps.heads[:, *self.head]
        return seen.astype(np.float64)


def attention_panel(results: RunResults, selection: Selection) -> None:
    """What the selected head looks at, or the whole model by rollout, before and after the cut."""
    if results.ranking is None:
        return
    st.header("Where it looks")
    if results.imported:
        st.caption("This run has no weights, so there is no attention to show.")
        return
    head = (
        selection.head if selection.structure is not None and selection.structure.fits(results.facts.topology) else None
    )
    way = setting("look", list(WAYS), "head")
    left, right = flowing_columns([3, 2], 300, key="attention_controls", align="bottom")
    left.segmented_control(
        "Attention of", list(WAYS), default=way, format_func=WAYS.__getitem__, key=setting_key("look"), required=True
    )
    right.text_input(
        "Image by its id",
        placeholder="an example is shown; type any id",
        help="A number from 0 on, in the order of the run's image source; a click on an example fills it in",
        **controlled("any_image", "" if selection.image is None else str(selection.image), _image_typed),
    )
    if way == "head" and head is None:
        st.info("Select a head to see where it looks, or choose the rollout of the whole model.")
        return
    look = _look(results, selection, way, head)
    maps = _stored(results, selection)
    if look.lacks(maps):
        what = "The full model's attention is not computed yet" if maps[0] is None else "Not computed yet for this cut"
        offer(
            StageTask(selection.run, _wanted(selection)),
            f"{what}: it takes eight images through the full and the cut model, for all heads at once.",
            "Compute attention",
            icon=":material/visibility:",
            key="compute_attention",
        )
    if maps[0] is None:
        return
    _examples(maps, look, results, selection)
    _one_image(maps, look, results, selection)
    st.caption(_reading(maps[0], look))


def _wanted(selection: Selection, image: int | None = None) -> tuple[Want, ...]:
    """Attention of the full model and of the cut, on the example images or on one image."""
    images, pair = EXAMPLES if image is None else str(image), path_pair(selection.sparsity)
    full = Want(ATTENTION, (*FULL, images))
    return (full,) if pair == FULL else (full, Want(of_cut(ATTENTION, selection.correct), (*pair, images)))


def _stored(results: RunResults, selection: Selection, image: int | None = None) -> Maps:
    """What of it is computed: full model, cut."""
    found = [results.stored.load(want.stage, *want.args) for want in _wanted(selection, image)]
    return found[0], found[-1]


def _look(results: RunResults, selection: Selection, way: str, head: tuple[int, int] | None) -> _Look:
    if way == "rollout":
        return _Look(way, head, True, "the whole model (rollout)")
    kept = bool(kept_heads(results, selection.sparsity)[head])
    state = "kept" if kept else "removed"
    return _Look(way, head, kept, f"block {head[0] + 1}, head {head[1] + 1}, {state} at {ratio(selection.sparsity)}")


def _reading(maps: AttentionShares, look: _Look) -> str:
    reader = (
        "the class token, which becomes the embedding,"
        if maps.by_class_token
        else "the patches, taken as queries and averaged,"
    )
    if look.way == "rollout":
        return (
            f"How much of each patch reaches {reader.rstrip(',')} through all blocks, by attention rollout (Abnar and "
            "Zuidema, 2020): heads averaged, the residual connection counted as much as the attention, blocks "
            "multiplied. It follows attention alone, not the MLPs, so it is a rough guide."
        )
    gone = "" if look.kept else " This cut removes the head, so it looks nowhere there any more."
    return (
        f"Share of its attention that {reader} gives to each patch, from the exact softmax weights. What is missing to "
        "100 % goes to tokens that are no patches. The cut model's head looks elsewhere only because the blocks before "
        f"it are cut too.{gone}"
    )


def _names(maps: AttentionShares, results: RunResults) -> list[str]:
    classes = results.facts.classes
    return [classes[label] if label >= 0 and classes else "" for label in maps.labels.tolist()]


def _examples(maps: Maps, look: _Look, results: RunResults, selection: Selection) -> None:
    full, heats = maps[0], look.heats(maps)
    names, half = _names(full, results), -(-len(full.images) // 2)
    columns = flowing_columns(2, 420, key="attention_halves")
    for column, (chart, title, part) in zip(
        columns,
        (
            ("attention_examples", f"Attention of {look.what}", slice(half)),
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
                alt=f"Attention of {look.what} on {len(full.images[part])} images, full model and cut model",
                table=partial(_frame, full.images[part], tuple(heat[part] for heat in heats)),
                file=f"{selection.run}-{chart.replace('_', '-')}",
                on_point=_image_clicked,
            )


def _most(heats: tuple[Doubles, ...]) -> float:
    """The greatest share that is drawn, so that figures of the same heads have one scale."""
    return max(float(np.nanmax(heat)) for heat in heats if np.isfinite(heat).any())


def _frame(images: Ints, heats: tuple[Doubles, ...]) -> pd.DataFrame:
    """A row a patch of each image, with its share in both models."""
    image, row, column = (grid.ravel() for grid in np.indices(heats[0].shape))
    table = {"image": images[image], "row": row + 1, "column": column + 1}
    return pd.DataFrame(table | {"full model": heats[0].ravel(), "this cut": heats[1].ravel()})


def _one_image(maps: Maps, look: _Look, results: RunResults, selection: Selection) -> None:
    """The chosen image, large; computed on request where it is none of the examples."""
    image, row = selection.image, [0]
    if image is None:
        return
    if image in maps[0].images:
        row = [int(np.flatnonzero(maps[0].images == image)[0])]
    else:
        maps = _stored(results, selection, image)
        if look.lacks(maps):
            offer(
                StageTask(selection.run, _wanted(selection, image)),
                f"Image {image} is none of the examples.",
                "Compute it",
                icon=":material/visibility:",
                key="compute_image",
            )
        if maps[0] is None:
            return
    full, heats = maps[0], tuple(heat[row] for heat in look.heats(maps))
    name = _names(full, results)[row[0]]
    title = f"{figures.as_plotly(figures.shortened(name))} · {image}" if name else f"image {image}"
    show_figure(
        figures.attention_overlay(
            full.pictures[row], *heats, [name], [image], f"{title}: attention of {look.what}", _most(heats)
        ),
        key="attention_image",
        reading="The same for one image: point at a patch to read its share.",
        alt=f"Attention of {look.what} on image {image}, full model and cut model",
        table=lambda: _frame(full.images[row], heats),
        file=f"{selection.run}-attention-image-{image}",
    )


def _image_clicked(image: Any) -> None:
    if isinstance(image, int):
        change(image=image)


def _image_typed(text: str) -> None:
    text = text.strip()
    change(image=int(text) if text.isdecimal() and len(text) < 10 else None)
