"""What is shown of a run whose ranking comes from a file of published scores."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.elastic.ranking import cut_at
from snapvit.formats import amount, percent, ratio
from snapvit.pipeline.config import PATH_END, path_pair
from snapvit.pipeline.results import RunResults
from snapvit.published.accuracies import published_accuracies
from snapvit.ui.axis import axis_switch
from snapvit.ui.figure import show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.names import as_markdown
from snapvit.ui.numbers import Number, number_row
from snapvit.ui.selection import Selection
from snapvit.ui.sparsity_slider import sparsity_slider
from snapvit.ui.tables import table_to_keep


def what_scores_lack(results: RunResults) -> str:
    """What a run of published scores does not hold, and how to get it."""
    if not results.imported:
        return (
            "This run was cut by published scores, so it has no curvature, CKA map or search of its own; the same "
            "command without `--scores` computes them."
        )
    model = results.request.model.name if results.facts.costs is not None else "NAME"
    return (
        "This run holds published scores alone, without weights or images, so accuracy and latency are not measured "
        f"and there is no curvature, CKA map or search: `python -m snapvit run --scores FILE --model {model} --data "
        "SOURCE` measures these scores with the model's weights, and the same "
        "command without `--scores` computes everything anew."
    )


def describe_scores(results: RunResults) -> None:
    """Whose scores these are, what is missing, and what their file says of itself."""
    topology, published = results.facts.topology, results.scores
    if published is None:
        st.info("The scores of this run cannot be read; import their file again.")
        return
    costs = (
        "What each cut keeps and costs is exact."
        if results.facts.costs is not None
        else "What each cut keeps is exact; what it costs is not known, because the file names no architecture that "
        "the explorer knows (a timm name can be given when importing it)."
    )
    st.markdown(
        f"Scores of {as_markdown(published.model_type)}: {topology.blocks} blocks, each with {topology.heads} heads "
        f"and {topology.hidden} neurons. {costs}"
    )
    st.info(what_scores_lack(results), icon=":material/info:")
    said = {name: json.dumps(value) for name, value in published.metadata.items()}
    said |= {"floor of neurons": ratio(published.floors.neurons), "floor of heads": ratio(published.floors.heads)}
    table = pd.DataFrame({"Entry": list(said), "Value": list(said.values())})
    table_to_keep("What the file says of itself", table, f"{results.summary.run}-metadata")


def cuts_of_scores(results: RunResults, selection: Selection) -> None:
    """The Sparsity page without weights: what each cut keeps and costs."""
    sparsity_slider(selection)
    sparsity = selection.sparsity
    cut, topology, costs = cut_at(results.ranking, *path_pair(sparsity)), results.facts.topology, results.facts.costs
    tiles = [
        ("Neurons kept", f"{sum(cut.kept_neurons):,}", f"of {topology.blocks * topology.hidden:,}"),
        ("Heads kept", f"{sum(cut.kept_heads):,}", f"of {topology.blocks * topology.heads:,}"),
    ]
    if costs is not None:
        full = cut_at(results.ranking, 0.0, 0.0)
        tiles += [
            ("Parameters", amount(costs.params(cut)), f"of {amount(costs.params(full))}"),
            ("MACs per image", amount(costs.macs(cut)), f"of {amount(costs.macs(full))}"),
        ]
    number_row([Number(label, value, f"{of}, exact") for label, value, of in tiles], "scores")
    _kept_figures(results, cut.kept_neurons, cut.kept_heads)
    if costs is not None:
        _cost_figure(results, sparsity)


def _kept_figures(results: RunResults, neurons: tuple[int, ...], heads: tuple[int, ...]) -> None:
    topology, run = results.facts.topology, results.summary.run
    columns = flowing_columns(2, 400, key="kept_figures")
    kinds = (("neurons", neurons, topology.hidden), ("heads", heads, topology.heads))
    for column, (name, kept, full) in zip(columns, kinds, strict=True):
        with column:
            show_figure(
                figures.kept_by_block(kept, full, name),
                key=f"kept_{name}",
                reading=f"Each bar is a block; the hatched part is what this cut removes of its {full} {name}.",
                alt=f"Kept {name} by block, of {full} each: {', '.join(map(str, kept))}",
                table=pd.DataFrame({"block": np.arange(1, topology.blocks + 1), f"kept {name}": kept}),
                file=f"{run}-kept-{name}",
            )


def _cost_figure(results: RunResults, sparsity: float) -> None:
    costs, grid = results.facts.costs, np.round(np.linspace(0, PATH_END, 96), 4)
    cuts = [cut_at(results.ranking, *path_pair(float(s))) for s in grid]
    params, macs = np.array([costs.params(c) for c in cuts]), np.array([costs.macs(c) for c in cuts])
    show_figure(
        figures.cost_curves(grid, params / params[0], macs / macs[0], sparsity),
        key="cost_curves",
        reading="How much of the whole model is left along the slider's path, by exact count. The vertical line is "
        "the cut above. Embeddings, norms and output layers are never cut, so no line reaches 0.",
        alt=f"Parameters and multiply-accumulates left, from 100 % at sparsity 0 to "
        f"{percent(params[-1] / params[0], 0)} and {percent(macs[-1] / macs[0], 0)} at {ratio(grid[-1])}",
        table=pd.DataFrame({"sparsity": grid, "parameters": params, "macs": macs}),
        file=f"{results.summary.run}-costs",
    )


def published_accuracy(results: RunResults, sparsity: float) -> None:
    """The authors' own accuracies with these scores, where their table has the model."""
    known = results.imported and results.scores is not None
    rows = published_accuracies(results.scores) if known else []
    if not rows:
        return
    st.header("What the authors measured with these scores")
    zoomed = axis_switch()
    table = pd.DataFrame(
        [(r.dataset, r.mlp, r.heads, r.top1) for r in rows],
        columns=["Data set", "MLP sparsity", "Head sparsity", "Top-1"],
    )
    show_figure(
        figures.published_curves(rows, sparsity, zoomed),
        key="published_curves",
        reading=f"Published, not measured here: k-NN top-1 (k = 20) of {rows[0].model} on seven data sets at the seven "
        "pairs of sparsities of the authors' table (SnapViT repository, results/in1k.md). Their heads lag 15 points "
        "behind the neurons from 15 % on, as on this page. The vertical line is the cut above.",
        alt=f"Published top-1 accuracy of {rows[0].model} against sparsity on seven data sets",
        table=table,
        file=f"{results.summary.run}-published",
    )
    wide = table.pivot(index="Data set", columns="MLP sparsity", values="Top-1").reset_index()
    wide.columns = [c if isinstance(c, str) else f"top-1 at {ratio(c)}" for c in wide.columns]
    table_to_keep("The authors' numbers, as a table", wide, f"{results.summary.run}-published-table")
