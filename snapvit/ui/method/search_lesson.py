"""Step 3 of the method: one individual of the search, the cuts it makes, and what it does to the search."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.artifacts import Cut, Doubles, SearchHistory
from snapvit.elastic.ranking import cut_at, final_scores, rank
from snapvit.formats import decimal, ratio, score
from snapvit.method.xnes import utilities
from snapvit.pipeline.results import RunResults
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.flow import flowing_columns
from snapvit.ui.glossary import about, prose, term
from snapvit.ui.method.following import Lesson
from snapvit.ui.numbers import Number, number_row
from snapvit.ui.run_key import run_key
from snapvit.ui.selection import Structure, setting, setting_key
from snapvit.ui.words import head_name

CURVE = 320  # px, of the search's course


@dataclass(frozen=True)
class Chosen:
    """One individual: its generation and its rank in it, both counted from 0, and what is stored of it."""

    generation: int
    rank: int
    order: np.ndarray  # (p,) the generation's individuals, best first
    weights: Doubles  # (p,) their pull, best first
    factors: Doubles  # (S,) absolute
    fitness: Doubles  # (P,)

    @property
    def words(self) -> str:
        """In a sentence."""
        return f"individual {self.rank + 1} of generation {self.generation + 1}"


def factors_lesson(lesson: Lesson) -> None:
    """What is searched, and the factors of one individual that the person picks."""
    history = lesson.results.search
    words, figure = lesson.halves("factors", 4, 5)
    with words:
        prose(
            f"Local curvature looks at each structure alone. But heads and neurons matter *together*, so "
            f"{term('xNES')} searches one {term('factor')} $c_i$ for each of the "
            f"{lesson.results.facts.topology.structures} structures that corrects the curvature. In each "
            f"{term('generation')} it draws {history.individuals.shape[1]} guesses, "
            f"{term('individual', 'individuals')}, from a normal distribution with mean $\\mu$ and "
            f"{term('covariance')} $AA^{{\\top}}$:"
        )
        st.latex(r"x=\mu+A\,z,\qquad z\sim\mathcal N(0,I),\qquad c_i=|x_i|")
        _pickers(history)
    with figure:
        _factors(lesson.results, chosen_individual(history), lesson.head)


def cuts_lesson(lesson: Lesson) -> None:
    """The cuts that the individual makes."""
    chosen = chosen_individual(lesson.results.search)
    cuts = cuts_of(lesson.results, chosen.factors)
    st.markdown(
        f"With the factors of {chosen.words}, structures are ranked by curvature times factor and the model is cut "
        f"{len(cuts)} times, from gently to hard. Each row is one cut."
    )
    _cuts(lesson.results, cuts)


def fitness_lesson(lesson: Lesson) -> None:
    """What the cuts cost, and the individual's rank in its generation."""
    _fitness(lesson, chosen_individual(lesson.results.search))


def moves_lesson(lesson: Lesson) -> None:
    """What the generation does to the search, and where the search ended."""
    _moves(lesson, chosen_individual(lesson.results.search))


def _fitness_of(history: SearchHistory) -> np.ndarray:
    """(G, p), infinite where there is none."""
    return np.where(np.isfinite(history.individual_fitness), history.individual_fitness, np.inf)


def chosen_individual(history: SearchHistory) -> Chosen:
    """The individual that the address names, else the best of all."""
    fitness = _fitness_of(history)
    generations, population = fitness.shape
    best = int(fitness.min(axis=1).argmin())
    generation = int(setting("of_generation", _numbers(generations), str(best + 1))) - 1
    rank_of = int(setting("of_rank", _numbers(population), "1")) - 1
    order = np.argsort(fitness[generation], kind="stable")
    row = int(order[rank_of])
    return Chosen(
        generation,
        rank_of,
        order,
        utilities(population),
        np.abs(history.individuals[generation, row].astype(np.float64)),
        history.fitness[generation, row],
    )


def _numbers(count: int) -> list[str]:
    return [str(i + 1) for i in range(count)]


