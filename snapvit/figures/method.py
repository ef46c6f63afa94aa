"""The figures of the Method page: one message each, from a run's own numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from snapvit.artifacts import Doubles, Floats, Ints
from snapvit.figures.names import as_plotly
from snapvit.figures.style import (
    BLUE,
    DIVERGING,
    GREEN,
    GREY,
    NUMBERED_BLOCKS,
    ORANGE,
    SEQUENTIAL,
    cell_numbers,
    finish,
    upright,
)
from snapvit.formats import percent, score, tick

BESIDE, LOW = 345, 300  # px, of figures that stand beside text on one screen, and with numbers above them
STRONGEST = 8.0  # factors from here on, and from its inverse down, have the last colour


def softmax_pair(teacher: Floats, student: Floats, teacher_name: str, student_name: str) -> go.Figure:
    """Two softmax distributions (D,) over the same dimensions, sorted by the teacher's, in multiples of 1/D."""
    order = np.argsort(-teacher, kind="stable")
    width = len(teacher)
    figure = go.Figure(
        [
            go.Scatter(
                x=np.arange(1, width + 1),
                y=student[order] * width,
                mode="markers",
                marker={"color": ORANGE, "size": 6, "symbol": "diamond-open"},
                name=f"student: {student_name}",
                customdata=order + 1,
                hovertemplate="dimension %{customdata}<br>%{y:.3f} of an equal share<extra></extra>",
            ),
            go.Scatter(
                x=np.arange(1, width + 1),
                y=teacher[order] * width,
                mode="lines",
                line={"color": BLUE, "width": 3},
                name=f"teacher: {teacher_name}",
                customdata=order + 1,
                hovertemplate="dimension %{customdata}<br>%{y:.3f} of an equal share<extra></extra>",
            ),
        ]
    )
    figure.add_hline(y=1, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title="Embedding dimension, sorted by the teacher's share", range=[0, width + 1])
    figure.update_yaxes(title=f"Softmax share × {width}")
    return finish(figure, "How one view agrees with its teacher", height=BESIDE)


def image_gradients(values: Floats, mean: float, selected: float | None = None, name: str = "") -> go.Figure:
    """Histogram of one head's mean squared gradient in each image (N,), logarithmic where all are positive.

    selected: value of the image called `name`, to be marked beside the mean.
    """
    logarithmic = bool(len(values)) and float(values.min()) > 0 and float(values.max()) > 3 * float(values.min())
    placed = np.log10(values) if logarithmic else np.asarray(values, dtype=np.float64)
    counts, edges = np.histogram(placed, bins=min(40, max(5, round(len(values) ** 0.5))))
    middles = (edges[1:] + edges[:-1]) / 2
    scale = 10**middles if logarithmic else middles
    figure = go.Figure(
        go.Bar(
            x=middles,
            y=counts,
            width=np.diff(edges),
            marker={"color": BLUE, "line": {"width": 0}},
            customdata=scale,
            hovertemplate="about %{customdata:.2g}<br>%{y} images<extra></extra>",
            showlegend=False,
        )
    )

    top = max(1, int(counts.max()))

    def line(value: float, colour: str, dash: str, text: str, height: float) -> None:
        x = float(np.log10(value)) if logarithmic else value
        figure.add_shape(type="line", x0=x, x1=x, y0=0, y1=height, line={"color": colour, "width": 3, "dash": dash})
        late = x > (edges[0] + edges[-1]) / 2
        figure.add_annotation(
            x=x,
            y=height,
            text=text,
            showarrow=False,
            xanchor="right" if late else "left",
            xshift=-6 if late else 6,
        )

    line(mean, ORANGE, "solid", f"mean {score(mean)}", 1.34 * top)
    if selected is not None and (selected > 0 or not logarithmic):
        line(selected, GREEN, "dash", f"{name} {score(selected)}", 1.14 * top)
    title = "Mean squared gradient in one image" + (" (log scale)" if logarithmic else "")
    figure.update_xaxes(title=title)
    if logarithmic:
        low, high = int(np.floor(edges[0])), int(np.ceil(edges[-1]))
        figure.update_xaxes(tickvals=list(range(low, high + 1)), ticktext=[tick(10.0**e) for e in range(low, high + 1)])
        figure.update_xaxes(range=[edges[0] - 0.05, edges[-1] + 0.05])
    figure.update_yaxes(title="Images", range=[0, 1.4 * top])
    return finish(figure, "One head's gradient, image by image", height=LOW)


