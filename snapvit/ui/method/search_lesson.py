"""Step 3 of the Method page: one individual of the search, the cuts it makes, and what it does to the search."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Cut, Doubles, SearchHistory
from snapvit.elastic.ranking import cut_at, final_scores, rank
from snapvit.method.xnes import utilities
from snapvit.pipeline.results import RunResults
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.glossary import about, prose, term
from snapvit.ui.run_key import run_key
from snapvit.ui.selection import Structure, setting, setting_key
from snapvit.ui.words import head_name, small


@dataclass(frozen=True)
class Chosen:
    """One individual: its generation and its rank in it, both counted from 0, and what is stored of it."""

    generation: int
    rank: int
    order: np.ndarray  # (p,) the generation's individuals, best first
    weights: Doubles  # (p,) their pull, best first
    factors: Doubles  # (S,) absolute
    fitness: Doubles  # (P,)


def search_lesson(results: RunResults, head: tuple[int, int]) -> None:
    """The search explained by one individual that the person picks."""
    history = results.search
    population = history.individuals.shape[1]
    prose(
        f"Local curvature looks at each structure alone. But heads and neurons matter *together*, so {term('xNES')} "
        f"searches one {term('factor')} $c_i$ for each of the {results.facts.topology.structures} structures that "
        f"corrects the curvature. In each {term('generation')} it draws {population} guesses, "
        f"{term('individual', 'individuals')}, from a normal distribution with mean $\\mu$ and "
        f"{term('covariance')} $AA^{{\\top}}$:"
    )
    st.latex(r"x=\mu+A\,z,\qquad z\sim\mathcal N(0,I),\qquad c_i=|x_i|")
    chosen = _choose(history)
    _factors(results, chosen, head)
    cuts = cuts_of(results, chosen.factors)
    _cuts(results, cuts)
    _fitness(results, chosen)
    _moves(results, chosen, head)


def _choose(history: SearchHistory) -> Chosen:
    fitness = np.where(np.isfinite(history.individual_fitness), history.individual_fitness, np.inf)
    best = int(fitness.min(axis=1).argmin())
    generations, population = fitness.shape
    left, right = flowing_columns(2, 220, key="choose_individual")
    options = [str(g + 1) for g in range(generations)]
    generation = int(setting("of_generation", options, str(best + 1))) - 1
    left.selectbox(
        "Generation",
        options,
        generation,
        key=setting_key("of_generation"),
        format_func=lambda g: f"{g} (best of all found here)" if int(g) == best + 1 else g,
        help=about("generation"),
    )
    ranks = [str(r + 1) for r in range(population)]
    rank_of = int(setting("of_rank", ranks, "1")) - 1
    order = np.argsort(fitness[generation], kind="stable")
    right.selectbox(
        "Individual, by rank in its generation",
        ranks,
        rank_of,
        key=setting_key("of_rank"),
        format_func=lambda r: f"rank {r}, fitness {fitness[generation][order[int(r) - 1]]:.4f}",
        help=about("individual"),
    )
    row = int(order[rank_of])
    return Chosen(
        generation,
        rank_of,
        order,
        utilities(population),
        np.abs(history.individuals[generation, row].astype(np.float64)),
        history.fitness[generation, row],
    )


def cuts_of(results: RunResults, factors: Doubles) -> list[Cut]:
    """The cut that these factors make at every sparsity pair of the run's search."""
    config = results.request.config
    ranking = rank(final_scores(results.curvature, factors), config.floors)
    return [cut_at(ranking, mlp, heads) for mlp, heads in config.search.pairs]


def _factors(results: RunResults, chosen: Chosen, head: tuple[int, int]) -> None:
    topology = results.facts.topology
    mine = chosen.factors[Structure(*head).index(topology)]
    show_figure(
        kept_figure(
            *("factors", run_key(results), chosen.generation, chosen.rank, head),
            make=lambda: figures.factor_map(chosen.factors, topology.blocks, head),
        ),
        key="factor_map",
        reading="Orange lifts a structure above its curvature, blue lets it go earlier, white leaves it as it is. "
        f"This individual multiplies the curvature of {head_name(head)} (framed) by {mine:.3f}.",
        alt=f"Factors of individual {chosen.rank + 1} of generation {chosen.generation + 1}, by block",
        table=pd.DataFrame(
            {
                "structure": [topology.structure_name(i) for i in range(topology.structures)],
                "factor": chosen.factors,
            }
        ),
        file=f"{results.summary.run}-factors",
    )


def _cuts(results: RunResults, cuts: list[Cut]) -> None:
    topology, run = results.facts.topology, results.summary.run
    st.markdown(
        f"**Its cuts.** With these factors, structures are ranked by curvature times factor and the model is cut "
        f"{len(cuts)} times, from gently to hard. Each row below is one cut."
    )
    left, right = flowing_columns(2, 420, key="individual_cuts")
    for column, what, most, kept, shares in (
        (left, "Neurons", topology.hidden, [c.kept_neurons for c in cuts], [c.mlp for c in cuts]),
        (right, "Heads", topology.heads, [c.kept_heads for c in cuts], [c.heads for c in cuts]),
    ):
        table = np.array(kept)
        blocks = {f"block {b + 1}": table[:, b] for b in range(topology.blocks)}
        with column:
            show_figure(
                kept_figure(
                    *("kept", run_key(results), what, table.tobytes()),
                    make=partial(figures.kept_map, table, most, what, shares),
                ),
                key=f"kept_{what.lower()}",
                reading=f"How many of its {most} {what.lower()} each block keeps; one ranking decides over all blocks.",
                alt=f"{what} that each block keeps at {len(cuts)} sparsities",
                table=pd.DataFrame({"share removed": shares} | blocks),
                file=f"{run}-kept-{what.lower()}",
            )