def _pickers(history: SearchHistory) -> None:
    """Two boxes that choose the individual."""
    fitness, chosen = _fitness_of(history), chosen_individual(history)
    best = int(fitness.min(axis=1).argmin())
    left, right = flowing_columns(2, 150, key="choose_individual")
    left.selectbox(
        "Generation",
        _numbers(len(fitness)),
        chosen.generation,
        key=setting_key("of_generation"),
        format_func=lambda g: f"{g} (best of all found here)" if int(g) == best + 1 else g,
        help=about("generation"),
    )
    right.selectbox(
        "Individual, by rank in its generation",
        _numbers(fitness.shape[1]),
        chosen.rank,
        key=setting_key("of_rank"),
        format_func=lambda r: f"rank {r}, fitness {score(fitness[chosen.generation][chosen.order[int(r) - 1]])}",
        help=about("individual"),
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
        f"This individual multiplies the curvature of {head_name(head)} (framed) by {decimal(mine, 3)}.",
        alt=f"Factors of {chosen.words}, by block",
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
    left, right = flowing_columns(2, 360, key="individual_cuts")
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


def _fitness(lesson: Lesson, chosen: Chosen) -> None:
    results = lesson.results
    history, config = results.search, results.request.config.search
    values, mean = chosen.fitness, float(chosen.fitness.mean())
    shares = (f"{ratio(mlp)} / {ratio(heads)}" for mlp, heads in config.pairs)
    numbers = [Number(share, score(value)) for share, value in zip(shares, values, strict=False)]
    number_row([*numbers, Number("Mean = fitness", score(mean))], "pair_fitness", least=100)
    st.caption("Share of neurons / heads removed, and what that cut costs.")
    words, figure = lesson.halves("fitness", 5, 6)
    with words:
        prose(
            f"Each cut model embeds the same images as the full model. After a {term('PCA projection')} $P$ fitted on "
            f"the full model, what counts is the angle between the two {term('embedding', 'embeddings')}; 0 would mean "
            f"that nothing moved. The {term('fitness')} is the mean over cuts and images of"
        )
        st.latex(r"1-\cos(P\,z_{\text{cut}},\,P\,z_{\text{full}})")
        if np.isfinite(mean):
            worked = " + ".join(score(v) for v in values)
            st.markdown(
                f"({worked}) / {len(values)} = **{score(mean)}**, averaged over up to {config.images:,} calibration "
                f"images. That is **rank {chosen.rank + 1} of {len(chosen.order)}** in generation "
                f"{chosen.generation + 1}."
            )
        else:
            st.markdown("This individual had no finite fitness, so it ranks last.")
    ranked = history.individual_fitness[chosen.generation][chosen.order]
    with figure:
        show_figure(
            kept_figure(
                *("ranks", run_key(results), chosen.generation, chosen.rank),
                make=lambda: figures.generation_ranks(ranked, chosen.weights, chosen.rank),
            ),
            key="generation_ranks",
            reading="Only the order counts. Better individuals pull the distribution's mean towards themselves, the "
            "others push it away; the weights sum to 0.",
            alt=f"Fitness of the individuals of generation {chosen.generation + 1}, best first",
            table=pd.DataFrame({"rank": np.arange(1, len(ranked) + 1), "fitness": ranked, "weight": chosen.weights}),
            file=f"{results.summary.run}-ranks",
        )


def _moves(lesson: Lesson, chosen: Chosen) -> None:
    results, g = lesson.results, chosen.generation
    history, index = results.search, Structure(*lesson.head).index(results.facts.topology)
    before, after = history.means[g], history.means[g + 1]
    spread = np.sqrt([history.covariance(i)[index, index] for i in (g, g + 1)])
    off = np.abs(np.triu(history.correlation(g + 1), 1))
    a, b = (int(i) for i in np.unravel_index(off.argmax(), off.shape))
    name = results.facts.topology.structure_name
    best = float(history.best_so_far[-1])
    number_row(
        [
            Number("Weight of this individual", moved(chosen.weights[chosen.rank]), chosen.words),
            Number(f"Mean for {head_name(lesson.head)}", decimal(after[index], 3), moved(after[index] - before[index])),
            Number("Its spread", decimal(spread[1], 3), moved(spread[1] - spread[0])),
            Number("Whole mean moved by", decimal(float(np.linalg.norm(after - before)), 3), f"generation {g + 1}"),
        ],
        "search_moves",
        least=160,
    )
    words, figure = lesson.halves("moves", 5, 6)
    with words:
        prose(
            "With weights $u_k$ by rank, best first, the mean moves along the drawn directions $z_k$, and the "
            "covariance stretches along those that did well:"
        )
        st.latex(r"\mu\leftarrow\mu+A\sum_k u_k z_k")
        st.latex(r"A\leftarrow A\,\exp\!\Bigl(\tfrac{\eta}{2}\sum_k u_k\,(z_kz_k^{\top}-I)\Bigr)")
        prose(
            f"The normalised covariance is the method's estimate of how structures depend on one another, the "
            f"{term('Hessian')} correlation. After generation {g + 1} its strongest entry is {decimal(off[a, b], 3)}, "
            f"between {name(a)} and {name(b)}. The factors of the best individual of all {history.generations} "
            f"generations, fitness {score(best)}, are the result."
        )
    with figure:
        show_figure(
            kept_figure(
                *("lesson search", run_key(results)),
                make=lambda: figures.fitness_curve(history).update_layout(height=CURVE),
            ),
            key="lesson_search",
            reading="Every dot is an individual of the search, lower is better.",
            alt="Fitness of every individual by generation, the mean and the best so far",
            file=f"{results.summary.run}-search",
        )


def moved(change: float) -> str:
    """A number with its sign, to three decimals."""
    written = decimal(change, 3)
    return written if written.startswith("−") else f"+{written}"
