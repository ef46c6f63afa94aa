"""The steps of the lesson, in order: of a ranking with a search, of Gauss-Newton, of any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from snapvit.pipeline.results import RunResults
from snapvit.ui.method.cka_lesson import cka_lesson
from snapvit.ui.method.correction_lesson import correction_lesson
from snapvit.ui.method.first_wrong import first_wrong_lesson
from snapvit.ui.method.following import Lesson
from snapvit.ui.method.gradient_lesson import gradient_lesson
from snapvit.ui.method.image_lesson import loss_lesson, views_lesson
from snapvit.ui.method.parts import check, in_one_minute, not_yet, pick_head
from snapvit.ui.method.questions import block_lesson, easy_lesson, random_lesson
from snapvit.ui.method.ranking_lesson import cut_lesson, ranking_lesson
from snapvit.ui.method.search_lesson import cuts_lesson, factors_lesson, fitness_lesson, moves_lesson
from snapvit.ui.method.slope_lesson import guess_lesson, slope_lesson
from snapvit.ui.method.walk import Step
from snapvit.ui.page import onward


def _gradient(lesson: Lesson) -> None:
    gradient_lesson(lesson)
    check(
        lesson,
        "Two images pull a head's weights in exactly opposite directions. What does each variant make of it?",
        "`fisher` counts both, since squares do not cancel: the head matters to each image. `accumulated` adds first "
        "and gets 0: on average nothing would be gained by moving the weights.",
    )


def _cka(lesson: Lesson) -> None:
    if lesson.results.cka is None:
        not_yet("CKA map")
        return
    cka_lesson(lesson)
    onward("pages/cka.py", "The whole map", lesson.selection)


def _searched(draw: Callable[[Lesson], None]) -> Callable[[Lesson], None]:
    """The step, or a word that the search is still to come."""

    def step(lesson: Lesson) -> None:
        if lesson.results.search is None or not lesson.results.search.generations:
            not_yet("search")
        else:
            draw(lesson)

    return step


def _factors(lesson: Lesson) -> None:
    factors_lesson(lesson)
    history, structures = lesson.results.search, lesson.results.facts.topology.structures
    check(
        lesson,
        "Why does the search not simply try every combination of structures?",
        f"There are {structures} structures; keeping or removing each gives 2^{structures} combinations. The search "
        f"judged {history.fitness.shape[0] * history.fitness.shape[1]:,} individuals.",
    )


def _moves(lesson: Lesson) -> None:
    moves_lesson(lesson)
    onward("pages/correlation.py", "The estimate, generation by generation", lesson.selection)


def _ranked(draw: Callable[[Lesson], None]) -> Callable[[Lesson], None]:
    """The step, or a word that the ranking is still to come."""

    def step(lesson: Lesson) -> None:
        if lesson.found is None:
            not_yet("ranking")
        else:
            draw(lesson)

    return step


def _ranking(lesson: Lesson) -> None:
    ranking_lesson(lesson)
    onward("pages/heads.py", "All heads on one map", lesson.selection)


def _cut(lesson: Lesson) -> None:
    if not lesson.whole:
        pick_head(lesson)
    cut_lesson(lesson)
    check(
        lesson,
        "The slider moves from 40 % to 60 %. What has to be computed to know which heads go?",
        "Nothing: the order is fixed. A cut at 60 % removes everything that the cut at 40 % removes, and more.",
    )


def _random(lesson: Lesson) -> None:
    random_lesson(lesson)
    onward("pages/compare.py", "Beside better rivals than chance", lesson.selection)


def _first_wrong(lesson: Lesson) -> None:
    first_wrong_lesson(lesson)
    onward("pages/embedding.py", "Where a cut moves the images", lesson.selection)


def _guess(lesson: Lesson) -> None:
    guess_lesson(lesson)
    onward("pages/correlation.py", "Products of slopes, and pairs", lesson.selection, map_g="gauss-newton")


def _correction(lesson: Lesson) -> None:
    correction_lesson(lesson)
    corrected = replace(lesson.selection, correct=True)
    onward("pages/sparsity.py", "The slider over corrected cuts", corrected)


PRODUCT = ("factor", "local curvature")  # terms of scores that are made of these


def _ranked_steps(ranking: int, product: bool) -> tuple[Step, ...]:
    """The ranking, which is step number so much, the cut and the correction. product: of curvature and factor."""
    made = (*PRODUCT, "MLP") if product else ()
    return (
        Step(
            "ranking",
            f"{ranking} · One order for all",
            _ranked(_ranking),
            terms=("cut", "final score", "floor", "neuron", "ranking", "sparsity", *made),
        ),
        Step(
            "cut",
            f"{ranking} · Where the cut falls",
            _ranked(_cut),
            terms=("cut", "final score", "floor", "ranking", "sparsity"),
        ),
        Step(
            "correction",
            f"{ranking + 1} · What stays takes over",
            _ranked(_correction),
            terms=("cosine", "head", "k-NN", "neuron", "query", "weight correction"),
        ),
    )


def _questions(product: bool) -> tuple[Step, ...]:
    """What a class asks of every cut. product: whether scores are one of curvature and factor."""
    return (
        Step(
            "easy",
            "Is it just an easy data set?",
            _ranked(easy_lesson),
            terms=("cut", "gallery", "k-NN", "query", "top-1"),
        ),
        Step(
            "random",
            "Would random cutting do as well?",
            _ranked(_random),
            terms=("cut", "floor", "k-NN", "query", "ranking"),
        ),
        Step(
            "block",
            "Why is one block hardly cut?",
            _ranked(block_lesson),
            terms=("block", "embedding", "final score", "floor", "MLP", *(PRODUCT if product else ())),
        ),
        Step("wrong", "Which images go wrong first?", _ranked(_first_wrong), terms=("cut", "k-NN", "query", "top-1")),
    )


START = Step(
    "start", "How a ranking comes about", in_one_minute, terms=("calibration image", "cut", "head", "sparsity")
)
STEPS = (
    START,
    Step(
        "views",
        "1 · One image and its views",
        views_lesson,
        terms=("calibration image", "self-supervised loss", "view"),
    ),
    Step("loss", "1 · The loss that compares them", loss_lesson, terms=("embedding", "softmax", "teacher", "view")),
    Step(
        "gradient",
        "1 · How strongly a head is felt",
        _gradient,
        terms=("attention", "Fisher information", "gradient", "head", "local curvature", "MLP", "neuron"),
    ),
    Step("cka", "2 · Which structures say the same", _cka, terms=("block", "CKA", "class token", "structure")),
    Step(
        "factors",
        "3 · A guess: one factor for each structure",
        _searched(_factors),
        terms=("covariance", "factor", "generation", "individual", "local curvature", "structure", "xNES"),
    ),
    Step("cuts", "3 · The cuts that it makes", _searched(cuts_lesson), terms=("cut", "factor", "ranking")),
    Step(
        "fitness",
        "3 · How good it is",
        _searched(fitness_lesson),
        terms=("embedding", "fitness", "generation", "individual", "PCA projection"),
    ),
    Step("moves", "3 · What the search learns from it", _searched(_moves), terms=("covariance", "Hessian", "xNES")),
    *_ranked_steps(4, product=True),
    *_questions(product=True),
)
SLOPES = (
    START,
    Step(
        "slope",
        "1 · How fast the embedding moves",
        slope_lesson,
        terms=("embedding", "Gauss-Newton", "head", "neuron", "weight correction"),
    ),
    Step("guess", "1 · Is a slope a fair guess?", _guess, terms=("cosine", "embedding", "Gauss-Newton", "structure")),
    *_ranked_steps(2, product=False),
    *_questions(product=False),
)


def steps_of(results: RunResults | None) -> tuple[Step, ...]:
    """The lesson of a run's own method; of the paper's where there is no run or no method."""
    if results is None or results.method is None or results.searches:
        return STEPS
    if results.request.config.ranking.method == "gauss-newton":
        return SLOPES
    return START, *_ranked_steps(2, product=False), *_questions(product=False)
