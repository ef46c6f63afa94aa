"""Step 1 of the method, first half: one image's views, and the loss that compares them."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from snapvit import figures
from snapvit.artifacts import Bytes
from snapvit.formats import decimal, percent
from snapvit.image_artifacts import HeadGradients, ImageLesson
from snapvit.jobs.tasks import StageTask
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.lessons import IMAGE_LESSON, READY_IMAGES
from snapvit.ui.controlled import controlled
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.glossary import prose, term
from snapvit.ui.method.following import Lesson
from snapvit.ui.method.gradient_lesson import offer_gradients
from snapvit.ui.run_key import run_key
from snapvit.ui.selection import change, setting, setting_key


def pick_image(lesson: Lesson) -> None:
    """A box with the images whose gradients are known, to choose the one that is followed."""
    if lesson.gradients is None:
        return
    ids, labels = lesson.gradients.ids.tolist(), lesson.gradients.labels.tolist()
    names = dict(zip(ids, (class_name(lesson.results, label) for label in labels), strict=True))
    options = ids if lesson.image in names else [lesson.image, *ids]

    def name(image: int) -> str:
        if image not in names:
            return f"image {image} (not a calibration image)"
        return f"image {image}" + (f" · {names[image]}" if names[image] else "")

    st.selectbox(
        "Image",
        options,
        format_func=name,
        help="Calibration images of this run; type a number to find one",
        width=380,
        **controlled("lesson_image", lesson.image, lambda image: change(image=image), options),
    )


def class_name(results: RunResults, label: int) -> str:
    """Name of a class, empty where there is none."""
    return results.facts.classes[label] if 0 <= label < len(results.facts.classes) else ""


def _wanted(results: RunResults, image: int, gradients: HeadGradients | None) -> tuple[Want, ...]:
    """The image's lesson, after those of the first calibration images, so that there is a choice at once."""
    first = [] if gradients is None else gradients.ids[:READY_IMAGES].tolist()
    missing = [i for i in first if i != image and not results.stored.is_whole(IMAGE_LESSON, str(i))]
    return tuple(Want(IMAGE_LESSON, (str(i),)) for i in (*missing, image))


def views_lesson(lesson: Lesson) -> None:
    """The image and its views; or a button that computes them."""
    prose(
        "No labels and no training: the model is asked whether it says the same about several "
        f"{term('view', 'views')} of one image, and how much each weight has to do with the answer."
    )
    pick_image(lesson)
    found = _computed(lesson)
    if found is None:
        return
    st.html(_gallery(found, np.nanmean(disagreement(found), axis=0), class_name(lesson.results, found.label)))
    st.caption(
        "First the image, with the place of every crop: global ones drawn solid, local ones dashed. Each is resized "
        "to the model's input. The number below it is its disagreement with the teachers: how much larger its term of "
        "the loss is than the least it could be."
    )


def loss_lesson(lesson: Lesson) -> None:
    """One view against its teacher, and the image's loss as a sum."""
    found = _computed(lesson)
    if found is None:
        return
    teachers, count = found.terms.shape
    words, figure = lesson.halves("loss", 5, 6)
    with words:
        prose(
            f"Every view goes through the same frozen model and gives an {term('embedding')} $z$. Scaled to length 1 "
            f"and put through a {term('softmax')}, it becomes {found.shares.shape[1]} shares that sum to 1. A global "
            f"view's shares are the {term('teacher')} $t_k$, taken as fixed; the logarithms of another view's are the "
            "student $s_m$. The loss of image $n$ adds up how badly every student predicts every teacher but itself:"
        )
        st.latex(r"L_n=\sum_{k\,\in\,\text{global}}\;\sum_{m\neq k}-\langle t_k,\,s_m\rangle")
        floor, excess = float((entropy(found) * (count - 1)).sum()), float(np.nansum(disagreement(found)))
        st.markdown(
            f"**This image's loss:** the sum of {teachers} × {count - 1} = {teachers * (count - 1)} such terms is "
            f"**{decimal(found.loss, 3)}**. If every view gave exactly its teachers' shares it would be "
            f"{decimal(floor, 3)}; the rest, **{decimal(excess, 3)}**, is disagreement. What counts is not the number "
            "but how it *changes* with the weights."
        )
    names = view_names(found)
    options = [str(m) for m in range(count)]
    with figure:
        chosen = setting("of_view", options, str(int(np.nanargmax(np.nanmean(disagreement(found), axis=0)))))
        at, key = options.index(chosen), setting_key("of_view")
        st.selectbox("Student", options, at, format_func=lambda m: names[int(m)], key=key, width=220)
        m = int(chosen)
        k = 0 if m else min(1, teachers - 1)
        if k == m:  # one global view alone teaches; it has no student term of its own
            st.caption("This view is the only teacher; choose another one to compare with it.")
        else:
            _pair(lesson.results, found, k, m, names)


