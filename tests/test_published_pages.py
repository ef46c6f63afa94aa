"""The pages on a run that holds published scores alone, and the form that makes one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from page_checks import array, charts, opened, words
from streamlit.testing.v1 import AppTest

from snapvit.artifacts import Floors, Scores
from snapvit.elastic.ranking import cut_at, rank
from snapvit.formats import amount
from snapvit.pipeline.published_runs import import_scores
from snapvit.pipeline.results import list_runs, load_results
from snapvit.published.scores import PublishedScores, write_scores
from snapvit.store.store import Store

DEIT = {"pruning_dataset": "imagenet-1k", "note": "![x](http://nowhere/x.png)"}


def deit3(name: str = "deit-3-vit-s-16", **changes: object) -> PublishedScores:
    """Scores of the shape of DeiT-III's small model, one head's being 0."""
    rng = np.random.default_rng(11)
    head = rng.random((12, 6))
    head[3, 2] = 0
    scores = Scores(rng.random((12, 1536)), head)
    return replace(PublishedScores(scores, Floors(), name, "standard", 384, 64, DEIT, "abc"), **changes)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_resources: None) -> Store:
    monkeypatch.setenv("SNAPVIT_CACHE", str(tmp_path / "cache"))
    return Store(tmp_path / "cache")


def test_the_sparsity_page_shows_what_is_kept_and_what_it_costs(store: Store) -> None:
    run = import_scores(store, deit3())
    app = opened("pages/sparsity.py", run=run, s="0.6")
    cut = cut_at(rank(deit3().scores, Floors()), 0.6, 0.45)
    drawn = charts(app)
    for name, kept in (("neurons", cut.kept_neurons), ("heads", cut.kept_heads)):
        trace = next(t for t in drawn[f"Kept {name} by block"]["data"] if t["name"] == "kept")
        assert tuple(array(trace["y"])) == kept
    costs = load_results(store, run).facts.costs
    tiles = {metric.label: metric.value for metric in app.metric}
    assert tiles["Neurons kept"] == f"{sum(cut.kept_neurons):,}"
    assert tiles["Heads kept"] == f"{sum(cut.kept_heads):,}"
    assert tiles["Parameters"] == amount(costs.params(cut))
    assert tiles["MACs per image"] == f"{costs.macs(cut) / 1e9:.2f} G"
    assert "What is left along the path" in drawn
    said = words(app)
    assert "accuracy and latency are not measured" in said
    assert "--scores FILE --model deit3_small_patch16_224.fb_in22k_ft_in1k" in said
    assert "nowhere" not in said, "what a file says is shown as data, never as markup"


def test_moving_the_slider_moves_the_cut(store: Store) -> None:
    app = opened("pages/sparsity.py", run=import_scores(store, deit3()), s="0")
    assert {m.label: m.value for m in app.metric}["Heads kept"] == "72"
    app.slider[0].set_value(95.0).run()
    assert {m.label: m.value for m in app.metric}["Heads kept"] == f"{72 - int(0.8 * 72)}"


def test_published_accuracies_are_shown_where_they_belong_and_named_as_such(store: Store) -> None:
    app = opened("pages/sparsity.py", run=import_scores(store, deit3()))
    curves = charts(app)["Published accuracy of these scores"]["data"]
    assert {trace["name"] for trace in curves} == {
        "FGVC-Aircraft", "CIFAR-10", "CIFAR-100", "EuroSAT", "ImageNet-1k", "Oxford Pets", "DTD",
    }  # fmt: skip
    cifar = next(trace for trace in curves if trace["name"] == "CIFAR-10")
    assert len(array(cifar["x"])) == 7
    assert "Published, not measured here: k-NN top-1 (k = 20) of DeIT-III ViT-S/16" in words(app)
    for other in (deit3(digest="b", metadata={}), deit3("my-vit", digest="c")):
        app = opened("pages/sparsity.py", run=import_scores(store, other))
        assert "Published accuracy of these scores" not in charts(app)


def test_the_axis_of_published_accuracies_zooms_to_the_lines(store: Store) -> None:
    def figure(app: AppTest) -> tuple[list[float], np.ndarray]:
        found = charts(app)["Published accuracy of these scores"]
        return found["layout"]["yaxis"]["range"], np.concatenate([array(trace["y"]) for trace in found["data"]])

    run = import_scores(store, deit3())
    app = opened("pages/sparsity.py", run=run)
    assert figure(app)[0] == [0, 100]
    app.toggle(key="axis_switch").set_value(True).run()
    assert "curve" in app.query_params["axis"]
    (low, high), values = figure(opened("pages/sparsity.py", run=run, axis="curve"))
    assert low <= values.min() < low + 5
    assert high - 5 < values.max() <= high


def test_an_unknown_architecture_shows_what_is_kept_and_says_that_costs_are_not_known(store: Store) -> None:
    app = opened("pages/sparsity.py", run=import_scores(store, deit3("my-vit")))
    assert set(charts(app)) == {"Kept neurons by block", "Kept heads by block"}
    assert {metric.label for metric in app.metric} == {"Neurons kept", "Heads kept"}
    assert "what it costs is not known" in words(app)
    assert "--model NAME" in words(app)


def test_the_heads_page_shows_the_published_scores_and_which_heads_go(store: Store) -> None:
    run = import_scores(store, deit3())
    app = opened("pages/heads.py", run=run, s="0.65", at="4-3")
    traces = charts(app)["Final score of every head"]["data"]
    crosses = next(trace for trace in traces if trace.get("name") == "removed by this cut")
    assert len(array(crosses["x"])) == 36  # half of 72
    colours = np.array(array(traces[0]["z"]), dtype=float).ravel()
    least = np.log10(np.sort(deit3().scores.head.ravel())[1])
    assert colours.min() == pytest.approx(least), "a score of 0 must not stretch the scale"
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Final score, as published"] == "0"
    assert metrics["Leaves as number"] == "1 of 72"
    assert "It goes when 1.4 % of all heads are removed" in words(app)
    assert "local curvature alone" not in words(app)


def test_the_run_page_describes_an_import_and_lists_it(store: Store) -> None:
    run = import_scores(store, deit3())
    app = opened("app.py", run=run)
    said = words(app)
    assert "Scores of deit-3-vit-s-16: 12 blocks, each with 6 heads and 1536 neurons" in said
    assert "imported scores, nothing measured" in said
    assert f"go_on_{run}" not in [button.key for button in app.button]


def test_damaged_scores_are_named_and_the_pages_stay_up(store: Store) -> None:
    run = import_scores(store, deit3())
    file = next((store.root / run).glob("scores-*.safetensors"))
    file.write_bytes(file.read_bytes()[:500])
    for page in ("app.py", "pages/heads.py", "pages/sparsity.py"):
        app = opened(page, run=run)
        assert "cannot be used" in words(app), page


def form() -> AppTest:
    """The Run page with the form unfolded."""
    app = opened("app.py")
    assert not app.get("file_uploader"), "it waits until it is asked for"
    app.session_state["published"] = True
    return app.run()


def test_a_file_becomes_the_run_shown(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "scores.pt"
    write_scores(deit3(), path)
    app = form()
    assert app.button(key="import_scores").disabled
    app.text_input(key="scores_path").set_value(str(path)).run()
    app.button(key="import_scores").click().run()
    (summary,) = list_runs(store)
    assert f"Run {summary.run} is shown now" in words(app)
    assert app.selectbox(key="run_picker").value == summary.run


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "does not exist"), (b"no archive", "is damaged, or no file that torch.save wrote")],
)
def test_a_bad_file_gets_its_sentence_and_the_page_stays(
    content: bytes | None, sentence: str, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "scores.pt"
    if content is not None:
        path.write_bytes(content)
    app = form()
    app.text_input(key="scores_path").set_value(str(path)).run()
    app.button(key="import_scores").click().run()
    assert any(sentence in error.value for error in app.error)
    assert app.button(key="start").disabled is False
    assert list_runs(store) == []


def test_an_upload_is_read_from_memory(store: Store, tmp_path: Path) -> None:
    write_scores(deit3("my-vit"), tmp_path / "mine.pt")
    app = form()
    app.get("file_uploader")[0].set_value(("mine.pt", (tmp_path / "mine.pt").read_bytes(), "")).run()
    app.button(key="import_scores").click().run()
    assert [summary.model for summary in list_runs(store)] == ["my-vit"]
