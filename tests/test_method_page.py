"""The Method page without a browser: the numbers that it works out are those of the artifacts; states and steps."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import page_checks
import pytest
from page_checks import opened
from streamlit.testing.v1 import AppTest

from snapvit.formats import decimal, score
from snapvit.pipeline.results import RunResults, StoredRun, list_runs, load_results
from snapvit.pipeline.stages.lessons import HEAD_GRADIENTS, IMAGE_LESSON
from snapvit.store.store import Store
from snapvit.ui.method.steps import STEPS


def whole(**query: str) -> AppTest:
    """All steps on one page."""
    return opened("pages/method.py", step="all", **query)


@pytest.fixture
def results(shipped: Store) -> RunResults:
    return load_results(shipped, list_runs(shipped)[0].run)


def words(app: AppTest) -> str:
    """All text, without the meanings that open on request."""
    text = re.sub(r'<span class="term-meaning".*?</span>', "", page_checks.words(app))
    return re.sub(r"<[^>]+>", "", text)


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def removed_by_sorting(results: RunResults, count: int) -> set[int]:
    """The first `count` heads to leave: by plain lists, the best of each block staying."""
    topology, factors = results.facts.topology, results.search.factors
    scores = {}
    for b in range(topology.blocks):
        for h in range(topology.heads):
            factor = factors[topology.blocks + b * topology.heads + h]
            scores[b * topology.heads + h] = float(results.curvature.head[b, h]) * factor
    best = set()
    for b in range(topology.blocks):
        block = range(b * topology.heads, (b + 1) * topology.heads)
        best.add(max(block, key=lambda i: (scores[i], i)))
    return set(sorted((i for i in scores if i not in best), key=lambda i: (scores[i], i))[:count])


@pytest.mark.parametrize("head", [(2, 3), (5, 4), (0, 0), (11, 5)])
def test_why_a_head_was_cut_is_worked_out_from_its_own_numbers(results: RunResults, head: tuple[int, int]) -> None:
    text = words(whole(at=f"{head[0] + 1}-{head[1] + 1}", s="0.65"))
    index = head[0] * 6 + head[1]
    curvature, factor = float(results.curvature.head[head]), float(results.search.factors[12 + index])
    line = f"curvature {score(curvature)} × factor {decimal(factor, 3)} = score {score(curvature * factor)}"
    assert line in text
    assert "⌊0.5 × 72⌋ = 36" in text
    gone = index in removed_by_sorting(results, 36)
    assert f"Why was this head {'cut' if gone else 'kept'}?" in text
    assert ("so it is **cut**" in text) == gone


def test_without_a_choice_it_follows_the_last_head_that_the_cut_removes(results: RunResults) -> None:
    text = words(whole(s="0.5"))
    assert "number 25 of 72" in text
    assert "so it is **cut**" in text


def test_the_histogram_s_mean_is_the_stored_curvature(results: RunResults, shipped: Store) -> None:
    shown = metrics(whole(at="3-4"))
    stored = float(results.curvature.head[2, 3])
    assert shown["Local curvature in this run"] == score(stored)
    assert shown["Mean of these 1,000"] == score(stored)
    gradients = StoredRun.open(shipped, results.summary.run).load(HEAD_GRADIENTS, 1000)
    assert shown["Square of the mean gradient"] == score(float(gradients.accumulated[2, 3]))


def test_the_loss_of_the_chosen_image_is_its_artifact_s(results: RunResults, shipped: Store) -> None:
    ids = StoredRun.open(shipped, results.summary.run).load(HEAD_GRADIENTS, 1000).ids
    for image in (int(ids[0]), int(ids[3])):
        lesson = StoredRun.open(shipped, results.summary.run).load(IMAGE_LESSON, str(image))
        text = words(whole(image=str(image)))
        assert f"2 × 11 = 22 such terms is **{lesson.loss:.3f}**" in text
        ideal = sum(11 * -(t * np.log(t)).sum() for t in lesson.shares[:2].astype(np.float64))
        assert f"it would be {ideal:.3f}" in text


@pytest.mark.parametrize(("generation", "rank"), [(1, 1), (7, 3), (30, 17)])
def test_an_individual_s_fitness_factors_and_rank(results: RunResults, generation: int, rank: int) -> None:
    app = whole(of_generation=str(generation), of_rank=str(rank), at="3-4")
    history = results.search
    order = sorted(range(17), key=lambda i: history.fitness[generation - 1, i].mean())
    row = order[rank - 1]
    values = history.fitness[generation - 1, row]
    text = words(app)
    assert f"({' + '.join(score(v) for v in values)}) / 4 = **{score(values.mean())}**" in text
    assert f"**rank {rank} of 17** in generation {generation}" in text
    factor = abs(float(history.individuals[generation - 1, row][12 + 2 * 6 + 3]))
    assert f"curvature of block 3, head 4 (framed) by {factor:.3f}" in text


def test_its_cuts_keep_what_naive_sorting_keeps(results: RunResults, naive_kept) -> None:
    app = whole(of_generation="4", of_rank="2")
    charts = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    shown = next(c for c in charts if c["layout"]["title"]["text"] == "Heads that each block keeps")
    history = results.search
    row = int(np.argsort(history.individual_fitness[3])[1])
    factors = np.abs(history.individuals[3, row].astype(np.float64))
    scores = results.curvature.head * factors[12:].reshape(12, 6)
    want = [[len(b) for b in naive_kept(scores, 0.2, heads)] for _, heads in results.request.config.search.pairs]
    sent = shown["data"][0]["z"]  # base64 of a numpy array
    kept = np.frombuffer(base64.b64decode(sent["bdata"]), sent["dtype"]).reshape(4, 12)
    assert kept.tolist() == want


def test_the_most_alike_structures_are_named(results: RunResults) -> None:
    values = results.cka.values - np.eye(84)
    a, b = divmod(int(values.argmax()), 84)
    name = results.facts.topology.structure_name
    most = next(number for number in whole().metric if number.label == "Most alike")
    assert (most.value, most.delta) == (f"{values[a, b]:.3f}", f"{name(a)} and {name(b)}")


def test_without_gradients_the_rest_is_there_and_a_button_computes_them(results: RunResults, shipped: Store) -> None:
    for name in list(shipped.manifest(results.summary.run).entries):
        if name.startswith("lesson-"):
            shipped.forget(results.summary.run, [name])
    app = whole()
    assert app.button(key="compute_gradients").disabled is False
    text = words(app)
    assert "1,000 of the run's 1,000 calibration images" in text
    assert "Why was this head cut?" in text


def test_an_image_without_a_lesson_offers_to_compute_it(shipped: Store) -> None:
    app = whole(image="77")
    assert "image 77" in app.selectbox(key="lesson_image").format_func(77)
    assert app.button(key="compute_image").disabled is False


def test_a_run_that_has_only_its_curvature_says_what_is_to_come(results: RunResults, shipped: Store) -> None:
    for stage in ("cka", "search", "ranking", "evaluation"):
        shipped.forget(results.summary.run, [stage])
    text = words(whole())
    for what in ("CKA map", "search", "ranking"):
        assert f"This run has no {what} yet" in text
    assert "How strongly does this loss feel" in text


def test_a_run_without_curvature_says_so(results: RunResults, shipped: Store) -> None:
    shipped.forget(results.summary.run, ["curvature"])
    app = whole()
    assert "This run has none" in words(app)
    assert not app.get("plotly_chart")


@pytest.mark.parametrize(
    "query",
    [{"of_generation": "99"}, {"of_rank": "x"}, {"of_view": "-1"}, {"image": "99999999"}, {"at": "3-mlp"}, {"s": "0"}],
)
def test_a_foreign_address_falls_back_calmly(query: dict[str, str], shipped: Store) -> None:
    assert "4 · Where the cut falls" in words(whole(**query))


def step_of(app: AppTest) -> str:
    """The step in the address."""
    return app.query_params.get("step", "start")


def test_next_and_back_walk_all_steps_and_the_address_tells_which(shipped: Store) -> None:
    app = opened("pages/method.py")
    assert app.button(key="step_back").disabled
    for i, step in enumerate(STEPS):
        assert step_of(app) == step.name
        assert app.title[0].value == step.title
        assert not app.exception
        (shown,) = [bar.value for bar in app.get("progress")]
        assert shown == int(100 * (i + 1) / len(STEPS))
        assert app.button(key="step_next").disabled == (i == len(STEPS) - 1)
        if i < len(STEPS) - 1:
            app.button(key="step_next").click().run()
    app.button(key="step_back").click().run()
    assert step_of(app) == STEPS[-2].name


def test_the_list_leads_to_any_step_and_to_all_on_one_page(shipped: Store) -> None:
    app = opened("pages/method.py", step="loss")
    app.button(key="go_cka").click().run()
    assert step_of(app) == "cka"
    app.button(key="go_all").click().run()
    assert step_of(app) == "all"
    assert [header.value for header in app.header] == [*(step.title for step in STEPS[1:]), "Glossary"]
    app.button(key="by_step").click().run()
    assert app.title[0].value == STEPS[0].title


def test_an_individual_chosen_in_one_step_is_taught_in_the_next(results: RunResults) -> None:
    app = opened("pages/method.py", step="factors")
    app.selectbox(key="of_generation").select("7").run()
    for _ in range(2):
        app.button(key="step_next").click().run()
    assert "**rank 1 of 17** in generation 7" in words(app)


def test_a_step_that_is_not_there_is_the_first(shipped: Store) -> None:
    assert opened("pages/method.py", step="no-such-step").title[0].value == STEPS[0].title
