"""What a class asks of every cut, answered from the run's own numbers: the easy data set, block 1, random cutting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from snapvit import figures
from snapvit.elastic.ranking import cut_at
from snapvit.evaluation.paired import answers_of, compare, describe, unpack_answers
from snapvit.formats import decimal, percent, ratio, score, signed
from snapvit.image_artifacts import PixelAnswers
from snapvit.jobs.tasks import CompareTask, StageTask
from snapvit.pipeline.config import PATH_END, path_pair
from snapvit.pipeline.contenders import POINTS, PROBED
from snapvit.pipeline.path import chance, measured_on_path, no_accuracy
from snapvit.pipeline.results import RunResults
from snapvit.pipeline.stage import Want
from snapvit.pipeline.stages.interactions import DISPLACEMENT
from snapvit.pipeline.stages.pixel_knn import PIXEL_KNN
from snapvit.report.contestants import line_of
from snapvit.tables import Measurement
from snapvit.ui.compare.contestants import comparison_of
from snapvit.ui.figure import kept_figure, show_figure
from snapvit.ui.glossary import prose, term
from snapvit.ui.heads.structures import kept_heads
from snapvit.ui.method.following import Lesson
from snapvit.ui.method.parts import path_line
from snapvit.ui.numbers import Number, number_row
from snapvit.ui.run_key import run_key
from snapvit.ui.words import head_name

RANDOM, SEEDS = "random", 3
MOST_CLASSES = 24  # whose names can be read beside one figure


def pixel_answers(lesson: Lesson, missing: str) -> PixelAnswers | None:
    """The queries and what k-NN makes of their pixels; where that is not there, a button that computes it.

    missing: what the step lacks without it.
    """
    found = lesson.results.stored.load(PIXEL_KNN)
    if found is None:
        lesson.offer(
            StageTask(lesson.results.summary.run, (Want(PIXEL_KNN),)),
            f"{missing} That takes about as long as reading the images once.",
            "Compute",
            key="compute_pixels",
        )
    return found


def whole_and_cut(lesson: Lesson) -> tuple[Measurement, Measurement] | None:
    """The uncut model and the measured cut nearest to the selected one; None where there is no accuracy yet."""
    measured = [m for m in measured_on_path(lesson.results) if m.answers is not None]
    if not measured or measured[0].cut.mlp > 0:
        return None
    return measured[0], min(measured, key=lambda m: abs(m.cut.mlp - lesson.selection.sparsity))


def easy_lesson(lesson: Lesson) -> None:
    """Chance, k-NN on the pixels, the whole model and a cut, over all and by class."""
    both = whole_and_cut(lesson)
    if both is None:
        missing = no_accuracy(lesson.results)
        st.info("No accuracy is measured yet." if missing is None else f"{missing}, so there is no accuracy to ask of.")
        return
    whole, cut = both
    missing = "What k-NN makes of the images by their pixels alone, without any model, is not computed yet."
    pixels = pixel_answers(lesson, missing)
    numbers = [Number("Chance", percent(chance(lesson.results)))]
    series = [("whole model", answers_of(whole))]
    if pixels is not None:
        by_pixels = unpack_answers(pixels.answers, whole.queries)
        numbers.append(Number("k-NN on the pixels", percent(by_pixels.mean()), "no model"))
        series.insert(0, ("pixels", by_pixels))
    numbers += [
        Number("Whole model", percent(whole.top1), "k-NN on its embeddings"),
        Number(f"Cut at {ratio(cut.cut.mlp)}", percent(cut.top1), "k-NN on its embeddings"),
    ]
    series.append((f"cut at {ratio(cut.cut.mlp)}", answers_of(cut)))
    number_row(numbers, "easy")
    if pixels is None:
        return
    words, figure = lesson.halves("easy", 4, 5)
    with words:
        prose(
            f"An accuracy says something only beside what is to be had for nothing. Guessing names "
            f"{percent(chance(lesson.results))} right. The same {term('k-NN')} on the images' pixels, averaged to "
            f"{pixels.side} × {pixels.side} at most, names {percent(by_pixels.mean())} right without any model: so "
            "much is the data's own."
        )
        st.markdown(f"Beside the pixels, **the whole model** has {describe(compare(by_pixels, answers_of(whole)))}.")
        st.markdown(f"**The cut at {ratio(cut.cut.mlp)}** has {describe(compare(by_pixels, answers_of(cut)))}.")
    there, of_class = np.unique(pixels.labels, return_inverse=True)
    names = [lesson.results.facts.classes[i] for i in there]
    shares = [(label, np.bincount(of_class, right) / np.bincount(of_class)) for label, right in series]
    drawn = most_changed(shares[-2][1], shares[-1][1])
    few = f" Of {len(names):,} classes the {len(drawn)} that the cut changes most." if len(drawn) < len(names) else ""
    with figure:
        show_figure(
            kept_figure(
                *("by class", run_key(lesson.results), lesson.results.correct, cut.cut.mlp),
                make=lambda: figures.accuracy_by_class(
                    [names[i] for i in drawn], [(label, values[drawn]) for label, values in shares]
                ),
            ),
            key="by_class",
            reading="Classes that the pixels tell apart are easy; what counts is how far right of the grey mark the "
            f"model's stand.{few}",
            alt="Accuracy by class of k-NN on pixels, of the whole model and of a cut",
            table=lambda: pd.DataFrame({"class": names} | dict(shares)),
            file=f"{lesson.results.summary.run}-by-class",
        )


def most_changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Rows, in their order, of the at most `MOST_CLASSES` classes whose shares (C,) differ most."""
    return np.sort(np.argsort(-np.abs(after - before), kind="stable")[:MOST_CLASSES])