def _fitness(results: RunResults, chosen: Chosen) -> None:
    history, pairs = results.search, results.request.config.search.pairs
    values, mean = chosen.fitness, float(chosen.fitness.mean())
    images = results.request.config.search.images
    prose(
        f"**Its {term('fitness')}.** Each cut model embeds the same images as the full model. After a "
        f"{term('PCA projection')} $P$ fitted on the full model, what counts is the angle between the two "
        f"{term('embedding', 'embeddings')}; 0 would mean that nothing moved:"
    )
    st.latex(
        r"f(c)=\frac1{\#\text{cuts}}\sum_{\text{cuts}}\;\operatorname*{mean}_{\text{images}}"
        r"\bigl(1-\cos(P\,z_{\text{cut}},\,P\,z_{\text{full}})\bigr)"
    )
    columns = flowing_columns(len(pairs) + 1, 150, key="pair_fitness")
    for column, (mlp, heads), value in zip(columns, pairs, values, strict=False):
        column.metric(f"{mlp:.0%} / {heads:.0%}", small(value), border=True, help="Share of neurons / heads removed")
    columns[-1].metric("Mean = fitness", f"{mean:.4f}", border=True, help=about("fitness"))
    if np.isfinite(mean):
        worked = " + ".join(small(v) for v in values)
        st.markdown(
            f"({worked}) / {len(values)} = **{mean:.4f}**, averaged over up to {images:,} calibration images. That is "
            f"**rank {chosen.rank + 1} of {len(chosen.order)}** in generation {chosen.generation + 1}."
        )
    else:
        st.markdown("This individual had no finite fitness, so it ranks last.")
    ranked = history.individual_fitness[chosen.generation][chosen.order]
    show_figure(
        kept_figure(
            *("ranks", run_key(results), chosen.generation, chosen.rank),
            make=lambda: figures.generation_ranks(ranked, chosen.weights, chosen.rank),
        ),
        key="generation_ranks",
        reading="Only the order counts. Better individuals pull the distribution's mean towards themselves, the others "
        "push it away; the weights sum to 0.",
        alt=f"Fitness of the individuals of generation {chosen.generation + 1}, best first",
        table=pd.DataFrame({"rank": np.arange(1, len(ranked) + 1), "fitness": ranked, "weight": chosen.weights}),
        file=f"{results.summary.run}-ranks",
    )


def _moves(results: RunResults, chosen: Chosen, head: tuple[int, int]) -> None:
    history, index, g = results.search, Structure(*head).index(results.facts.topology), chosen.generation
    prose(
        "**What the search learns from it.** With weights $u_k$ by rank, best first, the mean moves along the drawn "
        "directions $z_k$, and the covariance stretches along those that did well:"
    )
    st.latex(
        r"\mu\leftarrow\mu+A\sum_k u_k z_k,\qquad "
        r"A\leftarrow A\,\exp\!\Bigl(\tfrac{\eta}{2}\sum_k u_k\,(z_kz_k^{\top}-I)\Bigr)"
    )
    before, after = history.means[g], history.means[g + 1]
    spread = np.sqrt([history.covariances[i][index, index] for i in (g, g + 1)])
    off = np.abs(np.triu(history.correlation(g + 1), 1))
    a, b = (int(i) for i in np.unravel_index(off.argmax(), off.shape))
    columns = flowing_columns(4, 200, key="search_moves")
    columns[0].metric("Weight of this individual", f"{chosen.weights[chosen.rank]:+.3f}", border=True, height="stretch")
    columns[1].metric(
        f"Mean for {head_name(head)}",
        f"{after[index]:.3f}",
        f"{after[index] - before[index]:+.3f} in this generation",
        delta_color="off",
        border=True,
        height="stretch",
    )
    columns[2].metric(
        "Its spread",
        f"{spread[1]:.4f}",
        f"{spread[1] - spread[0]:+.4f} in this generation",
        delta_color="off",
        border=True,
        height="stretch",
        help="Standard deviation of this head's factor in the search distribution",
    )
    columns[3].metric(
        "Whole mean moved by",
        f"{np.linalg.norm(after - before):.3f}",
        border=True,
        height="stretch",
        help="Euclidean length of the step of all factors together",
    )
    name = results.facts.topology.structure_name
    best = float(np.nanmin(np.where(np.isfinite(history.individual_fitness), history.individual_fitness, np.nan)))
    prose(
        f"The normalised covariance is the method's estimate of how structures depend on one another, the "
        f"{term('Hessian')} correlation. After generation {g + 1} its strongest entry is {off[a, b]:.3f}, between "
        f"{name(a)} and {name(b)}. The factors of the best individual of all {history.generations} generations, "
        f"fitness {best:.4f}, are the result."
    )
