"""Two runs beside each other along the path, paired where they answered the same queries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.evaluation.paired import answers_of, compare, describe
from snapvit.formats import ratio
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.path import measured_on_path, no_accuracy
from snapvit.pipeline.results import FORMER, RunResults, list_runs
from snapvit.ui.axis import is_zoomed
from snapvit.ui.figure import show_figure
from snapvit.ui.names import as_markdown
from snapvit.ui.resources import chosen_results, store
from snapvit.ui.run_titles import run_titles
from snapvit.ui.selection import Selection, setting, setting_key

SAME = ("model", "images.gallery", "images.queries")  # nodes that must be alike for answers to be paired


def other_run(results: RunResults, selection: Selection) -> None:
    """A box of other runs, both curves, and the difference at the selected cut."""
    summaries = [summary for summary in list_runs(store()) if summary.state != FORMER]
    titles = run_titles(summaries)
    others = [s.run for s in summaries if s.run != results.summary.run and "evaluation" in s.done]
    if not others:
        st.caption("There is no other finished run in the cache; one of another preset, method or seed can stand here.")
        return
    chosen = setting("other", others, others[0])
    st.selectbox("Other run", others, others.index(chosen), format_func=titles.__getitem__, key=setting_key("other"))
    second = chosen_results(chosen, results.correct)
    if second is None or second.measurements is None:
        st.info("This run has no measured cuts of this kind yet.", icon=":material/info:")
        return
    quality = no_accuracy(results) is None and no_accuracy(second) is None
    both = ((results, "This run"), (second, titles[chosen]))
    lines = [_line(found, title, i, quality) for i, (found, title) in enumerate(both)]
    measure = "k-NN top-1" if quality else "Cosine to the full model"
    show_figure(
        figures.contender_curves(lines, "sparsity", measure, quality, "Two runs", is_zoomed(), selection.sparsity),
        key="two_runs",
        reading="Both along the slider's path. The vertical line is the selected cut.",
        alt=f"{measure} of this run and of {titles[chosen]} by sparsity",
        table=pd.concat(
            [pd.DataFrame({"run": line.label, "sparsity": line.sparsity, measure: line.mean}) for line in lines]
        ),
        file=f"{results.summary.run}-and-{chosen}",
    )
    st.markdown(_difference(results, second, selection.sparsity))


def _line(results: RunResults, title: str, look: int, quality: bool) -> figures.Line:
    measured = measured_on_path(results)
    values = np.array([m.top1 if quality else m.cosine for m in measured])
    macs = np.array([m.macs for m in measured], dtype=np.float64)
    sparsity = np.array([m.cut.mlp for m in measured])
    return figures.Line(figures.as_plotly(title), look, sparsity, macs / macs.max(), values, values, values, "")


def _difference(results: RunResults, second: RunResults, sparsity: float) -> str:
    nodes = [found.stored.manifest.nodes for found in (results, second)]
    if any(nodes[0].get(name) != nodes[1].get(name) for name in SAME):
        return "The two are of another model or were asked other queries, so their answers cannot be paired."
    found = [replace(one, correct=results.correct).measurements.find(*path_pair(sparsity)) for one in (results, second)]
    if any(m is None or m.answers is None for m in found):
        return f"The cut at {ratio(sparsity)} is not measured in both; choose one that is, for a paired difference."
    answered = compare(*map(answers_of, found))
    return f"At {ratio(sparsity)} the other run has {as_markdown(describe(answered))}."