def random_lesson(lesson: Lesson) -> None:
    """The run's own cuts beside cuts of heads and neurons drawn at random."""
    results = lesson.results
    found = comparison_of(results)
    drawn = None if found is None else line_of(results, found, RANDOM, results.correct, _measure(results))
    if drawn is None:
        lesson.offer(
            CompareTask(results.summary.run, (RANDOM,), SEEDS),
            f"Heads and neurons drawn at random have not been measured beside this run's ranking yet: {SEEDS} draws, "
            f"{2 * len(POINTS)} cuts of each, some minutes. What is measured is kept for the Compare page too.",
            "Measure random cuts",
            key="compare_random",
        )
        return
    by_cosine = _measure(results) == "cosine"
    measured = [m for m in measured_on_path(results) if by_cosine or m.answers is not None]
    own = path_line(measured, "this run's ranking", 0, by_cosine)
    words, figure = lesson.halves("random", 4, 5)
    with words:
        prose(
            f"The same numbers of heads and neurons go, every block keeping its {term('floor')}, but which ones is "
            f"drawn by lot: {len(found.seeds(RANDOM))} draws, the same queries. Told apart is a draw whose difference, "
            "in pairs, has a 95 % interval that excludes 0."
        )
        for point in PROBED:
            line = _beside_random(lesson, point)
            if line:
                st.markdown(line)
    with figure:
        show_figure(
            figures.contender_curves(
                [own, replace(drawn, look=1)],
                "sparsity",
                "Cosine" if _measure(results) == "cosine" else "k-NN top-1",
                _measure(results) != "cosine",
                "This ranking and chance's",
                False,
                lesson.selection.sparsity,
            ),
            key="beside_random",
            reading="The band goes from the worst draw to the best. The vertical line is the chosen cut.",
            alt="Accuracy by sparsity of the run's ranking and of random ones",
            file=f"{results.summary.run}-beside-random",
        )


def _measure(results: RunResults) -> str:
    return "cosine" if no_accuracy(results) is not None else "top1"


def _beside_random(lesson: Lesson, point: float) -> str:
    """The draws against the run's own cut at one sparsity; empty where one of them has no answers."""
    found, pair = comparison_of(lesson.results), path_pair(point)
    own = None if lesson.results.measurements is None else lesson.results.measurements.find(*pair)
    if own is None or own.answers is None:
        return ""
    rows = [found.find(RANDOM, seed, lesson.results.correct, *pair) for seed in found.seeds(RANDOM)]
    gaps = [compare(answers_of(own), answers_of(found.table.row(row))) for row in rows if row is not None]
    if not gaps:
        return ""
    decided = sum(gap.high < 0 for gap in gaps)
    mean = sum(gap.difference for gap in gaps) / len(gaps)
    draws = f"{decided} of {len(gaps)} draws"
    return f"- At **{ratio(point)}** chance's cut stands at {signed(mean)} points, told apart in {draws}."