def _computed(lesson: Lesson) -> ImageLesson | None:
    """The followed image's lesson; where there is none yet, a button that computes it."""
    image, results = lesson.image, lesson.results
    if image is None:
        offer_gradients(lesson)
        return None
    found = results.stored.load(IMAGE_LESSON, str(image))
    if found is None:
        lesson.offer(
            StageTask(results.summary.run, _wanted(results, image, lesson.gradients)),
            f"The views of image {image} are not computed yet. One pass through the model, about a second.",
            "Compute",
            key="compute_image",
        )
    return found


def _pair(results: RunResults, lesson: ImageLesson, k: int, m: int, names: list[str]) -> None:
    show_figure(
        kept_figure(
            *("softmax", run_key(results), lesson.image, k, m),
            make=lambda: figures.softmax_pair(lesson.shares[k], lesson.shares[m], names[k], names[m]),
        ),
        key="softmax_pair",
        reading=f"They give one term of the loss, −⟨t, s⟩ = {decimal(lesson.terms[k, m], 4)}; were they equal it would "
        f"be {decimal(entropy(lesson)[k], 4)}. Vectors of length 1 have small entries, so all shares lie near 1 (an "
        "equal share); the shape is what counts.",
        alt=f"Softmax shares of {names[k]} as teacher and {names[m]} as student over all embedding dimensions",
        table=pd.DataFrame(
            {
                "dimension": np.arange(1, lesson.shares.shape[1] + 1),
                names[k]: lesson.shares[k],
                names[m]: lesson.shares[m],
            }
        ),
        file=f"{results.summary.run}-image-{lesson.image}-softmax",
    )


def entropy(lesson: ImageLesson) -> np.ndarray:
    """(K,) of each teacher: the least that a term with it can be."""
    teacher = lesson.shares[: len(lesson.terms)].astype(np.float64)
    return -(teacher * np.log(teacher)).sum(axis=1)


def disagreement(lesson: ImageLesson) -> np.ndarray:
    """(K, V) of every term with the least that it can be: KL(t_k || s_m)."""
    return lesson.terms - entropy(lesson)[:, None]


def view_names(lesson: ImageLesson) -> list[str]:
    """`global 1`, ..., `local 1`, ..."""
    teachers, count = lesson.terms.shape
    return [f"global {i + 1}" for i in range(teachers)] + [f"local {i + 1}" for i in range(count - teachers)]


def _gallery(lesson: ImageLesson, by_view: np.ndarray, label: str) -> str:
    height, width = lesson.size
    teachers = len(lesson.terms)
    frames = "".join(
        f'<i class="{"wide" if v < teachers else "small"}" style="left:{100 * left / width:.2f}%;'
        f'top:{100 * top / height:.2f}%;width:{100 * w / width:.2f}%;height:{100 * h / height:.2f}%"></i>'
        for v, (top, left, h, w) in enumerate(lesson.boxes.tolist())
    )
    shares = lesson.boxes[:, 2] * lesson.boxes[:, 3] / (height * width)
    alt = f"Image {lesson.image}"
    whole = (
        f'<figure class="whole"><div>{_picture(lesson.picture, f"{alt}, whole")}{frames}</div>'
        f"<figcaption>image {lesson.image}<br>{escape(label)}</figcaption></figure>"
    )
    crops = "".join(
        f'<figure class="{"wide" if v < teachers else "small"}">{_picture(view, f"{alt}, {name}")}'
        f"<figcaption><b>{name}</b><br>{percent(share, 0)} of the area<br>{decimal(value, 4)}</figcaption></figure>"
        for v, (view, name, share, value) in enumerate(
            zip(lesson.views, view_names(lesson), shares, by_view, strict=True)
        )
    )
    return f'<style>{STYLE}</style><div class="views">{whole}<div class="crops">{crops}</div></div>'


def _picture(pixels: Bytes, alt: str) -> str:
    """An <img> of (3, h, w) bytes that carries its picture with it, without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, "WEBP", lossless=True)
    return f'<img alt="{alt}" src="data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}">'


STYLE = """
.views { display: flex; flex-wrap: wrap; gap: 1.25rem; align-items: flex-start; }
.views figure { margin: 0; }
.views img { width: 100%; display: block; image-rendering: pixelated; }
.views figcaption { font-size: 0.85rem; line-height: 1.35; margin-top: 0.25rem; }
.views .whole { width: 200px; }
.views .whole div { position: relative; }
.views .whole i { position: absolute; box-sizing: border-box; }
.views i.wide { border: 3px solid #2E86C9; }
.views i.small { border: 1.5px dashed #E69F00; }
.crops { display: grid; grid-template-columns: repeat(auto-fill, minmax(88px, 1fr)); gap: 0.75rem; flex: 1 1 420px; }
.crops img { border-radius: 4px; }
.crops .wide img { outline: 3px solid #2E86C9; }
.crops .small img { outline: 1.5px dashed #E69F00; outline-offset: 0; }
"""
