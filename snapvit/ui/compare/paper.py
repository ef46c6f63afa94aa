"""The paper's own models as relative drop, so that a run on other images can stand beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.pipeline.path import measured_on_path, no_accuracy
from snapvit.pipeline.results import RunResults
from snapvit.published.accuracies import published_table
from snapvit.ui.axis import is_zoomed
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.run_key import run_key
from snapvit.ui.selection import setting, setting_key


def papers_models(results: RunResults) -> None:
    """Accuracy left by sparsity, as a share of the uncut model's own."""
    table = published_table()
    sets = list(dict.fromkeys(row.dataset for row in table))
    st.header("Beside the paper's models")
    chosen = setting("published", sets, "ImageNet-1k")
    st.selectbox("Published on", sets, sets.index(chosen), key=setting_key("published"))
    lines, zoomed = [], is_zoomed()
    for model in dict.fromkeys(row.model for row in table):
        rows = sorted((row.mlp, row.top1) for row in table if row.model == model and row.dataset == chosen)
        lines.append(_relative(model, len(lines) + 2, *zip(*rows, strict=True)))
    if no_accuracy(results) is None:
        for i, correct in enumerate((False, True)):
            measured = measured_on_path(replace(results, correct=correct))
            if measured and measured[0].cut.mlp == 0 and measured[0].top1:
                title = "This run" + (", corrected" if correct else "")
                lines.append(_relative(title, i, [m.cut.mlp for m in measured], [m.top1 for m in measured]))
    show_figure(
        kept_figure(
            *("papers_models", run_key(results), chosen, zoomed),
            make=lambda: figures.contender_curves(
                lines, "sparsity", "Top-1, share of the uncut model's", True, f"What is left on {chosen}", zoomed, None
            ),
        ),
        key="papers_models",
        reading=f"Published, not measured here: the authors' k-NN top-1 on {chosen} (SnapViT repository, "
        "results/in1k.md), each divided by its uncut model's. This run's lines are of its own images: only the shapes "
        "can be compared.",
        alt=f"Accuracy left by sparsity of {len(lines)} models on {chosen}",
        table=pd.concat([pd.DataFrame({"model": li.label, "sparsity": li.sparsity, "left": li.mean}) for li in lines]),
        file="published-relative",
    )


def _relative(title: str, look: int, sparsity: list[float], top1: list[float]) -> figures.Line:
    left = np.array(top1) / top1[0]
    return figures.Line(title, look, np.array(sparsity), np.array(sparsity), left, left, left, "")
