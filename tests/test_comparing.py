"""Rivals beside a run's own ranking: what is measured, kept, gone on with, and asked for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Cli
from sklearn.decomposition import PCA
from torch import nn

from snapvit.artifacts import Curvature
from snapvit.errors import Cancelled, InputError
from snapvit.evaluation.paired import pack_answers
from snapvit.evaluation.probe import probe_predictions
from snapvit.pipeline.comparing import FOLDER, compare_rankings
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.contenders import Contender, all_methods, pairs
from snapvit.pipeline.measure import measure_cut
from snapvit.pipeline.meter import Meter
from snapvit.pipeline.progress import Event, Reporter
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.pipeline.stages.search import SEARCH
from snapvit.pipeline.workspace import Workspace
from snapvit.store.codec import decode, encode
from snapvit.store.store import Store
from snapvit.tables import Comparison, Measurements, SearchFitness

POINTS = (0.35, 0.8)
FEW = (
    Contender("snapvit"),
    Contender("random"),
    Contender("magnitude"),
    Contender.parse("snapvit search.generations=1"),
)


@pytest.fixture(scope="module")
def compared(finished_cache, tmp_path_factory, small_request) -> tuple[Path, Comparison]:
    root = shutil.copytree(finished_cache, tmp_path_factory.mktemp("compared") / "cache")
    return root, compare_rankings(Store(root), small_request.run, FEW, 2, Reporter(), points=POINTS)


def test_each_contender_is_measured_for_each_of_its_seeds(compared):
    _, found = compared
    assert found.contenders == tuple(one.name for one in FEW)
    for one in FEW:
        assert found.seeds(one.name) == ([0] if one.method == "magnitude" else [0, 1])
        for corrected in (False, True):
            assert found.table.mlp[found.rows_of(one.name, 0, corrected)].tolist() == [0.35, 0.8]
    assert (found.probed == 1).all(), "a probe at both of these cuts"


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("one", FEW, ids=lambda one: one.name)
def test_its_numbers_are_those_of_a_run_of_its_own(
    compared, one, seed, tmp_path, small_request, masked_copy, naive_kept
):
    """Made as a user would make it: a run with that method and seed, and its cuts measured one by one."""
    if one.method == "magnitude" and seed:
        pytest.skip("nothing of it is drawn")
    _, found = compared
    store, request = Store(tmp_path), one.request(small_request, seed)
    workspace = run_pipeline(request, store, Reporter())
    ranking = StoredRun.open(store, request.run).need(RANKING)
    for corrected in (False, True):
        want = measure_cut(store, request.run, 0.8, 0.65, Reporter(), workspace, corrected)
        row = found.find(one.name, seed, corrected, 0.8, 0.65)
        got = found.table.row(row)
        assert (got.cut, got.macs, got.params, got.answers) == (want.cut, want.macs, want.params, want.answers)
        assert got.cosine == pytest.approx(want.cosine, abs=1e-6)
    with workspace.elastic(ranking) as elastic:
        _, queries, gallery = Meter(workspace, elastic, Reporter()).measure_with_embeddings(got.cut)
        images = workspace.normalised(workspace.table("queries").pixels)
        with torch.inference_mode():
            by_head = workspace.loaded.model(images).argmax(dim=1).numpy()
    labels, ids = workspace.source.labels, workspace.ids
    named = probe_predictions(gallery.numpy(), labels[ids["gallery"]], queries.numpy())
    row = found.find(one.name, seed, False, 0.8, 0.65)
    np.testing.assert_array_equal(found.probe[row], pack_answers(named == labels[ids["queries"]]))
    np.testing.assert_array_equal(found.head[row], pack_answers(by_head == labels[ids["queries"]]))
    if not one.searched:
        assert found.fitness_of(one.name, seed) is None
        return
    stored = StoredRun.open(store, request.run)
    judged, best = found.fitness_of(one.name, seed)
    values = [generation.mean(axis=1).min() for generation in stored.need(SEARCH).history.fitness]
    assert judged.tolist() == [4 * number for number in range(len(values) + 1)]
    np.testing.assert_allclose(best[1:], [min(values[: number + 1]) for number in range(len(values))], rtol=1e-6)
    np.testing.assert_allclose(
        best[0], unsearched(workspace, stored.need(CURVATURE), masked_copy, naive_kept), rtol=1e-4
    )


def unsearched(workspace: Workspace, curvature: Curvature, masked_copy, naive_kept) -> float:
    """Fitness of local curvature alone, by masking copies of the model."""
    config, images = workspace.request.config, workspace.normalised(workspace.table("search").pixels)

    def embedded(model: nn.Module) -> np.ndarray:
        with torch.inference_mode():
            return model.forward_head(model.forward_features(images), pre_logits=True).numpy().astype(float)

    full = embedded(workspace.loaded.model)
    pca = PCA(min(config.search.components, full.shape[1], len(full) - 1), svd_solver="full").fit(full)
    target, distances = pca.transform(full), []
    for mlp, heads in config.search.pairs:
        kept = (
            naive_kept(curvature.mlp.astype(float), config.floors.neurons, mlp),
            naive_kept(curvature.head.astype(float), config.floors.heads, heads),
        )
        cut = pca.transform(embedded(masked_copy(workspace.loaded.model, *kept)))
        distances += [1 - a @ b / np.sqrt(a @ a * (b @ b)) for a, b in zip(cut, target, strict=True)]
    return float(np.mean(distances))


def test_the_runs_own_ranking_is_not_made_again(compared, small_request, monkeypatch):
    root, found = compared
    store, asked = Store(root), []
    monkeypatch.setattr("snapvit.pipeline.comparing.run_wants", lambda w, *rest: asked.append(w.request.run))
    with pytest.raises(InputError, match="no ranking"):  # the other seed's, which nobody makes here
        compare_rankings(store, small_request.run, [Contender("snapvit")], 3, Reporter(), points=POINTS)
    assert asked == [Contender("snapvit").request(small_request, 2).run]
    again = compare_rankings(store, small_request.run, FEW, 2, Reporter(), points=POINTS)
    assert len(again) == len(found) and len(asked) == 1, "all of it is there already"


def test_what_the_run_knows_is_taken_from_it(finished, small_request, monkeypatch):
    """A shorter search is the beginning of the run's own, and its curvature is the run's."""
    work = ("snapvit.pipeline.stages.search.search", "snapvit.method.curvature.estimate_curvature")
    for name in work:
        monkeypatch.setattr(name, lambda *_, name=name, **__: pytest.fail(f"{name} was asked for"))
    shorter = [Contender("snapvit", ("search.generations=2",)), Contender("curvature")]
    before = finished.manifest(small_request.run)
    found = compare_rankings(finished, small_request.run, shorter, 1, Reporter(), points=POINTS)
    assert [found.seeds(one.name) for one in shorter] == [[0], [0]]
    history = StoredRun.open(finished, small_request.run).need(SEARCH).history
    np.testing.assert_array_equal(found.fitness_of(shorter[0].name, 0)[1][1:], history.best_so_far[:2])
    after = finished.manifest(small_request.run)
    assert {n: e for n, e in after.entries.items() if n != COMPARISON.name} == before.entries


def test_a_stop_loses_no_cut_and_the_rest_follows(finished, small_request, compared):
    measured: list[int] = []

    class Impatient(Reporter):
        def advance(self, units: float) -> None:
            super().advance(units)
            held = StoredRun.open(finished, small_request.run).load(COMPARISON)
            measured.append(0 if held is None else len(held))
            if measured[-1] == 3:
                self.cancel()

    with pytest.raises(Cancelled):
        compare_rankings(finished, small_request.run, FEW, 2, Impatient(), points=POINTS)
    kept = StoredRun.open(finished, small_request.run).load(COMPARISON)
    assert len(kept) == 3
    reporter = Reporter()
    whole = compare_rankings(finished, small_request.run, FEW, 2, reporter, points=POINTS)
    assert len(whole) == len(compared[1]) and 0.999 < reporter.progress.share <= 1
    np.testing.assert_array_equal(whole.table.answers, compared[1].table.answers)
    assert not list((finished.root / FOLDER).glob("*/*.safetensors")), "what rankings were made from is let go of"


def test_how_far_searches_came_is_put_together(compared):
    """In whatever order pieces come; a later one of the same search stands for the former."""
    found, empty = compared[1], replace(compared[1], searches=SearchFitness.empty())
    lengths = [name for name in found.contenders if Contender.parse(name).searched]
    again, rowless = empty, Measurements.empty(4, 1, 1, 1, labelled=False)
    for seed in (1, 0):
        for name in reversed(lengths):
            judged, best = found.fitness_of(name, seed)
            piece = Comparison.empty(rowless).with_fitness(name, seed, judged, best + 1)
            again = again.with_rows(piece).with_rows(piece.with_fitness(name, seed, judged, best))
    assert len(again.searches) == len(found.searches)
    for name in lengths:
        for seed in (0, 1):
            for want, got in zip(found.fitness_of(name, seed), again.fitness_of(name, seed), strict=True):
                np.testing.assert_array_equal(got, want)
    assert found.fitness_of(lengths[0], 7) is None and found.fitness_of("lamp", 0) is None


def test_a_comparison_that_knows_no_fitness_is_read(compared):
    """As one that was kept before that was."""
    arrays, values = encode(compared[1])
    before = {name: table for name, table in arrays.items() if not name.startswith("searches.")}
    found = decode(Comparison, before, values)
    assert len(before) < len(arrays) and len(found) == len(compared[1]) and not len(found.searches)


def test_progress_goes_to_the_end_and_names_the_contenders(finished, small_request):
    events: list[Event] = []
    reporter = Reporter(events.append)
    compare_rankings(finished, small_request.run, FEW[1:3], 1, reporter, points=POINTS)
    assert [event.text for event in events if event.kind == "contender"] == ["Random, seed 0", "Magnitude, seed 0"]
    assert reporter.progress.share == pytest.approx(1) and reporter.progress.overall_total > 0


def test_images_without_labels_are_compared_by_their_cosine(tmp_path, small_settings):
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    from snapvit.pipeline.request import make_request

    store = Store(tmp_path / "cache")
    request = make_request(data=f"folder:{folder}", settings=small_settings)
    run_pipeline(request, store, Reporter())
    found = compare_rankings(store, request.run, FEW[1:3], 1, Reporter(), points=POINTS)
    assert found.head is None
    assert found.table.answers.shape[1] == 0 and not found.probed.any() and (found.table.cosine < 1).all()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no method ''"),
        ("fisher", "no method 'fisher'"),
        ("snapvit search.speed=3", "no setting 'search.speed'"),
        ("snapvit search.seed=3", "only settings of their own rankings can differ"),
        ("random evaluation.k=3", "only settings of their own rankings can differ"),
        ("lamp ranking.method=snip", "only settings of their own rankings can differ"),
        ("lamp correction.form=sequential", "only settings of their own rankings can differ"),
    ],
)
def test_what_cannot_be_a_contender_is_refused(text, told):
    with pytest.raises(InputError, match=told):
        Contender.parse(text)


def test_a_contender_reads_its_own_name():
    for one in (*all_methods(), *FEW, Contender.parse("snapvit  search.start=cka search.generations=2")):
        assert Contender.parse(one.name) == one and one.label
    assert len(pairs()) == 7 and (0.95, 0.8) in pairs()


def test_the_command_tells_means_and_differences(command: Cli, small_request: RunRequest):
    words = ("compare", small_request.run, "--contender", "snapvit", "--contender", "random", "--seeds", "1")
    found, _ = command.json(*words)
    entries = {(entry["contender"], entry["correct"]): entry for entry in found["contenders"]}
    assert set(entries) == {(name, correct) for name in ("snapvit", "random") for correct in (False, True)}
    beside = entries["random", True]["against_snapvit"]
    assert set(beside) == {"0.35", "0.65", "0.8", "0.95", "area"}
    own, other = (entries[name, True] for name in ("snapvit", "random"))
    at = own["mlp"].index(0.95)
    assert beside["0.95"]["mean"] == pytest.approx(other["mean"][at] - own["mean"][at])
    (name,) = found["fitness"]
    fitness = found["fitness"][name]
    (best,) = fitness["best"]  # of one seed
    assert name == "snapvit" and fitness["judged"] == [0, 4, 8, 12] and 1 > best[1] >= best[3] > 0
    code, out, _ = command(*words)
    assert code == 0 and "Random, corrected" in out and "area to SnapViT" in out
    assert f"SnapViT: fitness {best[0]:.4f} without a search" in out
    code, _, err = command("compare", small_request.run, "--contender", "best")
    assert code == 2 and "no method 'best'" in err
    with pytest.raises(SystemExit):
        command("compare", small_request.run, "--seeds", "0")