def factor_map(factors: Doubles, blocks: int, selected: tuple[int, int] | None = None) -> go.Figure:
    """Absolute factors (S,) of one individual, one column a block: its MLP, then its heads.

    Colours are those of the factor's logarithm, so that doubling and halving look equally strong and white is 1.
    """
    heads = len(factors) // blocks - 1
    table = np.concatenate([factors[None, :blocks], factors[blocks:].reshape(blocks, heads).T])  # (1 + H, L)
    rows = ["MLP", *(f"head {h + 1}" for h in range(heads))]
    figure = go.Figure(
        go.Heatmap(
            z=np.log2(np.clip(table, 1 / STRONGEST, STRONGEST)),
            x=np.arange(1, blocks + 1),
            y=rows,
            colorscale=DIVERGING,
            zmin=-np.log2(STRONGEST),
            zmax=np.log2(STRONGEST),
            xgap=2,
            ygap=2,
            customdata=table,
            hovertemplate="block %{x}, %{y}<br>factor %{customdata:.3f}<extra></extra>",
            colorbar={
                "title": {"text": "factor"},
                "thickness": 16,
                "tickvals": [-3, -2, -1, 0, 1, 2, 3],
                "ticktext": ["≤ 1/8", "1/4", "1/2", "1", "2", "4", "≥ 8"],
            },
        )
    )
    if blocks <= NUMBERED_BLOCKS:
        figure.add_trace(cell_numbers(figure.data[0], np.vectorize("{:.1f}".format)(table)))
    if selected is not None:
        _frame(figure, selected[0] + 1, selected[1] + 1)
    figure.update_xaxes(title="Block (1 is nearest the image)", dtick=1, showgrid=False)
    figure.update_yaxes(title="Structure", autorange="reversed", showgrid=False)
    return finish(figure, "One individual: a factor for every structure", height=max(300, 150 + 32 * (heads + 1)))


def kept_map(kept: Ints, most: int, what: str, shares: Sequence[float]) -> go.Figure:
    """How many of `most` structures every block keeps (P, L), a row for each sparsity pair."""
    blocks = kept.shape[1]
    figure = go.Figure(
        go.Heatmap(
            z=kept,
            x=np.arange(1, blocks + 1),
            y=[percent(share, 0) for share in shares],
            zmin=0,
            zmax=most,
            colorscale=SEQUENTIAL,
            xgap=2,
            ygap=2,
            hovertemplate="block %{x}, %{y} removed<br>%{z} kept<extra></extra>",
            colorbar={"title": {"text": "kept"}, "thickness": 16},
        )
    )
    if blocks <= NUMBERED_BLOCKS:
        figure.add_trace(cell_numbers(figure.data[0], kept.astype(str)))
    figure.update_xaxes(title="Block", dtick=1 if blocks <= 16 else 4, showgrid=False)
    figure.update_yaxes(title=f"{what} removed", type="category", autorange="reversed", showgrid=False)
    return finish(figure, f"{what} that each block keeps", height=150 + 44 * len(kept))


def generation_ranks(fitness: Doubles, weights: Doubles, selected: int) -> go.Figure:
    """Fitness (p,) of one generation's individuals, best first, and which of them pull the mean their way."""
    rank = np.arange(1, len(fitness) + 1)
    pulls = weights > 0
    figure = go.Figure()
    for mask, colour, symbol, name in (
        (pulls, BLUE, "triangle-up", "pulls the mean"),
        (~pulls, GREY, "triangle-down", "pushes it away"),
    ):
        figure.add_scatter(
            x=rank[mask],
            y=fitness[mask],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 12},
            name=name,
            customdata=weights[mask],
            hovertemplate="rank %{x}<br>fitness %{y:.4f}<br>weight %{customdata:+.3f}<extra></extra>",
        )
    _ring(figure, selected + 1, fitness[selected], "this individual", ORANGE)
    figure.update_xaxes(title="Rank in its generation (1 is best)", range=[0.3, len(fitness) + 0.7])
    figure.update_yaxes(title="Fitness, 1 − cosine")
    return finish(figure, "Who pulls the search, and who pushes", height=LOW)


def ordered_scores(
    scores: Doubles, removed: int, protected: int, selected: int | None, names: Sequence[str]
) -> go.Figure:
    """Scores (n,) in the order in which their heads leave; the first `removed` are cut, the last `protected` never.

    selected: place of the head to mark, counted from 0.
    """
    count = len(scores)
    place = np.arange(1, count + 1)
    positive = scores[scores > 0]
    lowest = float(positive.min()) if len(positive) else 1.0
    shown = np.maximum(scores, lowest / 3)  # a score of 0 has no place on a logarithmic scale
    figure = go.Figure()
    for mask, colour, symbol, name in (
        (place <= removed, ORANGE, "x", "removed"),
        ((place > removed) & (place <= count - protected), BLUE, "circle", "kept"),
        (place > count - protected, GREEN, "square", "protected"),
    ):
        figure.add_scatter(
            x=place[mask],
            y=shown[mask],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 8},
            name=name,
            text=[text for text, there in zip(names, mask, strict=True) if there],
            hovertemplate="%{text}<br>leaves as number %{x}<br>score %{y:.3g}<extra></extra>",
        )
    if selected is not None:
        _ring(figure, selected + 1, shown[selected], "this head")
    figure.update_layout(shapes=[upright(removed + 0.5, color=ORANGE, width=2, dash="dash")])
    figure.update_xaxes(title="Place in the ranking (1 leaves first)", range=[0, count + 1])
    figure.update_yaxes(title="Final score (log scale)", type="log", exponentformat="power", dtick=1)
    return finish(figure, "Where the cut falls", height=LOW)


