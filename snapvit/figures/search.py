"""The evolution strategy's progress."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from snapvit.artifacts import SearchHistory
from snapvit.figures.style import BLUE, GREY, ORANGE, finish

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 1.0)


def fitness_curve(history: SearchHistory) -> go.Figure:
    """Fitness of every individual by generation, the generation's mean and the best so far. Lower is better."""
    fitness = np.where(np.isfinite(history.individual_fitness), history.individual_fitness, np.nan)  # (G, p)
    generations = np.arange(1, len(fitness) + 1)
    figure = go.Figure(
        [
            go.Scatter(
                x=generations.repeat(fitness.shape[1]).astype(np.int16),
                y=fitness.ravel().astype(np.float32),
                mode="markers",
                marker={"color": GREY, "size": 5, "opacity": 0.6},
                name="individual",
                hovertemplate="generation %{x}<br>fitness %{y:.4f}<extra></extra>",
            ),
            go.Scatter(
                x=generations,
                y=np.nanmean(fitness, axis=1),
                mode="lines+markers",
                line={"color": ORANGE, "width": 2, "dash": "dash"},
                marker={"symbol": "diamond", "size": 7},
                name="mean",
            ),
            go.Scatter(
                x=generations,
                y=history.best_so_far,
                mode="lines",
                line={"color": BLUE, "width": 3, "shape": "hv"},
                name="best so far",
            ),
        ]
    )
    figure.update_xaxes(title="Generation", rangemode="tozero", nticks=min(len(fitness) + 1, 10))  # none at halves
    ticks = [t for t in TICKS if np.nanmin(fitness) / 1.5 <= t <= np.nanmax(fitness) * 1.5]
    figure.update_yaxes(
        title="Fitness, 1 − cosine (log scale)", type="log", tickvals=ticks, ticktext=list(map(str, ticks))
    )
    return finish(figure, "How the search found its factors")
