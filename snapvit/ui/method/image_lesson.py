"""Step 1 of the Method page, first half: one image's views, and the loss that compares them."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from snapvit import figures
from snapvit.artifacts import Bytes, HeadGradients, ImageLesson
from snapvit.jobs.tasks import StageTask
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.lessons import IMAGE_LESSON, READY_IMAGES
from snapvit.ui.controlled import controlled
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.glossary import prose, term
from snapvit.ui.offer import offer
from snapvit.ui.run_key import run_key
from snapvit.ui.selection import Selection, change, setting, setting_key


def pick_image(results: RunResults, selection: Selection, gradients: HeadGradients | None) -> int | None:
    """The image that the lesson is of: the selected one, else the first calibration image whose lesson is ready."""
    if gradients is None:
        return selection.image
    ids = gradients.ids.tolist()
    names = dict(zip(ids, (class_name(results, int(label)) for label in gradients.labels), strict=True))
    chosen = ids[0] if selection.image is None else selection.image
    options = ids if chosen in names else [chosen, *ids]

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
        **controlled("lesson_image", chosen, lambda image: change(image=image), options),
    )
    return chosen


def class_name(results: RunResults, label: int) -> str:
    """Name of a class, empty where there is none."""
    return results.facts.classes[label] if 0 <= label < len(results.facts.classes) else ""


def _wanted(results: RunResults, image: int, gradients: HeadGradients | None) -> tuple[Want, ...]:
    """The image's lesson, after those of the first calibration images, so that there is a choice at once."""
    first = [] if gradients is None else gradients.ids[:READY_IMAGES].tolist()
    missing = [i for i in first if i != image and not results.stored.is_whole(IMAGE_LESSON, str(i))]
    return tuple(Want(IMAGE_LESSON, (str(i),)) for i in (*missing, image))


def image_lesson(results: RunResults, image: int, gradients: HeadGradients | None) -> None:
    """The image's views, one of them against its teacher, and the loss as a sum; or a button that computes them."""
    run = results.summary.run
    lesson = results.stored.load(IMAGE_LESSON, str(image))
    if lesson is None:
        offer(
            StageTask(run, _wanted(results, image, gradients)),
            f"The views of image {image} are not computed yet. One pass through the model, about a second.",
            "Compute",
            key="compute_image",
        )
        return
    teachers, count = lesson.terms.shape
    disagreement = lesson.terms - entropy(lesson)[:, None]  # (K, V) KL(t_k || s_m)
    by_view = np.nanmean(disagreement, axis=0)
    st.html(_gallery(lesson, by_view, class_name(results, lesson.label)))
    st.caption(
        "First the image, with the place of every crop: global ones drawn solid, local ones dashed. Each is resized "
        "to the model's input. The number below it is its disagreement with the teachers: how much larger its term of "
        "the loss is than the least it could be."
    )
    prose(
        f"Every view goes through the same frozen model and gives an {term('embedding')} $z$. Scaled to length 1 and "
        f"put through a {term('softmax')}, it becomes {lesson.shares.shape[1]} shares that sum to 1. A global view's "
        f"shares are the {term('teacher')} $t_k$ and taken as fixed; the logarithms of another view's are the student "
        "$s_m$. For each image $n$ the loss adds up how badly every student predicts every teacher but itself:"
    )
    st.latex(r"L_n=\sum_{k\,\in\,\text{global}}\;\sum_{m\neq k}-\langle t_k,\,s_m\rangle")
    names = view_names(lesson)
    options = [str(m) for m in range(count)]
    chosen = setting("of_view", options, str(int(np.nanargmax(by_view))))
    at, key = options.index(chosen), setting_key("of_view")
    st.selectbox("Student", options, at, format_func=lambda m: names[int(m)], key=key, width=220)
    m = int(chosen)
    k = 0 if m else min(1, teachers - 1)
    if k == m:  # one global view alone teaches; it has no student term of its own
        st.caption("This view is the only teacher; choose another one to compare with it.")
    else:
        _pair(results, lesson, k, m, names)
    floor, excess = float((entropy(lesson) * (count - 1)).sum()), float(np.nansum(disagreement))
    st.markdown(
        f"**This image's loss:** the sum of {teachers} × {count - 1} = {teachers * (count - 1)} such terms is "
        f"**{lesson.loss:.3f}**. If every view gave exactly its teachers' shares it would be {floor:.3f}; the rest, "
        f"**{excess:.3f}**, is disagreement. No label was needed. What counts below is not the number but how it "
        "*changes* with the weights."
    )


def _pair(results: RunResults, lesson: ImageLesson, k: int, m: int, names: list[str]) -> None:
    show_figure(
        kept_figure(
            *("softmax", run_key(results), lesson.image, k, m),
            make=lambda: figures.softmax_pair(lesson.shares[k], lesson.shares[m], names[k], names[m]),
        ),
        key="softmax_pair",
        reading=f"The line is what the teacher says, the diamonds what the student says. They give one term of the "
        f"loss, −⟨t, s⟩ = {lesson.terms[k, m]:.4f}; were they equal it would be {entropy(lesson)[k]:.4f}. Vectors of "
        "length 1 have small entries, so all shares lie near 1 (an equal share); the shape is what counts.",
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
        f"<figcaption><b>{name}</b><br>{share:.0%} of the area<br>{value:.4f}</figcaption></figure>"
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
