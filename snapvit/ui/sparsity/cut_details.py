"""The selected cut in words and as a table, and the button that measures one the grid does not have."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from snapvit.elastic.ranking import cut_at
from snapvit.evaluation.knn import wilson_interval
from snapvit.evaluation.paired import describe
from snapvit.formats import amount, milliseconds, percent, ratio
from snapvit.jobs.tasks import MeasureTask
from snapvit.pipeline.config import path_pair
from snapvit.pipeline.path import beside_full, latency_of, no_accuracy
from snapvit.pipeline.results import RunResults
from snapvit.tables import Measurement
from snapvit.ui.offer import offer
from snapvit.ui.sparsity.cuts_table import cuts_table
from snapvit.ui.sparsity.early import early_answer, warm_up
from snapvit.ui.sparsity.timing import timing_offer
from snapvit.ui.tables import table_to_keep


def cut_details(results: RunResults, sparsity: float) -> None:
    """What is known of the cut at `sparsity`, measured or not, and all measured cuts as a table."""
    pair = path_pair(sparsity)
    measured = None if results.measurements is None else results.measurements.find(*pair)
    st.header(f"The cut at {ratio(sparsity)}{', corrected' if results.correct else ''}")
    if measured is not None:
        st.markdown(sentence(results, measured))
    else:
        task = MeasureTask(results.summary.run, (pair,), results.correct)
        warm_up(task.run)
        offer(
            task,
            "This cut lies between measured ones: what is above of accuracy, cosine and latency is interpolated. "
            "Parameters, multiply-accumulates and kept structures are exact.",
            "Measure this cut",
            icon=":material/straighten:",
            key="measure",
        )
        early_answer(task)
    timing_offer(results)
    cut = cut_at(results.ranking, *pair)
    topology = results.facts.topology
    kept = pd.DataFrame(
        {
            "Block": range(1, topology.blocks + 1),
            f"Neurons kept (of {topology.hidden})": cut.kept_neurons,
            f"Heads kept (of {topology.heads})": cut.kept_heads,
        }
    )
    run = results.summary.run
    table_to_keep("Kept structures by block, as a table", kept, f"{run}-kept-{sparsity:.3f}")
    measured_cuts = cuts_table(results)
    file = f"{run}-cuts{'-corrected' if results.correct else ''}"
    table_to_keep(f"All {len(measured_cuts)} measured cuts on the path, as a table", measured_cuts, file)


def sentence(results: RunResults, m: Measurement) -> str:
    """What was measured of one cut, for people."""
    accuracy = f"no accuracy ({no_accuracy(results)})"
    if m.hits is not None:
        low, high = wilson_interval(m.hits, m.queries)
        accuracy = (
            f"of {m.queries:,} query images k-NN (k = {m.k}, {m.gallery:,} gallery images) names **{percent(m.top1)}** "
            f"right, 95 % interval {percent(low)} to {percent(high)}"
        )
        pair = beside_full(results, m)
        if pair is not None and m.cut != results.measurements.find(0.0, 0.0).cut:
            accuracy += f". Beside the full model, query by query: {describe(pair)}"
    took = latency_of(results, m)
    time = "It is not timed on this computer yet."
    if took is not None:
        time = (
            f"One image on one thread takes **{milliseconds(took.ms)}**, {percent(took.ratio, 0)} of the full model's "
            f"{milliseconds(took.full_ms)} timed beside it ({percent(took.low, 0)} to {percent(took.high, 0)} in "
            f"the middle half of {took.repeats} rounds), on "
            f"{'this computer' if results.timed_here else 'another computer'}: {results.latencies.machine.label}."
        )
    return (
        f"Measured: {accuracy}. Its embeddings keep a cosine of **{m.cosine:.3f}** to the full model's. It has "
        f"**{amount(m.params)}** parameters and needs **{amount(m.macs)}** multiply-accumulates an image. "
        f"{time}"
    )