def block_lesson(lesson: Lesson) -> None:
    """Which block keeps the most, and why: its scores beside the others', and what taking its heads out costs."""
    results = lesson.results
    topology, scores, sparsity = results.facts.topology, results.final_scores.head, lesson.selection.sparsity
    kept, cut = kept_heads(results, sparsity), cut_at(results.ranking, *path_pair(sparsity))
    most = staying_block(results)
    words, figure = lesson.halves("block", 5, 5)
    with words:
        _kept_by(lesson, most, cut.kept_heads, cut.kept_neurons)
        _why_it_stays(results, most)
    protected = np.zeros(scores.size, dtype=bool)
    protected[results.ranking.head[len(results.ranking.head) - results.ranking.head_protected :]] = True
    with figure:
        show_figure(
            kept_figure(
                *("by block", run_key(results), kept.tobytes()),
                make=lambda: figures.scores_by_block(scores, ~kept, protected.reshape(scores.shape)),
            ),
            key="scores_by_block",
            reading=f"Every mark is a head. One line at one height would cut them all; the floor alone bends it: its "
            f"green heads stay however low they are. Crosses go at {ratio(sparsity)}.",
            alt=f"Final scores of the {topology.heads} heads of each of {topology.blocks} blocks",
            table=lambda: pd.DataFrame(scores.T, columns=[f"Block {b + 1}" for b in range(topology.blocks)]),
            file=f"{results.summary.run}-scores-by-block",
        )


def staying_block(results: RunResults) -> int:
    """The block that keeps the most: of its heads at the path's end, among equals the one with the highest scores."""
    kept = kept_heads(results, PATH_END).sum(axis=1)
    return max(range(len(kept)), key=lambda b: (kept[b], float(np.median(results.final_scores.head[b]))))


def _kept_by(lesson: Lesson, most: int, heads: Sequence[int], neurons: Sequence[int]) -> None:
    results, topology = lesson.results, lesson.results.facts.topology
    others = [b for b in range(topology.blocks) if b != most]
    least = min(others, key=lambda b: (heads[b], neurons[b]))
    each = results.ranking.head_protected // topology.blocks
    st.markdown(
        f"At {ratio(lesson.selection.sparsity)} **block {most + 1}** keeps {heads[most]} of {topology.heads} heads and "
        f"{neurons[most]} of {topology.hidden} neurons, block {least + 1} only {heads[least]} and {neurons[least]}."
    )
    prose(
        f"No rule spares it. The {term('floor')} guards {each} of {topology.heads} heads in *every* block alike. It "
        "stays because its scores are high, and the ranking compares all blocks at once:"
    )


def _why_it_stays(results: RunResults, most: int) -> None:
    topology = results.facts.topology
    mine = np.arange(topology.blocks) == most

    def beside(values: np.ndarray) -> str:
        own, other = float(np.median(values[mine])), float(np.median(values[~mine]))
        return f"{score(own)} against {score(other)}" + (
            f", {decimal(own / other, 1)} times as much" if other > 0 else ""
        )

    lines = [f"- **score** of a head, median beside the other blocks': {beside(results.final_scores.head)}"]
    if results.searches:
        factors = results.search.factors[topology.blocks :].reshape(topology.blocks, topology.heads)
        lines += [
            f"- its **curvature**: {beside(results.curvature.head.astype(np.float64))}",
            f"- its **factor**: {beside(factors)}",
        ]
    st.markdown("\n".join(lines))
    found = results.stored.load(DISPLACEMENT)
    if found is None:
        return
    heads = found.singles[topology.blocks :].reshape(topology.blocks, topology.heads)
    b, h = np.unravel_index(heads.argmax(), heads.shape)
    st.markdown(
        f"Is that so? Each structure was also taken out alone, on {found.images:,} images. Without one head of block "
        f"{most + 1} the embedding moves by 1 − cos = {beside(heads)} (medians); without its MLP by "
        f"{score(found.singles[most])} against {score(float(np.median(found.singles[: topology.blocks][~mine])))}. The "
        f"head that costs most is {head_name((int(b), int(h)))}."
    )
    if most == 0:
        st.markdown("A likely reason: it is the first to read the image, and every later block reads what it writes.")