def guessed_and_measured(
    guessed: Doubles, measured: Doubles, blocks: int, selected: int, names: Sequence[str]
) -> go.Figure:
    """What taking each structure out costs (S,), MLPs first: as its slope says, and as measured."""
    positive = np.concatenate([guessed[guessed > 0], measured[measured > 0]])
    lowest = float(positive.min()) if len(positive) else 1.0
    x, y = (np.maximum(values, lowest / 3) for values in (guessed, measured))  # 0 has no place on the scale
    ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))]
    figure = go.Figure()
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dash"}, name="as guessed", hoverinfo="skip"
    )
    for some, colour, symbol, name in (
        (slice(blocks, None), BLUE, "circle", "head"),
        (slice(0, blocks), ORANGE, "diamond", "MLP"),
    ):
        figure.add_scatter(
            x=x[some],
            y=y[some],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 8},
            name=name,
            text=list(names[some]),
            hovertemplate="%{text}<br>guessed %{x:.3g}<br>measured %{y:.3g}<extra></extra>",
        )
    _ring(figure, x[selected], y[selected], "this head")
    log = {"type": "log", "exponentformat": "power", "dtick": 1}
    figure.update_xaxes(title="Guessed from the slope, 1 − cosine (log scale)", **log)
    figure.update_yaxes(title="Measured, 1 − cosine (log scale)", **log)
    return finish(figure, "What taking one out costs", height=LOW)


def accuracy_by_class(names: Sequence[str], series: Sequence[tuple[str, Doubles]]) -> go.Figure:
    """Share of each class's queries that is named right, (C,) for each of up to three series, a name first."""
    figure = go.Figure()
    for (label, shares), colour, symbol in zip(
        series, (GREY, BLUE, ORANGE), ("line-ns-open", "circle-open", "x-thin-open"), strict=False
    ):
        figure.add_scatter(
            x=100 * shares,
            y=[as_plotly(name) for name in names],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 3, "color": colour}},
            name=label,
            hovertemplate=f"%{{y}}<br>{label}: %{{x:.1f}} %<extra></extra>",
        )
    figure.update_xaxes(title="Top-1 (%)", range=[0, 101])
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return finish(figure, "Accuracy by class", height=BESIDE)


def scores_by_block(scores: Doubles, removed: np.ndarray, protected: np.ndarray) -> go.Figure:
    """Final scores (L, H) of all heads, a column a block; removed, protected (L, H): what becomes of each."""
    blocks, heads = scores.shape
    block = np.arange(1, blocks + 1).repeat(heads)
    shown = np.maximum(scores, scores[scores > 0].min(initial=1.0) / 3).ravel()  # 0 has no place on the scale
    figure = go.Figure()
    for mask, colour, symbol, name in (
        (removed, ORANGE, "x", "removed"),
        (~removed & ~protected, BLUE, "circle", "kept"),
        (protected, GREEN, "square", "protected"),
    ):
        there = mask.ravel()
        figure.add_scatter(
            x=block[there],
            y=shown[there],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 9},
            name=name,
            customdata=(np.flatnonzero(there) % heads) + 1,
            hovertemplate="block %{x}, head %{customdata}<br>score %{y:.3g}<extra></extra>",
        )
    figure.update_xaxes(title="Block (1 is nearest the image)", dtick=1 if blocks <= 16 else 4)
    figure.update_yaxes(title="Final score (log scale)", type="log", exponentformat="power", dtick=1)
    return finish(figure, "Scores of all heads by block")


def _ring(figure: go.Figure, x: float, y: float, name: str, colour: str = GREY) -> None:
    """Mark what the page follows."""
    marker = {"symbol": "circle-open", "size": 20, "line": {"width": 3}, "color": colour}
    figure.add_scatter(x=[x], y=[y], mode="markers", marker=marker, name=name, hoverinfo="skip")


def _frame(figure: go.Figure, column: float, row: float) -> None:
    figure.add_shape(
        type="rect",
        x0=column - 0.5,
        x1=column + 0.5,
        y0=row - 0.5,
        y1=row + 0.5,
        line={"color": ORANGE, "width": 4},
    )
